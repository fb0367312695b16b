"""Whether a place named in a post is where its writer is: words of `data/places/cues.toml` that stand beside it.

"Here in Vienna", "we in Split", "Berlin'deyim" say so; "my cousin in Berlin says" and "I left Belgrade" say the opposite.
Only words are looked at, no grammar: the nearest cue speaks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from listener.errors import ConfigError
from listener.kinds import convert, toml_file

HERE, HOME, ABOUT, THING, BOTH = "here", "home", "about", "thing", "both"
_NEAR = 4  # words between a cue and the place it speaks of
_AT_ONCE = 1  # words between "with us" and the place that follows
_JOINED = 2  # words between two places that "and" stands between


@dataclass(frozen=True, slots=True)
class Words:
    """The cues of one language, and of the others that share them."""

    here: tuple[str, ...]
    home: tuple[str, ...]
    about: tuple[str, ...]
    thing: tuple[str, ...]
    both: tuple[str, ...]
    ending: tuple[str, ...]
    also: tuple[str, ...] = ()


class _Cue(NamedTuple):
    words: tuple[str, ...]
    kind: str
    languages: frozenset[str]


class Cues:
    """The cues of all languages, folded. `stands` is pure."""

    def __init__(self, by_language: dict[str, Words], fold: Callable[[str], str]) -> None:
        self._by_first: dict[str, list[_Cue]] = defaultdict(list)
        self._endings: dict[str, tuple[str, ...]] = {}
        self._both: dict[str, frozenset[str]] = {}
        for code, said in by_language.items():
            languages = frozenset((code, *said.also))
            for kind in (HERE, HOME, ABOUT, THING):
                forms: tuple[str, ...] = getattr(said, kind)
                for form in forms:
                    words = tuple(fold(form).split())
                    self._by_first[words[0]].append(_Cue(words, kind, languages))
            for language in languages:
                self._both[language] = frozenset(fold(word) for word in said.both)
                self._endings[language] = tuple(fold(ending) for ending in said.ending)
        for cues in self._by_first.values():
            cues.sort(key=lambda cue: -len(cue.words))

    def stands(self, text: str, spans: Sequence[tuple[int, int]], languages: Collection[str]) -> list[str]:
        """For each place, given by its offsets in the skeleton: `here`, `about`, `thing`, `both`, or empty when no word tells."""
        words = text.split()
        places = [_as_words(text, start, end) for start, end in spans]
        marks = self._ended(words, places, languages)
        said = any(HERE in mark for mark in marks)
        at_home = False
        for begin, end, kind in self._found(words, places, languages):
            if kind == HOME:
                follows = [n for n, (first, _) in enumerate(places) if 0 <= first - end <= _AT_ONCE]
                at_home = at_home or not follows
                for n in follows:
                    marks[n].add(HERE)
                continue
            gap, nearest = min((_gap(place, begin, end), n) for n, place in enumerate(places))
            if kind == THING:
                marks[nearest] |= {THING} if gap[0] == 0 else set()
            elif not (said and kind == HERE) and (gap[0] <= _NEAR or (kind == HERE and len(places) == 1)):
                marks[nearest].add(kind)
        told = at_home or any(HERE in mark for mark in marks)
        joined = self._joined(words, places, languages)
        made = []
        for n, mark in enumerate(marks):
            if THING in mark:
                made.append(THING)
            elif n in joined and not told:
                made.append(BOTH)
            else:
                made.append(HERE if HERE in mark else ABOUT if told or ABOUT in mark else "")
        return made

    def _joined(
        self, words: Sequence[str], places: Sequence[tuple[int, int]], languages: Collection[str]
    ) -> frozenset[int]:
        """Places that "and" joins to the one before or after."""
        if len(places) < 2:
            return frozenset()
        ands = frozenset().union(*(self._both.get(code, frozenset()) for code in languages))
        found: set[int] = set()
        for n, ((_, end), (begin, _)) in enumerate(pairwise(places)):
            if 0 <= begin - end <= _JOINED and not ands.isdisjoint(words[end:begin]):
                found |= {n, n + 1}
        return frozenset(found)

    def _ended(
        self, words: Sequence[str], places: Sequence[tuple[int, int]], languages: Collection[str]
    ) -> list[set[str]]:
        """The marks that a place's own ending gives it, or the piece of it that an apostrophe split off."""
        endings = tuple({ending for code in languages for ending in self._endings.get(code, ())})
        if not endings:
            return [set() for _ in places]
        return [
            {HERE} if words[last - 1].endswith(endings) or (last < len(words) and words[last] in endings) else set()
            for _, last in places
        ]

    def _found(
        self, words: Sequence[str], places: Sequence[tuple[int, int]], languages: Collection[str]
    ) -> list[tuple[int, int, str]]:
        """Cues as first word, word after the last, kind; the longest at a word, none within a place's name."""
        found = []
        skip = 0
        for at, word in enumerate(words):
            if at < skip or (cues := self._by_first.get(word)) is None:
                continue
            for cue in cues:
                end = at + len(cue.words)
                if tuple(words[at:end]) == cue.words and not cue.languages.isdisjoint(languages):
                    if not any(first < end and at < last for first, last in places):
                        found.append((at, end, cue.kind))
                        skip = end
                    break
        return found


def _as_words(text: str, start: int, end: int) -> tuple[int, int]:
    first = text.count(" ", 0, start)
    return first, first + text.count(" ", start, end) + 1


def _gap(place: tuple[int, int], begin: int, end: int) -> tuple[int, int]:
    """Words between a place and a cue; of two as near, the place that follows comes first."""
    first, last = place
    return (first - end, 0) if first >= end else (begin - last, 1)


def cues(path: Path, fold: Callable[[str], str]) -> Cues:
    """Read the file. Raises `ConfigError` that names it and the key."""
    table = toml_file(path)
    made = {code: convert(row, Words, f"{path}: {code}") for code, row in table.items() if code != "source"}
    for code, said in made.items():
        if bare := [
            form
            for form in (*said.here, *said.home, *said.about, *said.thing, *said.both, *said.ending)
            if not fold(form)
        ]:
            raise ConfigError(f"{path}: {code}: {bare[0]!r} holds no word")
    return Cues(made, fold)
