"""Which language a post is in: script rules, then an own hashed character model, then langdetect where that is unsure.

One short post can't tell Serbian, Croatian and Bosnian apart, so they are decided as one group and share the probability.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from listener.datafile import Arrays, Shapes, bytes_of, decoded, digest_of, unpacked
from listener.errors import ModelError
from listener.text.chargrams import Windows, bucket, buckets, windows
from listener.types import Floats, Language

FORMAT = 1
SETTINGS, ARRAYS = "language.json", "language.npz"
SCRIPTS = ("Latn", "Cyrl", "Grek")
UNSURE = Language("und", 0.0)

_RANGES = (
    (0x41, 0x24F),
    (0x400, 0x52F),
    (0x370, 0x3FF),
    (0x1F00, 0x1FFF),
)  # Latin, Cyrillic, Greek, Greek with accents
_TELLING = (("ѓќѕ", ("mk",)), ("ђћ", ("sr", "bs")), ("јљњџ", ("sr", "bs", "mk")), ("щъйюяь", ("bg",)))
_FOREIGN = (("іїєґ", "uk"), ("ыэё", "ru"))
_GROUPS = (frozenset({"sr", "hr", "bs", "cnr"}),)
_HINT = 0.7  # logits added for a language the writer's client declares: many clients say English whatever is typed
_DOUBTFUL = 0.7  # below this, langdetect's certainty about another language is believed
_TOLD = 4  # how many probabilities are passed on
_MASKED = re.compile(r"(?:<url>|@user|[\W_]|\b\d+\b)+")

Single = NDArray[np.float32]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`language.json`. `scripts` names, for each code, the scripts it is written in; `golden` are texts with their answer."""

    format: int
    codes: tuple[str, ...]
    scripts: tuple[tuple[str, ...], ...]
    bits: int
    longest: int
    seen_bits: int
    sure: float  # probability of a language (or group) from which nobody else is asked
    familiar: float  # share of known 4-grams below which a text may be of another language
    arrays: str
    golden: tuple[tuple[str, float, str], ...]  # code, its probability, text


@dataclass(frozen=True)
class Identifier:
    """A loaded model. Build it with `load`; it never changes, so any thread may use it."""

    settings: Settings
    weights: Single  # the last row is zero: no n-gram starts here
    intercept: Single
    seen: NDArray[np.bool_]

    @classmethod
    def load(cls, folder: Path) -> Identifier:
        """Read, check and try a model. Raises `ModelError`, whatever is wrong with it."""
        if not (folder / SETTINGS).is_file():
            raise ModelError(f"{folder}: no language model here; make one with `listener train --out {folder}`")
        settings = decoded(bytes_of(folder / SETTINGS), Settings, folder / SETTINGS)
        made = cls.of(settings, _arrays(bytes_of(folder / ARRAYS), settings, folder / ARRAYS))
        odds = made.probabilities([text for _, _, text in settings.golden])
        for (code, expected, text), row in zip(settings.golden, odds, strict=True):
            if code not in settings.codes or abs(row[settings.codes.index(code)] - expected) > 1e-4:
                raise ModelError(f"{folder}: no longer reads {text[:40]!r} as it did when it was made; train it again")
        return made

    @classmethod
    def of(cls, settings: Settings, arrays: Arrays) -> Identifier:
        weights = arrays["weights"].astype(np.float32)
        nothing = np.zeros((1, weights.shape[1]), np.float32)
        seen = np.unpackbits(arrays["seen"]).astype(bool)
        return cls(settings, np.concatenate([weights, nothing]), arrays["intercept"], seen)

    def identify(self, texts: Sequence[str], hints: Sequence[tuple[str, ...]]) -> list[Language]:
        """The language of each clean text, in order."""
        if not texts:
            return []
        bags = [words_of(text) for text in texts]
        found = windows(bags, self.settings.longest)
        odds = self._odds(found, bags, hints)
        known = self._familiar(found)
        return [self._answer(bag, row, share) for bag, row, share in zip(bags, odds, known, strict=True)]

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """What script rules and the own model say, without hints and without asking anyone else."""
        bags = [words_of(text) for text in texts]
        return self._odds(windows(bags, self.settings.longest), bags, [()] * len(texts))

    def familiarity(self, texts: Sequence[str]) -> Floats:
        """The share of each text's 4-grams that the training posts hold."""
        return self._familiar(windows([words_of(text) for text in texts], self.settings.longest))

    def _odds(self, found: Windows, bags: Sequence[str], hints: Sequence[tuple[str, ...]]) -> Floats:
        place = buckets(found, self.settings.bits)
        here = sum((self.weights[b] for b in place[1:]), self.weights[place[0]])
        logits = np.add.reduceat(here, found.first, axis=0, dtype=np.float64) * found.weight[:, None] + self.intercept
        codes = self.settings.codes
        for row, (bag, declared) in enumerate(zip(bags, hints, strict=True)):
            for hint in declared:
                if hint in codes:
                    logits[row, codes.index(hint)] += _HINT
            if not bag.isascii():
                script = script_of(bag)
                allowed = _telling(bag) if script == "Cyrl" else ()
                for column, code in enumerate(codes):
                    if script not in self.settings.scripts[column] or (allowed and code not in allowed):
                        logits[row, column] -= 30
        logits -= logits.max(axis=1, keepdims=True)
        odds: Floats = np.exp(logits)
        odds /= odds.sum(axis=1, keepdims=True)
        return odds

    def _familiar(self, found: Windows) -> Floats:
        place = bucket(found.rolled[3], 9, self.settings.seen_bits)
        inside = found.inside[3]
        known = np.add.reduceat(self.seen[place] & inside, found.first, dtype=np.float64)
        total = np.add.reduceat(inside, found.first, dtype=np.float64)
        share: Floats = np.where(total > 0, known / np.maximum(total, 1), 1.0)
        return share

    def _answer(self, bag: str, odds: Floats, familiar: float) -> Language:
        script = script_of(bag)
        letters = sum(map(str.isalpha, bag))
        if not letters:
            return UNSURE
        if script not in SCRIPTS:
            return _outside(bag, script)
        foreign = next((code for signs, code in _FOREIGN if any(sign in bag for sign in signs)), "")
        if script == "Cyrl" and foreign:
            return Language(foreign, 0.9, script, ((foreign, 0.9),))
        ranked = self._ranked(odds)
        together = _together(ranked)
        strange = familiar < self.settings.familiar
        if letters > 11 and (strange or together < self.settings.sure):
            ranked = self._voted(bag, ranked, strange=strange)
            together = _together(ranked)
        if together < 0.4:
            return Language("und", together, script, tuple(ranked[:_TOLD]))
        return Language(ranked[0][0], ranked[0][1], script, tuple(ranked[:_TOLD]))

    def _ranked(self, odds: Floats) -> list[tuple[str, float]]:
        """Codes by probability, those of the strongest group first."""
        shares = dict(zip(self.settings.codes, odds.tolist(), strict=True))
        return _by_group(shares)

    def _voted(self, bag: str, ranked: list[tuple[str, float]], *, strange: bool) -> list[tuple[str, float]]:
        """langdetect's opinion mixed in: half a vote on our languages, and the word on others when the text looks strange."""
        votes = dict(langdetected(bag))
        outside = {code: share for code, share in votes.items() if code not in self.settings.codes}
        if sum(outside.values()) > 0.9 and (strange or _together(ranked) < _DOUBTFUL):
            return _by_group(outside)
        shares = dict(ranked)
        ours = {code: share for code, share in votes.items() if code in shares}
        for code, share in ours.items():
            group = group_of(code) & shares.keys()
            inside = sum(shares[member] for member in group)
            for member in group:  # what it calls Croatian may be any of the group
                shares[member] += 0.5 * share * (shares[member] / inside if inside else 1 / len(group))
        for code, share in outside.items():
            shares[code] = 0.1 * share
        total = sum(shares.values())
        return _by_group({code: share / total for code, share in shares.items()})


