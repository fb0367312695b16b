"""Forms of data files, compiled to steps over the words of a skeleton: `*` ends a stem, `~` stands for up to two words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from listener.errors import ConfigError
from listener.text.normalize import skeleton, skeletons

GAP = 2  # words that `~` may stand for
_BEGINNING = 3  # letters


class Step(NamedTuple):
    word: str
    stem: bool
    gap: bool  # up to GAP words may come before it

    def fits(self, word: str) -> bool:
        return word.startswith(self.word) if self.stem else word == self.word


@dataclass(frozen=True, slots=True)
class Pattern:
    """A form of an entry. The automaton looks for its steps `anchor` to `anchor + run`."""

    steps: tuple[Step, ...]
    entry: int
    excepts: bool
    anchor: int
    run: int

    @property
    def neighbour(self) -> str:
        """How the word beside the run begins; empty when that can't be told from a few letters."""
        step = self.steps[self.anchor - 1 if self.anchor else self.run]
        return "" if step.stem and len(step.word) < _BEGINNING else step.word[:_BEGINNING]

    @property
    def literal(self) -> str:
        """What to look for in a skeleton that has a space at both ends."""
        steps = self.steps[self.anchor : self.anchor + self.run]
        return " " + " ".join(step.word for step in steps) + ("" if steps[-1].stem else " ")


class Partly(NamedTuple):
    """The patterns of one literal that need more words beside it."""

    patterns: tuple[Pattern, ...]
    beside: frozenset[str]  # how the words begin that stand next to the literal
    reach: int  # words after the literal's first in which they may stand

    @classmethod
    def of(cls, patterns: Sequence[Pattern]) -> Partly:
        beside = frozenset(pattern.neighbour for pattern in patterns)
        reach = max(pattern.run for pattern in patterns) + GAP + 1
        return cls(tuple(patterns), frozenset() if "" in beside else beside, reach)

    def may_fit(self, words: list[str], i: int) -> bool:
        """A quick no: dozens of patterns may share a literal, and hardly ever fits one."""
        if not self.beside:
            return True
        beside = self.beside
        for word in words[max(i - GAP - 1, 0) : i + self.reach]:  # noqa: SIM110 - `any` is slower, and this is asked of every post
            if word[:_BEGINNING] in beside:
                return True
        return False


def plain_literals(forms: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Literal and number of words of those forms that are nothing but words, the last one perhaps a stem: nearly all are.

    They are folded in one go, for a start-up compiles forty thousand.
    """
    plain = [form for form in dict.fromkeys(forms) if "~" not in form and _AWKWARD.search(form) is None]
    words = skeletons([form.rstrip("*") for form in plain])
    return {
        form: (f" {text}" if form.endswith("*") else f" {text} ", text.count(" ") + 1)
        for form, text in zip(plain, words, strict=True)
        if text
    }


_AWKWARD = re.compile(r"\*.|\W\*$")  # a stem before the end, or a star that stands behind no letter


def compile_form(form: str) -> tuple[Step, ...]:
    """Fold a form of a data file to steps over the words of a skeleton. Raises `ConfigError` on an empty one."""
    steps: list[Step] = []
    gap = False
    for part in form.split():
        if part == "~":
            gap = True
            continue
        folded = _folded(part)
        steps += [step._replace(gap=True) if gap and n == 0 else step for n, step in enumerate(folded)]
        gap = False
    if not steps:
        raise ConfigError(f"form {form!r} has no letters")
    return tuple(steps)


@cache
def _folded(part: str) -> tuple[Step, ...]:
    """Words that stand in many forms are folded once."""
    words = skeleton(part.rstrip("*")).split()
    return tuple(Step(word, n == len(words) and part.endswith("*"), gap=False) for n, word in enumerate(words, 1))


def pattern_of(steps: tuple[Step, ...], entry: int, *, excepts: bool) -> Pattern:
    """Anchor a form at its longest run of words without a gap; a stem ends a run."""
    runs, start = [], 0
    for k, step in enumerate(steps):
        if k > start and (step.gap or steps[k - 1].stem):
            runs.append((start, k))
            start = k
    runs.append((start, len(steps)))
    if len(runs) == 1:
        return Pattern(steps, entry, excepts, 0, len(steps))
    anchor, end = max(runs, key=lambda run: sum(len(step.word) + 1 for step in steps[run[0] : run[1]]))
    return Pattern(steps, entry, excepts, anchor, end - anchor)


def span_of(pattern: Pattern, words: list[str], i: int) -> tuple[int, int]:
    """First word and word after the last when the anchored run stands at word i and the rest fits around it, else -1."""
    end = _end(pattern.steps, pattern.anchor + pattern.run, words, i + pattern.run)
    begin = _begin(pattern.steps, pattern.anchor, words, i) if end >= 0 else -1
    return (begin, end) if begin >= 0 else (-1, -1)


def _end(steps: Sequence[Step], k: int, words: list[str], i: int) -> int:
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


def _begin(steps: Sequence[Step], k: int, words: list[str], i: int) -> int:
    """The first word matched when steps[:k] fit before word i, else -1."""
    if k == 0:
        return i
    for skip in range(GAP + 1 if steps[k].gap else 1):
        at = i - 1 - skip
        if at >= 0 and steps[k - 1].fits(words[at]):
            begin = _begin(steps, k - 1, words, at)
            if begin >= 0:
                return begin
    return -1
