"""What a post names that lies somewhere: places and the providers of one country."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from listener.catalog import Catalog
from listener.types import Match


@dataclass(frozen=True, slots=True)
class Named:
    """Regions that something in a post points to, each with the words that do."""

    places: dict[str, str]  # region -> the word that names it
    countries: dict[str, str]
    providers: dict[str, str]


def places_of(matches: Sequence[Match], catalog: Catalog) -> Named:
    """Sort a reading's matches by what they say about where. A word that names places in two regions names neither."""
    places: dict[str, str] = {}
    countries: dict[str, str] = {}
    providers: dict[str, str] = {}
    claims: dict[tuple[int, int], set[str]] = defaultdict(set)
    for match in matches:
        if match.kind == "place":
            claims[match.start, match.end].add(match.name)
        elif match.kind == "service" and match.name in catalog.services:
            claims[match.start, match.end].update(catalog.services[match.name].regions)
    for match in matches:
        claimed = claims.get((match.start, match.end), set())
        if len(claimed) != 1:
            continue
        if match.kind == "place":
            (countries if match.symptom in ("country", "demonym") else places).setdefault(match.name, match.form)
        elif match.kind == "service" and catalog.services[match.name].regions:
            providers.setdefault(next(iter(claimed)), match.name)
    return Named(places, countries, providers)
