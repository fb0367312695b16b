"""Which language a post is in: script rules, then an own hashed character model, then langdetect where that is unsure.

One short post can't tell Serbian, Croatian and Bosnian apart, so they are decided as one group and share the probability.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from listener.datafile import Arrays, Shapes, bytes_of, decoded, digest_of, unpacked
from listener.errors import ModelError
from listener.text.chargrams import Indices, Windows, bucket, buckets, windows
from listener.text.scripts import SCRIPTS, Written, scripts_of
from listener.types import Floats, Language

FORMAT = 1
SETTINGS, ARRAYS = "language.json", "language.npz"
UNSURE = Language("und", 0.0)

_TELLING = (("ѓќѕ", ("mk",)), ("ђћ", ("sr", "bs")), ("јљњџ", ("sr", "bs", "mk")), ("щъйюяь", ("bg",)))
_FOREIGN = (("іїєґ", "uk"), ("ыэё", "ru"))
_GROUPS = (frozenset({"sr", "hr", "bs", "cnr"}),)
_HINT = 0.7  # logits added for a language the writer's client declares: many clients say English whatever is typed
_KNOWN = 0.4  # below this, a post is of no language we can name
_DOUBTFUL = 0.7  # below this, langdetect's certainty about another language is believed
_TOLD = 4  # how many probabilities are passed on
_TRIALS = 1  # of langdetect; on our posts its own seven tell no more
_REMEMBERED = 4096  # texts whose answer by langdetect, a millisecond each, is kept
_WORD = re.compile(r"[^\W_]+")

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
        written = scripts_of(found)
        odds = self._odds(found, bags, written, hints)
        total = (odds @ self._groups).round(12)  # the same bits for all of a group, whatever rows are beside this one
        strange = self._familiar(found) < self.settings.familiar
        order = np.lexsort((np.broadcast_to(np.arange(odds.shape[1]), odds.shape), -odds, -total))[:, :_TOLD]
        best = np.take_along_axis(total, order[:, :1], axis=1)[:, 0]
        ask = (written.letters > 11) & (strange | (best < self.settings.sure))
        shares, codes = np.take_along_axis(odds, order, axis=1).tolist(), self.settings.codes
        columns, together, doubts = order.tolist(), best.tolist(), ask.tolist()
        made = []
        for n, (script, letters) in enumerate(zip(written.names, written.letters.tolist(), strict=True)):
            if not letters:
                made.append(UNSURE)
            elif script not in SCRIPTS:
                made.append(_outside(bags[n], script))
            elif script == "Cyrl" and (foreign := _foreign(bags[n])):
                made.append(Language(foreign, 0.9, script, ((foreign, 0.9),)))
            elif doubts[n]:
                made.append(_said(self._voted(bags[n], odds[n], strange=bool(strange[n])), script))
            else:
                told = tuple(zip([codes[column] for column in columns[n]], shares[n], strict=True))
                known = together[n] >= _KNOWN
                made.append(
                    Language(told[0][0] if known else "und", told[0][1] if known else together[n], script, told)
                )
        return made

    @cached_property
    def _groups(self) -> Floats:
        """1 where two codes are of one group."""
        codes = self.settings.codes
        return np.array([[float(one in group_of(other)) for other in codes] for one in codes])

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """What script rules and the own model say, without hints and without asking anyone else."""
        bags = [words_of(text) for text in texts]
        found = windows(bags, self.settings.longest)
        return self._odds(found, bags, scripts_of(found), [()] * len(texts))

    def familiarity(self, texts: Sequence[str]) -> Floats:
        """The share of each text's 4-grams that the training posts hold."""
        return self._familiar(windows([words_of(text) for text in texts], self.settings.longest))

    def _odds(self, found: Windows, bags: Sequence[str], written: Written, hints: Sequence[tuple[str, ...]]) -> Floats:
        logits = _summed(found, buckets(found, self.settings.bits), self.weights) + self.intercept
        codes = self.settings.codes
        for row, declared in enumerate(hints):
            for hint in declared:
                if hint in codes:
                    logits[row, codes.index(hint)] += _HINT
        for row in written.beyond_ascii:
            script = written.names[row]
            allowed = _telling(bags[row]) if script == "Cyrl" else ()
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

    def _voted(self, bag: str, odds: Floats, *, strange: bool) -> list[tuple[str, float]]:
        """langdetect's opinion mixed in: half a vote on our languages, and the word on others when the text looks strange."""
        shares = dict(zip(self.settings.codes, odds.tolist(), strict=True))
        votes = dict(langdetected(bag))
        outside = {code: share for code, share in votes.items() if code not in shares}
        if sum(outside.values()) > 0.9 and (strange or _together(_by_group(shares)) < _DOUBTFUL):
            return _by_group(outside)
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


def _summed(found: Windows, place: list[Indices], weights: Single) -> Floats:
    """The weights of each text's n-grams, added up and scaled."""
    from scipy import sparse

    ends = np.append(found.first, len(found.codes)) * len(place)
    row = np.repeat(found.weight, np.diff(ends)).astype(np.float32)
    grams = sparse.csr_array((row, np.stack(place, axis=1).ravel(), ends), shape=(len(found.first), len(weights)))
    made: Floats = (grams @ weights).astype(np.float64)
    return made


def _said(ranked: list[tuple[str, float]], script: str) -> Language:
    together = _together(ranked)
    code, share = ranked[0] if together >= _KNOWN else ("und", together)
    return Language(code, share, script, tuple(ranked[:_TOLD]))


def _foreign(bag: str) -> str:
    return next((code for signs, code in _FOREIGN if any(sign in bag for sign in signs)), "")


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
        return Language(votes[0][0], votes[0][1], script, votes[:_TOLD])
    return Language("und", 0.0, script)


@cache
def _profiles() -> Any:
    """langdetect's own profiles, read when they are first needed: they take a second and 60 MB."""
    from langdetect import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.seed = 0
    return factory


@lru_cache(maxsize=_REMEMBERED)
def langdetected(bag: str) -> tuple[tuple[str, float], ...]:
    """langdetect's answer, the same every time for the same words; while something fails, many write the same few."""
    from langdetect import LangDetectException

    detector = _profiles().create()
    detector.n_trial = _TRIALS
    detector.append(bag)
    try:
        return tuple((vote.lang.split("-")[0], vote.prob) for vote in detector.get_probabilities())
    except LangDetectException:  # no letters it knows
        return ()


def words_of(text: str) -> str:
    """Lower-case words of a clean text with one space between; digits only where they stand for letters (4, 6, 8, 3)."""
    plain = text.replace("İ", "i").replace("<url>", " ").replace("@user", " ").lower()
    return " ".join(word for word in _WORD.findall(plain) if not word.isdecimal())


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
