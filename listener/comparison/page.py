"""A comparison as one self-contained page: no script, nothing from elsewhere, readable in the dark and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from listener.comparison.matching import Change, Side, Told, counts

WIDTH = 300  # of a drawing, in its own units
LEAST = 3  # width of a bar that can be seen

WORDS = {
    "appears": "appears",
    "vanishes": "vanishes",
    "splits": "splits off",
    "merges": "becomes part of another",
    "same": "the same",
    "confirmed": "confirmed, was only possible",
    "unconfirmed": "only possible, was confirmed",
    "regions": "other regions",
    "cause": "another cause",
}


@dataclass(frozen=True)
class Bar:
    """One side's incident on the drawing: from onset to end, and where it was noticed."""

    side: str
    y: int
    x: float
    width: float
    noticed: float | None
    is_open: bool


def page(before: Side, after: Side, changes: Sequence[Change], archive: Sequence[str], end_at: datetime) -> str:
    """The page as HTML. `archive` are lines that say what was replayed, and what was left out."""
    rows = [(change, _bars(change, end_at)) for change in changes if change.kind != "same"]
    return _template().render(
        before=before,
        after=after,
        rows=rows,
        same=[change for change in changes if change.kind == "same"],
        counts={words_of(word): n for word, n in counts(changes).items()},
        archive=archive,
        end_at=end_at,
        summary=summary,
    )


def words_of(word: str) -> str:
    return WORDS.get(word, word)


def summary(change: Change) -> str:
    """What happens to an incident, in a few words.

    >>> summary(Change("changes", None, None, ("later", "longer"), 4, 25))
    'noticed 4 min later, lasts 25 min longer'
    """
    if change.kind != "changes":
        return words_of(change.kind)
    said = []
    for word in change.words:
        if word in ("earlier", "later"):
            said.append(f"noticed {abs(change.noticed or 0)} min {word}")
        elif word in ("longer", "shorter"):
            said.append(f"lasts {abs(change.lasts or 0)} min {word}")
        elif word == "regions":
            said.append(
                " ".join([*(f"+{region}" for region in change.gained), *(f"−{region}" for region in change.lost)])
            )
        elif word == "cause" and change.before and change.after:
            said.append(f"{change.before.cause or 'no cause'} → {change.after.cause or 'no cause'}")
        else:
            said.append(words_of(word))
    return ", ".join(said)


def _bars(change: Change, end_at: datetime) -> list[Bar]:
    sides = [(name, one) for name, one in (("A", change.before), ("B", change.after)) if one is not None]
    start = min(one.started_at for _, one in sides)
    span = max(max(one.until(end_at) for _, one in sides) - start, timedelta(minutes=1))
    return [_bar(name, one, start, span, end_at) for name, one in sides]


def _bar(side: str, one: Told, start: datetime, span: timedelta, end_at: datetime) -> Bar:
    x, end, noticed = (
        None if at is None else round(WIDTH * ((at - start) / span), 1)
        for at in (one.started_at, one.until(end_at), one.noticed_at)
    )
    assert x is not None
    assert end is not None
    width = max(LEAST, round(end - x, 1))
    return Bar(side, 4 if side == "A" else 20, min(x, WIDTH - width), width, noticed, one.ended_at is None)


@cache
def _template() -> Template:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["stamp"] = lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")
    made.filters["day"] = lambda at: f"{at:%d %b %Y %H:%M}"
    made.filters["clock"] = lambda at: f"{at:%H:%M}"
    return made.get_template("page.html")
