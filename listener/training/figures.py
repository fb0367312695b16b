"""How good probabilities are: precision, recall, F1, average precision, calibration error, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.types import Floats

Truth = NDArray[np.bool_]
CUT = 0.5  # a post counts as chatter from this probability in precision, recall and F1
_RESAMPLES = 200
_BINS = 10


def chatter_figures(truth: Truth, chatter: Floats, seed: int) -> dict[str, Any]:
    """Figures of the chatter probability; F1 and average precision with their 95 % bootstrap intervals."""
    weights = (
        np.random.default_rng(seed).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=_RESAMPLES)
        if len(truth)
        else np.zeros((0, 0))
    )
    precision, recall, f1 = _f1(truth, chatter >= CUT, np.ones((1, len(truth))))
    _, _, f1s = _f1(truth, chatter >= CUT, weights)
    aps = _average_precision(truth, chatter, weights)
    return {
        "posts": len(truth),
        "chatter": int(truth.sum()),
        "precision": told(precision[0]),
        "recall": told(recall[0]),
        "f1": told(f1[0]),
        "f1_interval": interval(f1s),
        "ap": told(_average_precision(truth, chatter, np.ones((1, len(truth))))[0]),
        "ap_interval": interval(aps),
        "ece": told(calibration_error(truth, chatter)),
    }


def calibration_error(truth: Truth, chatter: Floats) -> float:
    """Expected calibration error: how far the mean probability of a bin is from the share that is true, over ten bins."""
    number = np.minimum((chatter * _BINS).astype(int), _BINS - 1)
    said = np.bincount(number, weights=chatter, minlength=_BINS)
    true = np.bincount(number, weights=truth, minlength=_BINS)
    return float(np.abs(said - true).sum() / max(len(truth), 1))


def macro_f1(truth: NDArray[np.intp], said: NDArray[np.intp], classes: int) -> tuple[float, list[float]]:
    """F1 of each class and their mean over the classes that occur."""
    each = []
    for number in range(classes):
        _, _, f1 = _f1(truth == number, said == number, np.ones((1, len(truth))))
        each.append(float(f1[0]))
    there = [f1 for number, f1 in enumerate(each) if (truth == number).any()]
    return (sum(there) / len(there) if there else 0.0), each


def confusion(truth: NDArray[np.intp], said: NDArray[np.intp], classes: int) -> list[list[int]]:
    """How many posts of each true class (a row) were taken for each class (a column).

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    [[1, 1], [0, 1]]
    """
    table: list[list[int]] = (
        np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes).tolist()
    )
    return table


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: told(value) for name, value in figures.items()}


def _f1(truth: Truth, said: Truth, weights: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    hit = weights @ (truth & said)
    precision = hit / np.maximum(weights @ said, 1e-12)
    recall = hit / np.maximum(weights @ truth, 1e-12)
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def _average_precision(truth: Truth, chatter: Floats, weights: NDArray[Any]) -> Floats:
    order = np.argsort(-chatter, kind="stable")
    true, drawn = truth[order], weights[:, order].astype(np.float64)
    ends = np.append(np.flatnonzero(np.diff(chatter[order])), max(len(order) - 1, 0))  # equal scores stand together
    hits = np.cumsum(drawn * true, axis=1)[:, ends]
    all_ = np.cumsum(drawn, axis=1)[:, ends]
    gained = np.diff(hits, axis=1, prepend=0)
    ap: Floats = (gained * hits / np.maximum(all_, 1e-12)).sum(axis=1) / np.maximum(hits[:, -1], 1e-12)
    return ap


def interval(values: Floats) -> tuple[float, float]:
    """Where 95 % of the values lie, as resampling found them."""
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (0.0, 1.0)
    return told(low), told(high)


def told(value: float) -> float:
    """A figure as it is written down: four decimals."""
    return round(float(value), 4)
