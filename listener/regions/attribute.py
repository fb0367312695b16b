"""The posterior over regions of one post: who may have written it from where, with the evidence that says so.

P(region | post) starts from the language, P(r | l) being proportional to the region's online population x the share of
that language in it, and is multiplied by the likelihood of what else speaks: the source, named places, national
providers, a declared place, the hour. What stays unknown is `ZZ`. The likelihood ratios below are rough on purpose; they
are set so that weights are calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from listener.catalog import Catalog
from listener.regions.places import places_of
from listener.types import UNKNOWN_REGION, Floats, Match, Reading, RegionWeight

# how much likelier the evidence is when the post is from the region it points to than from any other one
SOURCE = 40.0  # a national feed, storefront, subreddit or instance
PLACE = 25.0  # a city or district
COUNTRY = 8.0  # a country is as often talked about as posted from
PROVIDER = 60.0  # people complain about their own operator
DECLARED = 30.0
SMALLEST = 0.01  # weights below this are dust and go to ZZ
_LATIN_TWINS = {"bg": "bg_latin", "el": "el_latin"}  # shliokavitsa, Greeklish: a share in [scripts]


_SCRIPTS = ("Latn", "Cyrl", "other")
_QUARTER = 900  # seconds; no time zone is off by less


class Attributor:
    """Holds P(region | language, script) as one table; `attribute` is pure."""

    def __init__(self, catalog: Catalog, find: Callable[[str], Sequence[Match]]) -> None:
        """`find` gives the matches of a text; it reads the places that writers declare in their profiles."""
        self._catalog = catalog
        self._find = find
        regions = catalog.regions
        self._regions = (*(code for code in regions if code != UNKNOWN_REGION), UNKNOWN_REGION)
        self._column = {region: number for number, region in enumerate(self._regions)}
        self._zones = [(self._column[code], ZoneInfo(region.zone), region.hours) for code, region in regions.items()]
        self._hours = lru_cache(maxsize=4096)(self._hours_at)
        languages = sorted({language for region in regions.values() for language in region.languages})
        self._national = frozenset(service.id for service in catalog.services.values() if service.regions)
        self._row = {(code, script): n for n, (code, script) in enumerate(_pairs(languages))}
        self._given = np.array([self._by_region(code, script) for code, script in _pairs(languages)])

    def _by_region(self, language: str, script: str) -> Floats:
        """P(region | language) x P(script | language, region), a column a region."""
        regions = self._catalog.regions
        shares: Floats = np.zeros(len(self._regions))
        for code, region in regions.items():
            spoken = region.languages.get(language, 0.0)
            shares[self._column[code]] = region.population * region.online_share * region.volume * spoken
        if not shares.sum():
            shares[-1] = 1.0
        shares /= shares.sum()
        written = [self._script(language, code, script) if code in regions else 1.0 for code in self._regions]
        shares *= np.array(written)
        return shares

    def _script(self, language: str, region: str, script: str) -> float:
        """P(script | language, region) where a language has several, else 1."""
        scripts = self._catalog.regions[region].scripts
        share = scripts.get(language)
        if share is not None:
            return share if script == "Cyrl" else 1.0 - share
        twin = scripts.get(_LATIN_TWINS.get(language, ""))
        return 1.0 if twin is None else (twin if script == "Latn" else 1.0 - twin)

    def attribute(self, readings: Sequence[Reading]) -> list[tuple[RegionWeight, ...]]:
        """Per reading, weights that sum to 1, the largest first, `ZZ` last; each with its evidence, as `place:izmirde`."""
        if not readings:
            return []
        likely = np.zeros((len(readings), len(self._row)))
        for n, reading in enumerate(readings):
            language = reading.language
            script = language.script if language.script in _SCRIPTS else "other"
            for code, share in language.probabilities or ((language.code, language.confidence),):
                if (row := self._row.get((code, script))) is not None:
                    likely[n, row] = share
        weights = likely @ self._given
        said = likely.sum(axis=1)
        weights[:, -1] += np.maximum(0.0, 1.0 - said)
        spoken = [self._spoken(reading) for reading in readings]
        for n, found in enumerate(spoken):
            for region, (ratio, _) in found.items():
                if (column := self._column.get(region)) is not None:
                    weights[n, column] = max(weights[n, column], SMALLEST / 10) * ratio
        quarters = [int(reading.post.event_at.timestamp()) // _QUARTER for reading in readings]
        known = {quarter: n for n, quarter in enumerate(sorted(set(quarters)))}
        weights *= np.array([self._hours(quarter) for quarter in known])[[known[quarter] for quarter in quarters]]
        return self._told(weights, spoken, (said > 0).tolist())

    def _spoken(self, reading: Reading) -> dict[str, tuple[float, list[str]]]:
        """Likelihood ratios of what the post and its source say, multiplied a region; a second country halves both."""
        post, national = reading.post, self._national
        if not post.region and not post.place:
            for match in reading.matches:
                if match.kind == "place" or (match.kind == "service" and match.name in national):
                    break
            else:
                return {}
        named = places_of(reading.matches, self._catalog)
        said: dict[str, tuple[float, list[str]]] = {}
        found = self._find(post.place) if post.place else ()
        declared = {match.name for match in found if match.kind == "place"}
        sources = (
            (SOURCE, {post.region: "source"} if post.region else {}),
            (PLACE, {region: f"place:{word}" for region, word in named.places.items()}),
            (COUNTRY, {region: f"country:{word}" for region, word in named.countries.items()}),
            (PROVIDER, {region: f"provider:{word}" for region, word in named.providers.items()}),
            (DECLARED, dict.fromkeys(declared, "declared")),
        )
        for ratio, regions in sources:
            for region, word in regions.items():
                before, words = said.get(region, (1.0, []))
                said[region] = (before * (1 + (ratio - 1) / len(regions)), [*words, word])
        return said

    def _hours_at(self, quarter: int) -> Floats:
        """How much likelier people of each region post in this quarter of an hour since 1970 than on average."""
        shares = np.ones(len(self._regions))
        for column, zone, hours in self._zones:
            shares[column] = 24 * hours[datetime.fromtimestamp(quarter * _QUARTER, zone).hour]
        return shares

    def _told(
        self, weights: Floats, spoken: Sequence[Mapping[str, tuple[float, list[str]]]], by_language: Sequence[bool]
    ) -> list[tuple[RegionWeight, ...]]:
        total = weights.sum(axis=1, keepdims=True)
        shares = np.round(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0), 4)
        known = shares[:, :-1]
        order = np.argsort(-known, axis=1, kind="stable")
        count = (known >= SMALLEST).sum(axis=1).tolist()
        made = []
        for row, columns, most, said, language in zip(
            known.tolist(), order.tolist(), count, spoken, by_language, strict=True
        ):
            told, rest = [], 1.0
            for column in columns[:most]:
                region, share = self._regions[column], row[column]
                words = said[region][1] if region in said else []
                told.append(RegionWeight(region, share, ("language", *words) if language else tuple(words)))
                rest -= share
            if (rest := round(rest, 4)) > 0:
                told.append(RegionWeight(UNKNOWN_REGION, rest))
            made.append(tuple(told))
        return made


def _pairs(languages: Sequence[str]) -> list[tuple[str, str]]:
    return [(language, script) for language in languages for script in _SCRIPTS]