def group_of(code: str) -> frozenset[str]:
    return next((group for group in _GROUPS if code in group), frozenset({code}))


def _by_group(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    total = {code: sum(shares.get(member, 0.0) for member in group_of(code)) for code in shares}
    return sorted(shares.items(), key=lambda item: (-total[item[0]], -item[1], item[0]))


def _together(ranked: list[tuple[str, float]]) -> float:
    return sum(share for code, share in ranked if code in group_of(ranked[0][0])) if ranked else 0.0


def _outside(bag: str, script: str) -> Language:
    votes = langdetected(bag)
    if votes and votes[0][1] > 0.8:
        return Language(votes[0][0], votes[0][1], script, tuple(votes[:_TOLD]))
    return Language("und", 0.0, script)


def langdetected(bag: str) -> list[tuple[str, float]]:
    """langdetect's answer, the same every time for the same text."""
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    DetectorFactory.seed = 0
    try:
        return [(vote.lang.split("-")[0], vote.prob) for vote in detect_langs(bag)]
    except LangDetectException:  # no letters it knows
        return []


def words_of(text: str) -> str:
    """Lower-case words of a clean text with one space between; digits only where they stand for letters (4, 6, 8, 3)."""
    return _MASKED.sub(" ", text.replace("İ", "i").lower()).strip()


@cache
def _code_script(code: int) -> str:
    for number, (low, high) in enumerate(_RANGES):
        if low <= code <= high:
            return SCRIPTS[min(number, 2)]
    return "Zyyy"


def script_of(bag: str) -> str:
    if bag.isascii():
        return "Latn"
    count: dict[str, int] = {}
    for char in bag:
        if char.isalpha():
            script = _code_script(ord(char))
            count[script] = count.get(script, 0) + 1
    return max(count, key=lambda script: count[script], default="Latn")


def _telling(bag: str) -> tuple[str, ...]:
    return next((codes for signs, codes in _TELLING if any(sign in bag for sign in signs)), ())


def shapes(settings: Settings) -> Shapes:
    """Every array of a model, with the one shape and type it may have."""
    return {
        "weights": ((1 << settings.bits, len(settings.codes)), np.dtype("<f2")),
        "intercept": ((len(settings.codes),), np.dtype("<f4")),
        "seen": ((1 << settings.seen_bits >> 3,), np.dtype("u1")),
    }


def _arrays(raw: bytes, settings: Settings, path: Path) -> Arrays:
    sensible = 10 <= settings.bits <= 17 and 10 <= settings.seen_bits <= 20 and settings.longest in (4, 5)
    if settings.format != FORMAT or not sensible or not 1 < len(settings.codes) == len(settings.scripts) < 30:
        raise ModelError(f"{path.parent}: a language model of another format; train it again")
    if digest_of(raw) != settings.arrays:
        raise ModelError(f"{path}: its content is not what {SETTINGS} says (sha256 differs)")
    return unpacked(raw, shapes(settings), path)
