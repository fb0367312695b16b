"""How far two labellers agree: Cohen's kappa with its interval, by label and on the question itself, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from listener.errors import InputError
from listener.labelling.records import Label
from listener.types import CHATTER, LABELS

_Z = 1.96


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance: 1 = always, 0 = as by chance. `value` is None where one label alone was used."""

    posts: int
    same: float  # share of posts with the same answer
    value: float | None
    low: float | None = None  # 95 % interval
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two labellers on the posts both answered."""

    labels: Kappa  # nine labels
    question: Kappa  # chatter or not
    symptoms: float | None  # share of the same symptom where both say chatter
    by_label: tuple[tuple[str, int, int, Kappa], ...]  # label, times each gave it, and kappa of it against the rest
    differ: tuple[tuple[Label, Label], ...]  # where the labels differ, those that differ on the question first


def kappa(first: Sequence[str], second: Sequence[str]) -> Kappa:
    """Cohen's kappa with the large-sample interval of Fleiss, Cohen and Everitt (1969).

    >>> kappa(["a"] * 25 + ["b"] * 25, ["a"] * 20 + ["b"] * 5 + ["a"] * 10 + ["b"] * 15).value
    0.4
    """
    posts = len(first)
    if not posts:
        return Kappa(0, 0.0, None)
    names = sorted({*first, *second})
    place = {name: n for n, name in enumerate(names)}
    table = np.zeros((len(names), len(names)))
    for one, other in zip(first, second, strict=True):
        table[place[one], place[other]] += 1 / posts
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    same, chance = float(np.trace(table)), float(rows @ columns)
    if chance > 1 - 1e-12:
        return Kappa(posts, same, None)
    value = (same - chance) / (1 - chance)
    off = table * (columns[:, None] + rows[None, :]) ** 2
    diagonal = np.diag(table) * (1 - (rows + columns) * (1 - value)) ** 2
    outside = (1 - value) ** 2 * (off.sum() - np.trace(off))
    variance = (diagonal.sum() + outside - (value - chance * (1 - value)) ** 2) / (posts * (1 - chance) ** 2)
    width = _Z * sqrt(max(float(variance), 0.0))
    return Kappa(posts, same, round(value, 12), max(value - width, -1.0), min(value + width, 1.0))


def agreement(first: Sequence[Label], second: Sequence[Label]) -> Agreement:
    """Compare the last answers of two files, post by post. Raises `InputError` when they have no post in common."""
    one, other = ({label.id: label for label in labels} for labels in (first, second))
    both = [(one[id], other[id]) for id in one if id in other]
    if not both:
        raise InputError("the two have no post in common")
    given = [(a.label, b.label) for a, b in both]
    question = _kappa([(str(a in CHATTER), str(b in CHATTER)) for a, b in given])
    told = [a.symptom == b.symptom for a, b in both if a.label in CHATTER and b.label in CHATTER]
    by_label = tuple(
        (
            name,
            sum(a == name for a, _ in given),
            sum(b == name for _, b in given),
            _kappa([(str(a == name), str(b == name)) for a, b in given]),
        )
        for name in LABELS
        if any(name in pair for pair in given)
    )
    differ = [(a, b) for a, b in both if a.label != b.label]
    differ.sort(key=lambda pair: (pair[0].label in CHATTER) == (pair[1].label in CHATTER))
    return Agreement(_kappa(given), question, sum(told) / len(told) if told else None, by_label, tuple(differ))


def _kappa(pairs: Sequence[tuple[str, str]]) -> Kappa:
    return kappa([a for a, _ in pairs], [b for _, b in pairs])
