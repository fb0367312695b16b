"""Hashed n-grams of a batch of texts in plain NumPy: characters within words, words and stems in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Codes = NDArray[np.uint32]

HIGH = np.uint32(0x9E3779B1)
STEP = np.uint32(0x01000193)
_MIX = np.uint32(0x2C1B3C6D)


@dataclass(frozen=True, slots=True)
class Parameters:
    """How features are made; stored with a model, because its weights mean nothing without them."""

    bits: int = 18  # 2**bits buckets for n-grams
    sense_bits: int = 17  # and as many for rows of senses
    fold_bits: int = 2  # what needs fewer columns takes 2**fold_bits buckets as one
    shortest: int = 2
    longest: int = 5
    stem: int = 5  # letters of a word that count as its stem
    word_scale: float = 1.0
    sense_scale: float = 1.0
    told_scale: float = 0.3
    kind_scale: float = 0.6  # of the kinds of named services, for symptoms

    @property
    def buckets(self) -> int:
        return 1 << self.bits

    @property
    def sense_buckets(self) -> int:
        return 1 << self.sense_bits


@dataclass(frozen=True)
class Grams:
    """The n-grams of a batch as bucket numbers, by place in the text; the bucket after the last one holds nothing."""

    posts: int
    chars: list[Indices]  # one array per n; chars[k][i] is the n-gram that starts at place i
    char_post: Indices  # the post each place belongs to, ascending
    words: list[Indices]  # by word: words, pairs of words, stems, pairs of stems, threes of stems
    word_post: Indices
    nothing: int


def grams(texts: Sequence[str], parameters: Parameters) -> Grams:
    """Hash every character n-gram that stays within a word (its borders included), every word, stem and row of them."""
    codes, post = _letters(texts)
    space = codes == 32
    before = np.cumsum(space)
    chars = []
    rolled = codes * HIGH
    for n in range(2, parameters.longest + 1):
        rolled = rolled[:-1] * STEP + codes[n - 1 :] * HIGH
        if n < parameters.shortest:
            continue
        places = max(len(codes) - n + 1, 0)  # none when the whole batch is shorter than that
        inside = before[n - 2 : n - 2 + places] - before[:places] == 0
        if n == 2:
            inside = ~(space[:-1] & space[1:])
        made = np.full(len(codes), parameters.buckets, dtype=np.intp)
        made[: len(inside)] = np.where(inside, bucket(rolled, n, parameters.bits), parameters.buckets)
        chars.append(made)
    words, word_post = _words(codes, space, post, parameters)
    return Grams(len(texts), chars, post, words, word_post, parameters.buckets)


def word_grams(texts: Sequence[str], parameters: Parameters) -> tuple[list[Indices], Indices, int]:
    """`words`, `word_post` and `nothing` of `grams` alone."""
    codes, post = _letters(texts)
    return *_words(codes, codes == 32, post, parameters), parameters.buckets


def _letters(texts: Sequence[str]) -> tuple[Codes, Indices]:
    """Code points of the texts in a row, each with a space at both ends, and the text each belongs to."""
    padded = [f" {text} " for text in texts]
    codes: Codes = np.frombuffer("".join(padded).encode("utf-32-le", "replace"), np.uint32)
    return codes, np.repeat(np.arange(len(texts), dtype=np.intp), [len(text) for text in padded])


def _words(
    codes: Codes, space: NDArray[np.bool_], post: Indices, parameters: Parameters
) -> tuple[list[Indices], Indices]:
    """Words and pairs of words as they are; their stems (first letters) alone, in pairs and in threes."""
    letters = np.flatnonzero(~space)
    if not len(letters):
        return [np.zeros(0, np.intp)] * 5, np.zeros(0, np.intp)
    first = np.flatnonzero(np.diff(letters, prepend=-2) > 1)
    place = np.arange(len(letters)) - np.repeat(first, np.diff(first, append=len(letters)))
    powers = np.cumprod(np.full(int(place.max()) + 1, STEP, np.uint32), dtype=np.uint32)
    spelt = codes[letters] * HIGH * powers[place]
    word = np.add.reduceat(spelt, first, dtype=np.uint32)
    stem = np.add.reduceat(np.where(place < parameters.stem, spelt, np.uint32(0)), first, dtype=np.uint32)
    word_post = post[letters[first]]

    def row(of: Codes, length: int, salt: int) -> Indices:
        """So many words in a row, all of one post."""
        made = np.full(len(of), parameters.buckets, dtype=np.intp)
        if len(of) >= length:
            together = np.flatnonzero(word_post[length - 1 :] == word_post[: len(of) - length + 1])
            mixed = of[together]
            for next_ in range(1, length):
                mixed = mixed * _MIX + of[together + next_]
            made[together] = bucket(mixed, salt, parameters.bits)
        return made

    return [row(word, 1, 11), row(word, 2, 12), row(stem, 1, 13), row(stem, 2, 14), row(stem, 3, 15)], word_post


def bucket(hashed: Codes, salt: int, bits: int) -> Indices:
    mixed = hashed ^ np.uint32(salt * 0x85EBCA6B & 0xFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * _MIX
    mixed = (mixed ^ (mixed >> np.uint32(12))) * HIGH
    return (mixed >> np.uint32(32 - bits)).astype(np.intp)
