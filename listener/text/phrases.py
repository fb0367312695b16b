"""Finds service names, trouble phrases and places in a skeleton, all in one pass, exact first and then nearly exact.

A form is words in their natural spelling: `*` ends a stem, ` ~ ` stands for up to two words in between. See data/README.md.
One automaton (Aho & Corasick 1975) looks for the longest fixed run of words of every form at once; only where one stands is
the rest of the form compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ahocorasick_rs import AhoCorasick, Implementation
from rapidfuzz import process
from rapidfuzz.distance import OSA

from listener.catalog import Catalog
from listener.text.forms import Partly, Pattern, compile_form, pattern_of, plain_literals, span_of
from listener.text.normalize import skeleton
from listener.types import Match

WEAK = "weak"  # the kind of a match that would be trouble if a service were named
MAYBE = "maybe"  # that of a name which is also an everyday word, where no trouble stands beside it
_TROUBLE = frozenset({"trouble", "network", "block"})
_NAMES = frozenset({"service", "network", "tech"})  # what shows that everyday words are meant of something online
_MEMO = 200_000  # misspelt words remembered; bounded, so that a flood of nonsense can't fill the memory


@dataclass(frozen=True, slots=True)
class Entry:
    """What a group of forms stands for.

    Without a service, network or tech word beside it a `needs_service` form of trouble is only `WEAK`, one of anything else
    nothing; without trouble beside it a `needs_trouble` form is only `MAYBE`.
    """

    kind: str
    name: str
    forms: tuple[str, ...]
    symptom: str = ""
    excepted: tuple[str, ...] = ()
    needs_service: bool = False
    needs_trouble: bool = False


class Matcher:
    """Compiled entries. `find` is pure; the memo of misspelt words only saves time."""

    def __init__(
        self, entries: Sequence[Entry], fuzzy: dict[str, int] | None = None, frequent: frozenset[str] = frozenset()
    ) -> None:
        """`fuzzy` maps names that may be misspelt to their entry, `frequent` are words never taken for one."""
        self.entries = list(entries)
        self._kinds = [entry.kind for entry in self.entries]
        self._said = [(entry.kind, entry.name, entry.symptom) for entry in self.entries]
        self._needs_service = [entry.needs_service for entry in self.entries]
        self._needs_trouble = [entry.needs_trouble for entry in self.entries]
        self._fuzzy = fuzzy or {}
        self._frequent = frequent
        self._near: dict[str, int] = {}
        whole: dict[str, list[tuple[int, int, bool]]] = {}
        partly: dict[str, list[Pattern]] = {}
        plain = plain_literals(form for entry in self.entries for form in (*entry.forms, *entry.excepted))
        for number, entry in enumerate(self.entries):
            for excepts, forms in ((False, entry.forms), (True, entry.excepted)):
                for form in forms:
                    if form in plain:
                        literal, run = plain[form]
                        whole.setdefault(literal, []).append((number, run, excepts))
                        continue
                    pattern = pattern_of(compile_form(form), number, excepts=excepts)
                    whole.setdefault(pattern.literal, [])
                    if pattern.run == len(pattern.steps):
                        whole[pattern.literal].append((number, pattern.run, excepts))
                    else:
                        partly.setdefault(pattern.literal, []).append(pattern)
        self._fixed = list(whole)
        self._number = {literal: n for n, literal in enumerate(self._fixed)}
        self._whole = list(whole.values())
        self._partly = {self._number[literal]: Partly.of(patterns) for literal, patterns in partly.items()}
        self._automaton = AhoCorasick(self._fixed, implementation=Implementation.ContiguousNFA)

    def literals(self, kinds: Collection[str]) -> list[str]:
        """The fixed parts of forms, of which one stands in every skeleton where something of these kinds is found.

        A name that needs trouble beside it, or is misspelt, is found only where the fixed part of a trouble stands too.
        """
        wanted = {n for n, kind in enumerate(self._kinds) if kind in kinds and not self._needs_trouble[n]}
        return [literal for n, literal in enumerate(self._fixed) if not wanted.isdisjoint(self._entries(n))]

    def _entries(self, literal: int) -> set[int]:
        """What the forms with this literal stand for that do not only except something."""
        partly = self._partly[literal].patterns if literal in self._partly else ()
        whole = {entry for entry, _, excepts in self._whole[literal] if not excepts}
        return whole | {pattern.entry for pattern in partly if not pattern.excepts}

    def may_stand(self, literal: str, words: list[str], i: int) -> bool:
        """Whether a form with this fixed part stands where the part stands, its first word being `words[i]`."""
        number = self._number[literal]
        if any(not excepts for _, _, excepts in self._whole[number]):
            return True
        partly = self._partly.get(number)
        if partly is None or not partly.may_fit(words, i):
            return False
        return any(span_of(one, words, i)[1] >= 0 for one in partly.patterns if not one.excepts)

    def find(self, text: str) -> list[Match]:
        """All matches in a skeleton, in order of place. The longest form of an entry at a place wins."""
        whole, partly = self._whole, self._partly
        words = text.split()
        starts = _starts(words)
        number_at = {start: i for i, start in enumerate(starts)}
        found: dict[tuple[int, int], int] = {}  # (first word, entry) -> word after the last
        excepted: list[tuple[int, int, int]] = []
        for literal, at, _ in self._automaton.find_matches_as_indexes(f" {text} ", overlapping=True):
            i = number_at[at]
            for entry, run, excepts in whole[literal]:
                if excepts:
                    excepted.append((entry, i, i + run))
                elif i + run > found.get((i, entry), 0):
                    found[i, entry] = i + run
            beside = partly.get(literal)
            if beside is None or not beside.may_fit(words, i):
                continue
            for pattern in beside.patterns:
                begin, end = span_of(pattern, words, i)
                if end >= 0 and pattern.excepts:
                    excepted.append((pattern.entry, begin, end))
                elif end > found.get((begin, pattern.entry), 0):
                    found[begin, pattern.entry] = end
        left = [(begin, end, number) for (begin, number), end in found.items()]
        if excepted:
            left = [
                (begin, end, number)
                for begin, end, number in left
                if not any(e == number and a < end and begin < b for e, a, b in excepted)
            ]
        return self._told(left, text, words, starts)

    def _told(self, spans: list[tuple[int, int, int]], text: str, words: list[str], starts: list[int]) -> list[Match]:
        """Weigh what was found by what stands beside it: ambiguous names need trouble, everyday words the online world."""
        kinds, vouched, troubled = self._kinds, self._needs_service, self._needs_trouble
        present = {kinds[n] for _, _, n in spans}
        trouble = not present.isdisjoint(_TROUBLE)
        near: list[tuple[int, int]] = []
        if trouble and self._fuzzy and "service" not in present:
            near = [(i, n) for i, word in enumerate(words) if (n := self._nearly(word)) >= 0]
        named = bool(near)
        if not named and not present.isdisjoint(_NAMES):
            named = any(kinds[n] in _NAMES and not vouched[n] and (trouble or not troubled[n]) for _, _, n in spans)
        if not named:
            spans = [span for span in spans if not vouched[span[2]] or kinds[span[2]] == "trouble"]
        made = {}
        for i, end, n in spans:
            kind, name, symptom = self._said[n]
            if vouched[n] and not named:
                kind = WEAK
            elif troubled[n] and not trouble:
                kind = MAYBE
            start, last = starts[i], starts[end - 1] + len(words[end - 1])
            made[start, last, kind, name] = Match(kind, name, text[start:last], start, last, True, symptom)
        if not near:
            return [made[key] for key in sorted(made)] if len(made) > 1 else list(made.values())
        for i, n in near:
            entry, start, last = self.entries[n], starts[i], starts[i] + len(words[i])
            made[start, last, entry.kind, entry.name] = Match(entry.kind, entry.name, words[i], start, last, False)
        return [made[key] for key in sorted(made)]

    def _nearly(self, word: str) -> int:
        """The entry a misspelt service name stands for, or -1. One edit for 6 to 8 letters, two from 9 on."""
        if len(word) < 6 or word in self._frequent:
            return -1
        number = self._near.get(word)
        if number is None:
            most = 1 if len(word) < 9 else 2
            best = process.extractOne(word, self._fuzzy.keys(), scorer=OSA.distance, score_cutoff=most)
            number = self._fuzzy[best[0]] if best and best[0][0] == word[0] and len(best[0]) >= 6 else -1
            if len(self._near) < _MEMO:
                self._near[word] = number
        return number


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
