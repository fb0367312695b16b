"""In what script texts are, told from the code points of a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listener.text.chargrams import Windows

SCRIPTS = ("Latn", "Cyrl", "Grek")
_RANGES = (
    (0x41, 0x24F),
    (0x400, 0x52F),
    (0x370, 0x3FF),
    (0x1F00, 0x1FFF),
)  # Latin, Cyrillic, Greek, Greek with accents


@dataclass(frozen=True)
class Written:
    """In what script each text of a batch is, and how many letters it has."""

    names: list[str]
    letters: NDArray[np.intp]
    beyond_ascii: list[int]


def scripts_of(found: Windows) -> Written:
    """The commonest script of each text's letters; Latin when it has none."""
    codes = found.codes
    kind = _KIND[np.minimum(codes, len(_KIND) - 1)]
    for code in set(codes[codes >= len(_KIND)].tolist()):
        kind[codes == code] = len(SCRIPTS) + 1 if chr(code).isalpha() else 0
    kinds = range(1, len(SCRIPTS) + 2)
    count = np.stack([np.add.reduceat(kind == number, found.first, dtype=np.intp) for number in kinds], axis=1)
    beyond = np.add.reduceat(codes > 127, found.first, dtype=np.intp)
    names = [(*SCRIPTS, "Zyyy")[best] for best in count.argmax(axis=1).tolist()]
    return Written(names, count.sum(axis=1), np.flatnonzero(beyond).tolist())


def _kind(code: int) -> int:
    """0 for what is no letter, 1 to 3 for those of `SCRIPTS`, 4 for any other letter."""
    if not chr(code).isalpha():
        return 0
    return next((min(n, 2) + 1 for n, (low, high) in enumerate(_RANGES) if low <= code <= high), len(SCRIPTS) + 1)


_KIND = np.array([_kind(code) for code in range(0x2000)], np.uint8)
