"""Hashed rows of word senses: each sense, two within reach of one another, three side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from listener.classify.senses import Word

REACH = 4  # words that have a sense: a pair may stand so far apart
_MOST = 8  # a pair is looked for so many senses on; a word of many senses fills that sooner

Indices = NDArray[np.intp]
Keys = NDArray[np.uint64]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(29)


@dataclass(frozen=True)
class SenseGrams:
    """Every sense, pair and row of three of a batch: the post it is of, its bucket, and the senses it is made of."""

    post: Indices
    bucket: Indices
    made_of: list[tuple[Indices, ...]]  # numbers of senses, in the order of `post`: singles, pairs of each step, threes


def sense_grams(posts: Sequence[Sequence[Word]], bits: int) -> SenseGrams:
    """Hash them to buckets below 2**bits. Words without a sense don't count, so meaning stands side by side."""
    post, place, sense = _flat(posts)
    key = sense.astype(np.uint64) + np.uint64(1)
    owners, keys = [post], [key]
    made_of: list[tuple[Indices, ...]] = [(sense,)]
    before, after = [], []
    for step in range(1, min(_MOST, len(key) - 1) + 1):
        gap = place[step:] - place[:-step]
        first = np.flatnonzero((post[step:] == post[:-step]) & (gap >= 1) & (gap <= REACH))
        beside = gap[first] == 1
        owners.append(post[first])
        keys.append(_joined(key[first], key[first + step], np.where(beside, 1, 2).astype(np.uint64)))
        made_of.append((sense[first], sense[first + step]))
        before.append(first[beside])
        after.append(first[beside] + step)
    if before:
        one, two, three = _threes(np.concatenate(before), np.concatenate(after), len(key))
        owners.append(post[one])
        keys.append(_joined(_joined(key[one], key[two], np.uint64(3)), key[three], np.uint64(4)))
        made_of.append((sense[one], sense[two], sense[three]))
    mixed = np.concatenate(keys) * _MIX
    mixed = (mixed ^ (mixed >> _FOLD)) * _MIX
    return SenseGrams(np.concatenate(owners), (mixed >> np.uint64(64 - bits)).astype(np.intp), made_of)


def _flat(posts: Sequence[Sequence[Word]]) -> tuple[Indices, Indices, Indices]:
    """Post, place among the words that have a sense, and sense, one entry a sense."""
    told = [[word for word in words if word] for words in posts]
    words = list(chain.from_iterable(told))
    many = np.fromiter(map(len, told), np.intp, len(told))
    senses = np.fromiter(map(len, words), np.intp, len(words))
    place = np.arange(1, len(words) + 1) - np.repeat(np.cumsum(many) - many, many)
    owner = np.repeat(np.arange(len(told)), many)
    sense = np.fromiter(chain.from_iterable(words), np.intp, int(senses.sum()))
    return np.repeat(owner, senses), np.repeat(place, senses), sense


def _joined(one: Keys, other: Keys, salt: Keys | np.uint64) -> Keys:
    mixed = (one * np.uint64(1_000_003) + other) * _MIX + salt
    return mixed ^ (mixed >> _FOLD)


def _threes(before: Indices, after: Indices, count: int) -> tuple[Indices, Indices, Indices]:
    """Pairs side by side, joined where one ends as the next begins."""
    order = np.argsort(before, kind="stable")
    before, after = before[order], after[order]
    first = np.searchsorted(before, np.arange(count + 1))
    many = first[after + 1] - first[after]
    one, two = np.repeat(before, many), np.repeat(after, many)
    nth = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    return one, two, after[first[two] + nth]
