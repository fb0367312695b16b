"""The posterior over regions of one post: who may have written it from where, with the evidence that says so.

P(region | post) starts from the language, P(r | l) being proportional to the region's online population x the share of
that language in it, and is multiplied by the likelihood of what else speaks: the source, named places, national
providers, a declared place, the hour. What stays unknown is `ZZ`. The likelihood ratios below are rough on purpose; they
are set so that weights are calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from zoneinfo import ZoneInfo

from listener.catalog import Catalog
from listener.regions.places import Named, places_of
from listener.types import UNKNOWN_REGION, Match, Reading, RegionWeight

# how much likelier the evidence is when the post is from the region it points to than from any other one
SOURCE = 40.0  # a national feed, storefront, subreddit or instance
PLACE = 25.0  # a city or district
COUNTRY = 8.0  # a country is as often talked about as posted from
PROVIDER = 60.0  # people complain about their own operator
DECLARED = 30.0
SMALLEST = 0.01  # weights below this are dust and go to ZZ
_LATIN_TWINS = {"bg": "bg_latin", "el": "el_latin"}  # shliokavitsa, Greeklish: a share in [scripts]


class Attributor:
    """Holds P(region | language) for every language; `attribute` is pure."""

    def __init__(self, catalog: Catalog, find: Callable[[str], Sequence[Match]]) -> None:
        """`find` gives the matches of a text; it reads the places that writers declare in their profiles."""
        self._catalog = catalog
        self._find = find
        self._zones = {code: ZoneInfo(region.zone) for code, region in catalog.regions.items()}
        volume = {
            code: region.population * region.online_share * region.volume for code, region in catalog.regions.items()
        }
        languages = {language for region in catalog.regions.values() for language in region.languages}
        self._given = {language: self._by_region(language, volume) for language in languages}

    def _by_region(self, language: str, volume: Mapping[str, float]) -> dict[str, float]:
        parts = {
            code: volume[code] * region.languages.get(language, 0.0) for code, region in self._catalog.regions.items()
        }
        total = sum(parts.values())
        return {code: part / total for code, part in parts.items()} if total > 0 else {UNKNOWN_REGION: 1.0}

    def attribute(self, reading: Reading) -> tuple[RegionWeight, ...]:
        """Weights that sum to 1, the largest first, `ZZ` last; each with its evidence, such as `place:izmirde`."""
        weights, evidence = self._from_language(reading)
        named = places_of(reading.matches, self._catalog)
        for region, (ratio, word) in self._spoken(reading, named).items():
            if region in weights or region in self._catalog.regions:
                weights[region] = max(weights.get(region, 0.0), SMALLEST / 10) * ratio
                evidence.setdefault(region, []).append(word)
        hour_shares = self._hours(reading)
        weights = {region: weight * hour_shares.get(region, 1.0) for region, weight in weights.items()}
        return _told(weights, evidence)

    def _from_language(self, reading: Reading) -> tuple[dict[str, float], dict[str, list[str]]]:
        language = reading.language
        likely = dict(language.probabilities) or {language.code: language.confidence}
        known = {code: p for code, p in likely.items() if code in self._given and p > 0}
        weights: dict[str, float] = {}
        for code, p in known.items():
            for region, share in self._given[code].items():
                weights[region] = weights.get(region, 0.0) + p * share * self._script(code, region, reading)
        rest = max(0.0, 1.0 - sum(known.values()))
        weights[UNKNOWN_REGION] = weights.get(UNKNOWN_REGION, 0.0) + rest
        evidence = {region: ["language"] for region in weights if region != UNKNOWN_REGION}
        return weights, evidence

    def _script(self, language: str, region: str, reading: Reading) -> float:
        """P(script | language, region) where a language has several, else 1."""
        scripts = self._catalog.regions[region].scripts
        share = scripts.get(language)
        if share is not None:
            return share if reading.language.script == "Cyrl" else 1.0 - share
        twin = scripts.get(_LATIN_TWINS.get(language, ""))
        return 1.0 if twin is None else (twin if reading.language.script == "Latn" else 1.0 - twin)

    def _spoken(self, reading: Reading, named: Named) -> dict[str, tuple[float, str]]:
        """Likelihood ratios of what the post and its source say, multiplied a region; a second country halves both."""
        said: dict[str, tuple[float, list[str]]] = {}
        found = self._find(reading.post.place) if reading.post.place else ()
        declared = {match.name for match in found if match.kind == "place"}
        sources = (
            (SOURCE, {reading.post.region: "source"} if reading.post.region else {}),
            (PLACE, {region: f"place:{word}" for region, word in named.places.items()}),
            (COUNTRY, {region: f"country:{word}" for region, word in named.countries.items()}),
            (PROVIDER, {region: f"provider:{word}" for region, word in named.providers.items()}),
            (DECLARED, dict.fromkeys(declared, "declared")),
        )
        for ratio, regions in sources:
            for region, word in regions.items():
                before, words = said.get(region, (1.0, []))
                said[region] = (before * (1 + (ratio - 1) / len(regions)), [*words, word])
        return {region: (ratio, ",".join(words)) for region, (ratio, words) in said.items()}

    def _hours(self, reading: Reading) -> dict[str, float]:
        """How much likelier people of a region post at this hour than on average."""
        shares = {}
        for code, zone in self._zones.items():
            hour = reading.post.event_at.astimezone(zone).hour
            shares[code] = 24 * self._catalog.regions[code].hours[hour]
        return shares


def _told(weights: Mapping[str, float], evidence: Mapping[str, list[str]]) -> tuple[RegionWeight, ...]:
    total = sum(weights.values())
    if total <= 0:
        return (RegionWeight(UNKNOWN_REGION, 1.0),)
    shares = {region: round(weight / total, 4) for region, weight in weights.items() if region != UNKNOWN_REGION}
    kept = sorted(
        ((share, region) for region, share in shares.items() if share >= SMALLEST), key=lambda p: (-p[0], p[1])
    )
    made = [
        RegionWeight(region, share, tuple(word for words in evidence.get(region, ()) for word in words.split(",")))
        for share, region in kept
    ]
    rest = round(1.0 - sum(share for share, _ in kept), 4)
    return (*made, RegionWeight(UNKNOWN_REGION, rest)) if rest > 0 else tuple(made)
