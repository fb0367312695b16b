"""Finds service names, trouble phrases and places in a skeleton, all in one pass, exact first and then nearly exact.

A form is words in their natural spelling: `*` ends a stem, ` ~ ` stands for up to two words in between. See data/README.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rapidfuzz import process
from rapidfuzz.distance import OSA

from listener.catalog import Catalog
from listener.errors import ConfigError
from listener.text.normalize import skeleton
from listener.types import Match

WEAK = "weak"  # the kind of a match that would be trouble if a service were named
GAP = 2  # words that `~` may stand for
_MEMO = 200_000  # distinct words remembered; bounded, so that a flood of nonsense can't fill the memory


@dataclass(frozen=True, slots=True)
class Entry:
    """What a group of forms stands for.

    Without a service or network word beside it a `needs_service` form is only `WEAK`; without trouble beside it a
    `needs_trouble` form is nothing.
    """

    kind: str
    name: str
    forms: tuple[str, ...]
    symptom: str = ""
    excepted: tuple[str, ...] = ()
    needs_service: bool = False
    needs_trouble: bool = False


@dataclass(frozen=True, slots=True)
class _Step:
    word: str
    stem: bool
    gap: bool  # up to GAP words may come before it

    def fits(self, word: str) -> bool:
        return word.startswith(self.word) if self.stem else word == self.word


@dataclass(frozen=True, slots=True)
class _Pattern:
    steps: tuple[_Step, ...]
    entry: int
    excepts: bool


@dataclass(slots=True)
class Matcher:
    """Compiled entries. `find` is pure; the memo of words only saves time."""

    entries: list[Entry]
    fuzzy: dict[str, int] = field(default_factory=dict)  # name -> entry
    frequent: frozenset[str] = frozenset()
    _exact: dict[str, list[_Pattern]] = field(default_factory=lambda: defaultdict(list))
    _stems: dict[str, list[_Pattern]] = field(default_factory=lambda: defaultdict(list))
    _lengths: list[int] = field(default_factory=list)
    _memo: dict[str, list[_Pattern]] = field(default_factory=dict)
    _near: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, entry in enumerate(self.entries):
            for excepts, forms in ((False, entry.forms), (True, entry.excepted)):
                for form in forms:
                    pattern = _Pattern(compile_form(form), number, excepts)
                    first = pattern.steps[0]
                    (self._stems if first.stem else self._exact)[first.word].append(pattern)
        self._lengths = sorted({len(stem) for stem in self._stems})

    def find(self, text: str) -> list[Match]:
        """All matches in a skeleton, in order of place. The longest form of an entry at a place wins."""
        words = text.split()
        starts = _starts(words)
        found: dict[tuple[int, int], tuple[int, int]] = {}  # (entry, first word) -> (end word, pattern length)
        excepted: list[tuple[int, int, int]] = []
        for i, word in enumerate(words):
            for pattern in self._candidates(word):
                end = _end(pattern.steps, 1, words, i + 1)
                if end < 0:
                    continue
                if pattern.excepts:
                    excepted.append((pattern.entry, i, end))
                elif end > found.get((pattern.entry, i), (0, 0))[0]:
                    found[pattern.entry, i] = (end, len(pattern.steps))
        spans = [
            (i, end, number)
            for (number, i), (end, _) in found.items()
            if not any(e == number and a < end and i < b for e, a, b in excepted)
        ]
        return self._told(sorted(spans), words, starts)

    def _told(self, spans: list[tuple[int, int, int]], words: list[str], starts: list[int]) -> list[Match]:
        """Weigh what was found by what stands beside it: ambiguous names need trouble, everyday verbs need a name."""
        of = self.entries
        trouble = any(of[n].kind == "trouble" for _, _, n in spans)
        near: list[tuple[int, int]] = []
        if trouble and not any(of[n].kind == "service" for _, _, n in spans):
            near = [(i, n) for i, word in enumerate(words) if (n := self._nearly(word)) >= 0]
        spans = [span for span in spans if trouble or not of[span[2]].needs_trouble]
        named = bool(near) or any(of[n].kind in ("service", "network") for _, _, n in spans)
        made = [self._match(i, end, n, words, starts, weak=of[n].needs_service and not named) for i, end, n in spans]
        made += [self._match(i, i + 1, n, words, starts, exact=False) for i, n in near]
        return sorted(made, key=lambda m: (m.start, m.end, m.kind, m.name))

    def _match(
        self,
        i: int,
        end: int,
        number: int,
        words: list[str],
        starts: list[int],
        *,
        exact: bool = True,
        weak: bool = False,
    ) -> Match:
        entry = self.entries[number]
        form = " ".join(words[i:end])
        kind = WEAK if weak else entry.kind
        return Match(kind, entry.name, form, starts[i], starts[i] + len(form), exact, entry.symptom)

    def _candidates(self, word: str) -> list[_Pattern]:
        known = self._memo.get(word)
        if known is None:
            known = list(self._exact.get(word, ()))
            for length in self._lengths:
                if length > len(word):
                    break
                known += self._stems.get(word[:length], ())
            if len(self._memo) < _MEMO:
                self._memo[word] = known
        return known

    def _nearly(self, word: str) -> int:
        """The entry a misspelt service name stands for, or -1. One edit for 6 to 8 letters, two from 9 on."""
        if len(word) < 6 or word in self.frequent:
            return -1
        number = self._near.get(word)
        if number is None:
            best = process.extractOne(
                word, self.fuzzy.keys(), scorer=OSA.distance, score_cutoff=1 if len(word) < 9 else 2
            )
            number = self.fuzzy[best[0]] if best and best[0][0] == word[0] and len(best[0]) >= 6 else -1
            if len(self._near) < _MEMO:
                self._near[word] = number
        return number


def compile_form(form: str) -> tuple[_Step, ...]:
    """Fold a form of a data file to steps over the words of a skeleton. Raises `ConfigError` on an empty one."""
    steps: list[_Step] = []
    gap = False
    for part in form.split():
        if part == "~":
            gap = True
            continue
        folded = skeleton(part.rstrip("*")).split()
        for n, word in enumerate(folded):
            last = n == len(folded) - 1
            steps.append(_Step(word, stem=last and part.endswith("*"), gap=gap and n == 0))
        gap = False
    if not steps:
        raise ConfigError(f"form {form!r} has no letters")
    return tuple(steps)


def _end(steps: Sequence[_Step], k: int, words: list[str], i: int) -> int:
    """The word after the last one matched when steps[k:] fit from word i on, else -1."""
    if k == len(steps):
        return i
    step = steps[k]
    for skip in range(GAP + 1 if step.gap else 1):
        if i + skip < len(words) and step.fits(words[i + skip]):
            end = _end(steps, k + 1, words, i + skip + 1)
            if end >= 0:
                return end
    return -1


def _starts(words: list[str]) -> list[int]:
    starts, at = [], 0
    for word in words:
        starts.append(at)
        at += len(word) + 1
    return starts


def entries_of(catalog: Catalog) -> Iterable[Entry]:
    """What a catalog knows, as entries: phrases by concept, services by id, places by region."""
    for language in catalog.languages.values():
        for phrase in language.phrases:
            yield Entry(
                kind=phrase.concept,
                name=language.code,
                forms=phrase.forms,
                symptom=phrase.symptom,
                excepted=phrase.excepted,
                needs_service=phrase.needs == "service",
            )
    for service in catalog.services.values():
        if service.aliases:
            yield Entry("service", service.id, service.aliases)
        if service.ambiguous:
            yield Entry("service", service.id, service.ambiguous, needs_trouble=True)
    for place in catalog.places:
        yield Entry("place", place.region, place.forms, symptom=place.kind, excepted=place.excepted)


def matcher_of(catalog: Catalog) -> Matcher:
    """The matcher of a catalog, misspelt service names included."""
    entries = list(entries_of(catalog))
    number = {entry.name: n for n, entry in enumerate(entries) if entry.kind == "service" and not entry.needs_trouble}
    fuzzy = {
        skeleton(name): number[service.id]
        for service in catalog.services.values()
        if service.id in number
        for name in service.fuzzy
    }
    ordinary = {
        skeleton(word)
        for language in catalog.languages.values()
        for word in (*language.function_words, *language.frequent)
    }
    return Matcher(entries, fuzzy, frozenset(ordinary))
