"""What the dashboard's page `/label` needs: a desk over the store, if the config wants one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from listener.config import Config
from listener.errors import ConfigError
from listener.types import UNNAMED

if TYPE_CHECKING:
    from listener.labelling.candidates import Pick
    from listener.pipeline import Pipeline
    from listener.store import Store
    from listener.web.labels import Labels

ROUND = 30
NEWEST = 5000  # mentions that are looked through for a round
SHORTEST_TOKEN = 16


def labels(config: Config, store: Store, pipeline: Callable[[], Pipeline]) -> Labels | None:
    """The page's desk, None when `[web] label` is off. `pipeline` gives the one in force when a round begins."""
    if not config.web.label:
        return None
    from listener.labelling.answers import LABEL_KEYS, MEANINGS, SYMPTOM_KEYS
    from listener.labelling.candidates import candidates, picks
    from listener.labelling.desk import Desk
    from listener.labelling.records import LabelFile
    from listener.web.labels import Labels

    token = config.web.label_token.reveal()
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(f"web: label_token: at least {SHORTEST_TOKEN} characters, so that nobody guesses it")

    def choose(done: Collection[str]) -> Sequence[Pick]:
        posts = [mention.post for mention in store.mentions(limit=NEWEST) if mention.post.text]
        return picks(candidates(pipeline(), posts), ROUND, done=done)

    known = {*pipeline().catalog.services, UNNAMED}
    desk = Desk(LabelFile(config.labels_path()), choose, known, lambda: datetime.now(UTC))
    meanings = tuple((key, name, MEANINGS[name]) for key, name in LABEL_KEYS.items())
    return Labels(desk, meanings, tuple(SYMPTOM_KEYS.items()), token)
