"""What notebooks and other programs call: `import listener` gives every function here, and the plots of `listener.plot`.

Each does what the command of its name does, by the same code, and gives frames instead of lines. Frames are pandas, or polars
with `as_="polars"`; both come with `pip install 'outage-listener[notebooks]'` and are imported only when a frame is made.
Wherever a function takes `config` and `model` it takes a path, None meaning what a command would use: `$LISTENER_CONFIG` or
`./listener.toml` if there is one, and the model that came with the program.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from listener import installed
from listener.db import Db, opened
from listener.db.columns import INCIDENTS, incident_row
from listener.frames import As, Frame, frame, library_of
from listener.instants import bin_of, moment

__all__ = ["Db", "Simulation", "detect", "evaluate", "open", "replay", "sample", "score", "simulate", "train"]

FileName = str | Path


class Simulation(NamedTuple):
    """What `simulate` gives: the posts that were invented, and what happens in them, as two frames.

    >>> import listener
    >>> listener.simulate(days=2, outages=1, rate=1.0)._fields
    ('posts', 'events')
    """

    posts: Frame
    events: Frame


def open(where: FileName | None = None, *, config: FileName | None = None) -> Db:
    """Open a store for reading: the path of a file, a store URL, or None for the store of the config.

    The daemon may go on writing to it; its lock is never taken. Raises `StoreError` when there is no store or it can't be
    read, and `ConfigError` for a URL nobody serves.

    >>> import listener, tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "posts.jsonl").write_text('{"text": "instagram down", "created_at": "2026-03-12T14:00:00Z"}')
    >>> _ = listener.replay(folder / "posts.jsonl", until="2026-03-12T14:10:00Z", store=folder / "posts.db")
    >>> with listener.open(folder / "posts.db") as db:
    ...     int(db.signal("instagram", "ZZ", since="10m", bin="1m")["posts"].sum())
    1
    """
    read, catalog = installed.read(_path(config))
    return opened(read.store_url() if where is None else str(where), catalog.services, catalog.regions)


def sample() -> Db:
    """The bundled synthetic day as a store: eleven languages, an outage of Instagram, a block of X, an ISP that fails.

    Every post in it is invented. The hours around what happens are replayed with the model that came with the program, which
    takes some ten seconds the first time; the result is kept in the user's cache directory. Raises `StoreError` when the
    store can't be written there.

    >>> import listener
    >>> listener.sample().incidents()["service"].tolist()
    ['x', 'instagram', 'sbb']
    """
    from listener.api.archives import sample_store
    from listener.api.scoring import pipeline
    from listener.catalog import load
    from listener.config import Config

    catalog, config = load(), Config()
    made = sample_store(catalog, pipeline(config, catalog, installed.model_folder(config)))
    return opened(str(made), catalog.services, catalog.regions, "sample")


def score(
    texts: Iterable[str | Mapping[str, Any]],
    *,
    model: FileName | None = None,
    config: FileName | None = None,
    as_: As = "pandas",
) -> Frame:
    """What the model makes of texts, or of posts (mappings with `text`, and `lang`, `place`, `region` and so on as in
    `listener score`): a row each, in order. A pandas series keeps its index.

    Columns: `label`, the likeliest of nine; `chatter`, the probability that a service is failing now; the probability of each
    label (`report` `question` `blocked` `relay` `recovered` `works` `own` `not_now` `other`, which sum to 1); `symptom`;
    `services` (list of ids); `language` (BCP 47) and `language_confidence`; `region` (the likeliest, `ZZ` unknown),
    `region_weight` and `regions` (list of `region` and `weight`); `matches` (list of the words it rests on); `dropped`, why
    the post was not judged further, missing as a rule. Raises `InputError` that says which text is wrong, and `ModelError`
    for a model that can't be loaded.

    >>> import listener
    >>> frame = listener.score(["instagram çöktü mü, giremiyorum", "bugün hava çok güzel"])
    >>> frame[["label", "language", "region"]]
          label language region
    0  question       tr     TR
    1     other     <NA>   <NA>
    >>> (frame["chatter"] > 0.5).tolist()
    [True, False]
    """
    from listener.api.scoring import SCORES, pipeline, posts_of, rows

    read, catalog = installed.read(_path(config))
    posts = posts_of(texts)
    judged = frame(SCORES, rows(posts, pipeline(read, catalog, installed.model_folder(read, _path(model)))), as_)
    if as_ == "pandas" and library_of(texts) == "pandas":
        judged.index = texts.index  # type: ignore[attr-defined]
    return judged


def detect(
    counts: Any, bin: str | timedelta | None = None, *, config: FileName | None = None, as_: As | None = None
) -> Frame:
    """Judge one series of counts, strictly online: each row by the rows before it, as `listener detect` does.

    `counts` is a frame with `time` (a column or the index, the bin's start) and `count` or `observed`, and optionally `exposure`
    (0 to 1), such as `db.signal` gives; or a pandas series with times as its index. A missing count is a bin in which nothing
    could be heard. `bin` is the bins' length; None means as the first two rows say. Gives a row for each row, indexed by
    `time`: `observed`, `expected`, `upperbound` (all as counts a bin), `score` (log-likelihood ratio), `alarm` (bool), in the
    library of `counts`. Raises `InputError` for rows out of order, counts below 0, or several series in one frame.

    >>> import listener, pandas
    >>> times = pandas.date_range("2026-03-02", periods=300, freq="5min", tz="UTC")
    >>> counts = pandas.Series([2.0] * 299 + [40.0], index=times)
    >>> listener.detect(counts, bin="5m").tail(2)[["observed", "alarm"]]
                               observed  alarm
    time
    2026-03-03 00:50:00+00:00       2.0  False
    2026-03-03 00:55:00+00:00      40.0   True
    """
    from listener.api.counts import VERDICTS, counts_of, verdicts

    read, _ = installed.read(_path(config))
    runner = installed.online(read, None if bin is None else bin_of(bin))
    return frame(VERDICTS, verdicts(counts_of(counts), runner), as_ or library_of(counts) or "pandas", "time")


def simulate(
    seed: int = 1,
    days: int = 14,
    service: str = "instagram",
    regions: Sequence[str] = ("TR", "BG", "GR", "RS"),
    *,
    start: str | datetime = "2026-03-02T00:00:00Z",
    rate: float = 6.0,
    outages: int = 6,
    dropouts: int = 4,
    out: FileName | None = None,
    config: FileName | None = None,
    as_: As = "pandas",
) -> Simulation:
    """Invent an archive of posts whose truth is known: `days` (2 or more, the first without an outage) in several regions.

    `rate` is how many authors an hour complain in quiet times in the loudest region; `outages` and `dropouts` are how often
    the service fails and a source falls silent. The same arguments give the same posts. `out` writes them as JSON Lines too,
    for `listener.replay`. Gives `posts` (`id`, `source`, `author`, `created_at`, `received_at`, `text`, `region`) and
    `events` (`id`, `service`, `regions`, `onset_at`, `end_at`, `cause`, `shape`). Raises `InputError` for an unknown region, or
    a service no labelled post is about.

    >>> import listener
    >>> made = listener.simulate(seed=1, days=2, outages=1, rate=1.0)
    >>> made.events[["service", "cause"]]
         service   cause
    0  instagram  outage
    """
    from dataclasses import asdict

    from listener.api.archives import EVENTS, INVENTED, write
    from listener.simulation.posts import Plan, archive

    _, catalog = installed.read(_path(config))
    plan = Plan.of(
        catalog,
        service,
        regions,
        seed=seed,
        start_at=moment(start),
        days=days,
        rate=rate,
        outages=outages,
        dropouts=dropouts,
    )
    rows, truths = archive(plan)
    if out is not None:
        write(rows, Path(out))
    posts = ({**dict.fromkeys(INVENTED), **row} for row in rows)
    events = ({**asdict(truth), "regions": list(truth.regions)} for truth in truths)
    return Simulation(frame(INVENTED, posts, as_), frame(EVENTS, events, as_))


def replay(
    files: FileName | Sequence[FileName],
    *,
    model: FileName | None = None,
    config: FileName | None = None,
    until: str | datetime | None = None,
    store: FileName | None = None,
    as_: As = "pandas",
) -> Frame:
    """Replay archived posts (JSON Lines) through the live code path in event time; gives the incidents that would have come.

    Columns as of `Db.incidents`. `until` stops before an instant. `store` keeps everything in a new store at that path, to be
    looked at with `listener.open`. Malformed lines are skipped with one warning. A day of a thousand posts takes some twenty
    seconds. Raises `InputError` for a file that can't be read.

    >>> import listener, tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "posts.jsonl"
    >>> _ = path.write_text('{"text": "instagram down", "created_at": "2026-03-12T14:00:00Z"}')
    >>> len(listener.replay(path, until="2026-03-12T14:10:00Z"))  # one post is no incident
    0
    """
    from listener.api.archives import MEMORY, replayed
    from listener.api.scoring import pipeline

    read, catalog = installed.read(_path(config))
    found = replayed(
        [Path(one) for one in ([files] if isinstance(files, str | Path) else files)],
        pipeline(read, catalog, installed.model_folder(read, _path(model))),
        MEMORY if store is None else f"sqlite:///{Path(store).absolute()}",
        None if until is None else moment(until),
    )
    return frame(INCIDENTS, map(incident_row, found), as_, "incident")


def train(
    data: FileName | None = None,
    out: FileName = "models/candidate",
    *,
    seed: int = 0,
    workers: int | None = None,
    config: FileName | None = None,
    progress: Callable[[str], None] = lambda step: None,
    as_: As = "pandas",
) -> Frame:
    """Train a model on labelled posts and write it to the folder `out`; gives its figures on posts it was not trained on.

    `data` is a folder of `<language>.jsonl` files as in `data/labelled` (the default). A row for `all` posts and for each
    language, indexed by `part`: `posts` and `chatter` (how many of them are), `precision`, `recall`, `f1` with its 95 %
    interval `f1_low` to `f1_high`, `ap` (average precision), `ece` (calibration error), all 0 to 1. The same posts and seed
    give the same model. `progress` is told each step that is done. Raises `InputError` when the posts can't be learnt from.

    >>> import listener, tempfile
    >>> from pathlib import Path
    >>> from listener.catalog import default_root
    >>> folder = Path(tempfile.mkdtemp())
    >>> for code in ("tr", "sr"):
    ...     lines = (default_root() / "labelled" / f"{code}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    ...     _ = (folder / f"{code}.jsonl").write_text("".join(lines[:60]), encoding="utf-8")
    >>> listener.train(folder, folder / "model", workers=1)["posts"].to_dict()
    {'all': 120, 'sr': 60, 'tr': 60}
    """
    from listener.api.models import FIGURES, trained
    from listener.training.train import train as run

    _, catalog = installed.read(_path(config))
    folder = catalog.root / "labelled" if data is None else Path(data)
    scores = run(folder, Path(out), catalog, seed=seed, workers=workers or os.cpu_count() or 1, progress=progress)
    return frame(FIGURES, trained(scores), as_, "part")


def evaluate(
    posts: Any,
    *,
    model: FileName | None = None,
    config: FileName | None = None,
    seed: int = 0,
    as_: As = "pandas",
) -> Frame:
    """Measure a model on labelled posts: a file as `listener evaluate` reads it, or a frame or list of mappings with `text`
    and `label` (one of nine) or `chatter` (0 or 1), and optionally `lang`.

    Columns as of `train`; the rows are `live` (behind the gate that the daemon has), `judged` (if every post were scored) and
    the languages. `seed` is that of the intervals. Raises `InputError` that names the row that is wrong.

    >>> import listener
    >>> posts = [{"text": "instagram çöktü", "chatter": 1}, {"text": "instagram is down again", "chatter": 1}]
    >>> posts += [{"text": "bugün hava çok güzel", "chatter": 0}]
    >>> listener.evaluate(posts).loc["live", ["posts", "precision", "recall"]].tolist()
    [3.0, 1.0, 1.0]
    """
    from listener.api.models import FIGURES, as_file, measured
    from listener.training.evaluate import evaluate as run

    read, catalog = installed.read(_path(config))
    with as_file(posts) as path:
        made = run(path, installed.model_folder(read, _path(model)), catalog, seed=seed)
    return frame(FIGURES, measured(made), as_, "part")


def _path(name: FileName | None) -> Path | None:
    return None if name is None else Path(name)
