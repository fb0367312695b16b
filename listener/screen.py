"""The gate for texts that are not posts yet: which of a batch may pass it, found in one sweep over all their letters.

A firehose is mostly about something else. What this lets go `Gate` would have let go too, and nothing that `Gate` lets pass
is lost: the sums of words are the same to a rounding error, and without a fixed part of a form there is no match.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from listener.classify.gate import FOUND, Gate, is_found
from listener.classify.wordsums import WordSums
from listener.text.phrases import Matcher
from listener.text.prefilter import Folded, Folder, Literals

MAY_PASS, NO_MATCH, NO_TEXT = 0, 1, 2
_ROUNDING = 1e-3  # by which two sums of the same weights may differ, and much more


class Screen:
    """Used from one thread; its tables grow with what they meet."""

    def __init__(self, matcher: Matcher, gate: Gate) -> None:
        self._matcher = matcher
        self._floor = gate.floor - _ROUNDING
        self._folder = Folder()
        self._sums = WordSums(gate)
        self._fixed = matcher.literals(FOUND)
        self._literals = Literals(self._fixed)

    def __call__(self, texts: Sequence[bytes]) -> NDArray[np.uint8]:
        """`MAY_PASS`, `NO_MATCH` or `NO_TEXT` for each text: UTF-8, without line feeds."""
        verdicts = np.zeros(len(texts), np.uint8)
        for folded in self._folder.fold(texts) if texts else ():
            here = self._of(folded)
            posts = np.array(folded.posts)
            kept = posts >= 0
            verdicts[posts[kept]] = here[kept]
        return verdicts

    def _of(self, folded: Folded) -> NDArray[np.uint8]:
        sums, words = self._sums.of(folded.codes, folded.ends)
        verdicts = np.where(sums >= self._floor, MAY_PASS, NO_MATCH).astype(np.uint8)
        verdicts[words == 0] = NO_TEXT
        open_ = set(np.flatnonzero(verdicts == NO_MATCH).tolist())
        for row, literal, at in self._literals.places(folded):
            if row in open_ and self._is_found(folded.row(row), literal, at):
                verdicts[row] = MAY_PASS
                open_.discard(row)
        return verdicts

    def _is_found(self, text: str, literal: int, at: int) -> bool:
        """Whether a form stands where its fixed part, a space in front, does; and then whether it counts."""
        words, before = text.split(), text[:at].split()
        return self._matcher.may_stand(self._fixed[literal], words, len(before)) and is_found(
            self._matcher.find(text.strip())
        )
