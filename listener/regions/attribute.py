"""The posterior over regions of one post: who may have written it from where, with the evidence that says so.

P(region | post) starts from the language, P(r | l) being proportional to the region's online population x the share of
that language in it, and from the hour. What else speaks is laid beside it as odds: a named place, a national provider, the
source, a declared place, the author's habit. A place says less where it is talked about than where the writer says to be at
it (`cues`). So a Turkish post "from Berlin" is from elsewhere however many people write Turkish in Turkey. What stays unknown
is `ZZ`. The odds are `data/places/weights.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from listener.catalog import Catalog
from listener.regions.cues import cues
from listener.regions.history import HABIT
from listener.regions.places import places_of
from listener.regions.speech import heard, speech
from listener.regions.weights import Weights, weights
from listener.types import UNKNOWN_REGION, Floats, Match, Post, Reading, RegionWeight

SMALLEST = 0.01  # weights below this are dust and go to ZZ
_SPOKEN = 0.1  # a language likelier than this may be the one a cue is in
_HEARD = 3  # words of one country's own that count at most
_WORLDS = frozenset({"en", "other"})  # languages of ZZ that are nobody's diaspora
_LATIN_TWINS = {"bg": "bg_latin", "el": "el_latin"}  # shliokavitsa, Greeklish: a share in [scripts]


_SCRIPTS = ("Latn", "Cyrl", "other")
_QUARTER = 900  # seconds; no time zone is off by less

_NOTHING = (0.0, "")
_NO_PLACE = frozenset({"provider", "maybe"})
_NATIONAL = frozenset({"service", "maybe"})  # names of services, surely or perhaps

_Said = dict[str, tuple[float, list[str]]]  # region -> 1 + its odds, and the words that say so
_Evidence = tuple[str, str, float, str]  # kind, region, odds, and the word that says so
_Shared = tuple[tuple[str, ...], str]  # regions that share a name, and the name


class Attributor:
    """Holds P(region | language, script) as one table; `attribute` is pure."""

    def __init__(
        self,
        catalog: Catalog,
        find: Callable[[str], Sequence[Match]],
        fold: Callable[[str], str],
        *,
        odds: Weights | None = None,
    ) -> None:
        """`fold` makes a skeleton, `find` gives the matches in one; `odds` are those of the catalog if not given."""
        self._catalog, self._find, self._fold = catalog, find, fold
        self.weights = odds or weights(catalog.root / "places" / "weights.toml")
        self._cues = cues(catalog.root / "places" / "cues.toml", fold)
        self._speech = speech(catalog.root / "places" / "speech.toml", fold)
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
        """P(region | language) x P(script | language, region), a column a region and one for our people abroad."""
        regions = self._catalog.regions
        shares: Floats = np.zeros(len(self._regions) + 1)
        for code, region in regions.items():
            spoken = region.languages.get(language, 0.0)
            number = region.population * region.online_share * region.volume * spoken
            if code == UNKNOWN_REGION and language not in _WORLDS:
                shares[-1] = number * self.weights.diaspora
            else:
                shares[self._column[code]] = number
        if not shares.sum():
            shares[-2] = 1.0
        shares /= shares.sum()
        written = [self._script(language, code, script) if code in regions else 1.0 for code in self._regions]
        shares *= np.array([*written, written[-1]])
        return shares

    def _script(self, language: str, region: str, script: str) -> float:
        """P(script | language, region) where a language has several, else 1."""
        scripts = self._catalog.regions[region].scripts
        share = scripts.get(language)
        if share is not None:
            return share if script == "Cyrl" else 1.0 - share
        twin = scripts.get(_LATIN_TWINS.get(language, ""))
        return 1.0 if twin is None else (twin if script == "Latn" else 1.0 - twin)

    def attribute(
        self, readings: Sequence[Reading], habits: Sequence[Mapping[str, float]] = ()
    ) -> list[tuple[RegionWeight, ...]]:
        """Per reading, weights that sum to 1, the largest first, `ZZ` last; each with its evidence, as `place:izmirde`.

        `habits` has one mapping a reading, as `history.habit` makes it, or nothing at all.
        """
        if not readings:
            return []
        likely = np.zeros((len(readings), len(self._row)))
        for n, reading in enumerate(readings):
            language = reading.language
            script = language.script if language.script in _SCRIPTS else "other"
            for code, share in language.probabilities or ((language.code, language.confidence),):
                if (row := self._row.get((code, script))) is not None:
                    likely[n, row] = share
        shares = likely @ self._given
        said = likely.sum(axis=1)
        shares[:, -2] += np.maximum(0.0, 1.0 - said)
        quarters = [int(reading.post.event_at.timestamp()) // _QUARTER for reading in readings]
        known = {quarter: n for n, quarter in enumerate(sorted(set(quarters)))}
        shares *= np.array([self._hours(quarter) for quarter in known])[[known[quarter] for quarter in quarters]]
        shares[:, -2] += shares[:, -1]
        shares = shares[:, :-1]
        shares = shares**self.weights.sharpness
        shares /= shares.sum(axis=1, keepdims=True)
        spoken: list[_Said] = []
        at, columns, odds = [], [], []
        for n, (reading, share) in enumerate(zip(readings, shares.tolist(), strict=True)):
            found = self._spoken(reading, share, habits[n] if habits else {})
            for region, (ratio, _) in found.items():
                at.append(n)
                columns.append(self._column[region])
                odds.append(ratio - 1)
            spoken.append(found)
        shares[at, columns] += odds
        return self._told(shares, spoken, (said > 0).tolist())

    def _spoken(self, reading: Reading, share: Sequence[float], habit: Mapping[str, float]) -> _Said:
        """What the post, its source and its author's habit say, multiplied a region; shares what several share out."""
        post, national, code = reading.post, self._national, reading.language.code
        words = heard(reading.skeleton.split(), self._speech[code]) if code in self._speech else []
        names = [m for m in reading.matches if m[0] == "place" or (m[0] in _NATIONAL and m[1] in national)]
        if not (names or words or post.region or post.place or habit):
            return {}
        evidence, shared = self._evidence(reading, names, share) if names else ([], [])
        for region, word in words[:_HEARD]:
            evidence.append((word, region, self.weights.speech, f"speech:{word}"))
        if post.region or post.place or habit:
            evidence += self._told_beside(post, habit)
        strongest: dict[tuple[str, str], tuple[float, str]] = {}
        for kind, region, odds, word in evidence:
            if odds > strongest.get((kind, region), _NOTHING)[0]:
                strongest[kind, region] = odds, word
        said: _Said = {}
        for (_, region), (odds, word) in strongest.items():
            if region in said:
                before, before_words = said[region]
                said[region] = before * (1 + odds), [*before_words, word]
            else:
                said[region] = 1 + odds, [word]
        for regions, word in shared:
            mine = [share[self._column[region]] + 1e-9 for region in regions]
            some = sum(mine)
            each = self.weights.shared / (some + self.weights.stranger)
            for region, part in zip(regions, mine, strict=True):
                before, before_words = said.get(region, (1.0, []))
                said[region] = before + each * part, [*before_words, word]
        return said

    def _evidence(
        self, reading: Reading, names: Sequence[Match], share: Sequence[float]
    ) -> tuple[list[_Evidence], list[_Shared]]:
        """What names in the text point to: those that point to one region, and those that point to several."""
        odds = self.weights
        named = places_of(names, self._catalog)
        places = [one for one in named if one.kind not in _NO_PLACE]
        stands: Sequence[str] = ()
        if places:
            language = reading.language
            speaks = {code for code, likely in language.probabilities if likely >= _SPOKEN} | {language.code, "en"}
            stands = self._cues.stands(reading.skeleton, [(one.start, one.end) for one in places], speaks)
        made: list[_Evidence] = []
        for one, how in zip(places, stands, strict=True):
            word = f"{one.kind}:{one.word}"
            if len(one.regions) == 1:
                region = one.regions[0]
                made.append(("place", region, odds.of(one.kind, region, how, UNKNOWN_REGION), word))
        shared = [
            (one.regions, f"{one.kind}:{one.word}") for one in named if len(one.regions) > 1 or one.kind == "maybe"
        ]
        known = 1.0 - share[-1]
        for one in named:
            if one.kind == "provider" and len(one.regions) == 1:
                region = one.regions[0]
                here = share[self._column[region]]
                trusted = here / (here + odds.stranger * known) if known > _SPOKEN else 1.0
                made.append(("provider", region, odds.provider * trusted, f"provider:{one.word}"))
        return made, shared

    def _told_beside(self, post: Post, habit: Mapping[str, float]) -> list[_Evidence]:
        """What the source, the writer's profile and habit say."""
        odds = self.weights
        made = [(HABIT, region, more, HABIT) for region, more in habit.items() if region in self._column]
        if post.region in self._column:
            made.append(("source", post.region, odds.source_region, "source"))
        if post.place:
            found = {match.name for match in self._find(self._fold(post.place)) if match.kind == "place"}
            made += [("declared", region, odds.declared / len(found), "declared") for region in sorted(found)]
        return made

    def _hours_at(self, quarter: int) -> Floats:
        """How much likelier people of each region post in this quarter of an hour since 1970 than on average.

        Our people abroad keep the hours of the people at home.
        """
        shares = np.ones(len(self._regions) + 1)
        for column, zone, hours in self._zones:
            shares[column] = 24 * hours[datetime.fromtimestamp(quarter * _QUARTER, zone).hour]
        shares[-1] = shares[:-2].mean()
        return shares

    def _told(
        self, weights: Floats, spoken: Sequence[_Said], by_language: Sequence[bool]
    ) -> list[tuple[RegionWeight, ...]]:
        shares = np.round(weights / weights.sum(axis=1, keepdims=True), 4)
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
                words = said[UNKNOWN_REGION][1] if UNKNOWN_REGION in said else []
                told.append(RegionWeight(UNKNOWN_REGION, rest, tuple(words)))
            made.append(tuple(told))
        return made


def _pairs(languages: Sequence[str]) -> list[tuple[str, str]]:
    return [(language, script) for language in languages for script in _SCRIPTS]
