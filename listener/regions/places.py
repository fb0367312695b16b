"""What a post names that lies somewhere: places and the providers of one country or a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from listener.catalog import Catalog
from listener.types import UNKNOWN_REGION, Match


class Named(NamedTuple):
    """A name in a post and the regions it may point to, one unless countries share it; offsets into the skeleton."""

    regions: tuple[str, ...]
    kind: str  # place, country, demonym, provider, or maybe: a provider whose name is also an everyday word
    word: str
    start: int
    end: int


_KINDS = {"country": "country", "demonym": "demonym"}


def places_of(matches: Sequence[Match], catalog: Catalog) -> list[Named]:
    """What places and national services among the matches say about where; a name inside a longer one says nothing."""
    if len(matches) == 1:
        return [_named(matches[0], _regions(matches[0], catalog))]
    claims: dict[tuple[int, int], dict[str, None]] = {}
    first: dict[tuple[int, int], Match] = {}
    for match in matches:
        span = match.start, match.end
        claims.setdefault(span, {}).update(dict.fromkeys(_regions(match, catalog)))
        if span not in first or match.kind == "service":  # a provider named after a place is the provider
            first[span] = match
    for regions in claims.values():
        if len(regions) > 1:
            regions.pop(UNKNOWN_REGION, None)  # a country that got a file of its own
    return [
        _named(first[start, end], tuple(regions))
        for (start, end), regions in claims.items()
        if not any(a <= start and end <= b and (a, b) != (start, end) for a, b in claims)
    ]


def _regions(match: Match, catalog: Catalog) -> tuple[str, ...]:
    return (match.name,) if match.kind == "place" else catalog.services[match.name].regions


def _named(match: Match, regions: tuple[str, ...]) -> Named:
    if match.kind == "place":
        return Named(regions, _KINDS.get(match.symptom, "place"), match.form, match.start, match.end)
    return Named(regions, "provider" if match.kind == "service" else "maybe", match.name, match.start, match.end)
