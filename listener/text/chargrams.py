"""Character n-grams of a batch of texts, rolled and hashed in plain NumPy: what the language identifier counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listener.types import Floats

Indices = NDArray[np.intp]

_HIGH, _STEP, _MIX = np.uint32(0x9E3779B1), np.uint32(0x01000193), np.uint32(0x2C1B3C6D)


@dataclass(frozen=True)
class Windows:
    """All character n-grams of a batch: `rolled[n - 1][i]` is the hash of the one at place i, real where `inside`."""

    codes: NDArray[np.uint32]
    rolled: list[NDArray[np.uint32]]
    inside: list[NDArray[np.bool_]]
    first: Indices  # where each text begins
    weight: Floats  # 1 / sqrt(n-grams) of each text


def windows(bags: Sequence[str], longest: int) -> Windows:
    """Roll over the batch once per length. An n-gram stays within a word, its borders included."""
    padded = [f" {bag} " for bag in bags]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "replace"), np.uint32)
    first = np.cumsum([0, *(len(text) for text in padded[:-1])], dtype=np.intp)
    space = codes == 32
    before = np.cumsum(space)
    rolled, inside = [codes * _HIGH], [~space]
    for n in range(2, longest + 1):
        fits = max(len(codes) - n + 1, 0)
        made = np.zeros(len(codes), np.uint32)
        made[:fits] = rolled[-1][:fits] * _STEP + codes[n - 1 :] * _HIGH
        real = np.zeros(len(codes), np.bool_)
        real[:fits] = before[n - 2 : len(codes) - 1] == before[:fits] if n > 2 else ~(space[:-1] & space[1:])
        rolled.append(made)
        inside.append(real)
    some = sum(np.add.reduceat(real, first, dtype=np.float64) for real in inside)
    return Windows(codes, rolled, inside, first, 1 / np.sqrt(np.maximum(some, 1)))


def buckets(found: Windows, bits: int) -> list[Indices]:
    """The bucket of every n-gram; the one after the last where there is none."""
    return [
        np.where(real, bucket(rolled, n, bits), 1 << bits)
        for n, (rolled, real) in enumerate(zip(found.rolled, found.inside, strict=True), 1)
    ]


def bucket(hashed: NDArray[np.uint32], salt: int, bits: int) -> Indices:
    mixed = hashed ^ np.uint32(salt * 0x85EBCA6B & 0xFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * _MIX
    mixed = (mixed ^ (mixed >> np.uint32(12))) * _HIGH
    return (mixed >> np.uint32(32 - bits)).astype(np.intp)
