"""Fits a network of one hidden layer by Adam, as scikit-learn's `MLPClassifier.partial_fit` does: the same bits in half the time.

Most of that time goes through memory: millions of weights, of which a batch touches few, are all moved by every step. Here they
are moved a few rows at a time, which stay in the processor's cache. In double precision where scikit-learn is, else in single.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.classify.linear import Singles, softmax
from listener.classify.network import Network
from listener.types import Floats

_KEEP, _KEEP_SQUARES, _TINY = 0.9, 0.999, 1e-8  # Adam's beta 1, beta 2 and epsilon, as its authors have them
_AT_ONCE = 1024  # rows of weights

Means = tuple[NDArray[Any], NDArray[Any]]  # of slopes, and of their squares


@dataclass(frozen=True)
class Pace:
    """Adam's learning rate, how strongly weights are pulled to zero, and how many rows make a step."""

    rate: float
    decay: float
    batch: int


class Descent:
    """Holds a network while it is fitted. `seed` decides how it begins, and in which order rows are gone through."""

    def __init__(self, columns: int, hidden: int, classes: int, seed: int, pace: Pace) -> None:
        self._pace, self._seed, self._steps = pace, seed, 0
        self._random = np.random.RandomState(seed)  # for the beginning and the first pass; each further one begins anew
        inward, threshold = self._begun(columns, hidden)
        outward, bias = self._begun(hidden, classes)
        self._network = Network(inward, threshold, outward, bias)
        self._means: dict[str, Means] = {}
        for name, part, kind in (
            ("in", inward, "f4"),
            ("out", outward, "f4"),
            ("threshold", threshold, "f8"),
            ("bias", bias, "f8"),
        ):
            self._means[name] = np.zeros(part.shape, kind), np.zeros(part.shape, kind)

    def _begun(self, before: int, after: int) -> tuple[Singles, Singles]:
        """Glorot and Bengio 2010."""
        bound = np.sqrt(6.0 / (before + after))
        weights = self._random.uniform(-bound, bound, (before, after)).astype(np.float32)
        return weights, self._random.uniform(-bound, bound, after).astype(np.float32)

    def network(self) -> Network:
        return self._network

    def pass_over(self, matrix: Any, wanted: NDArray[np.intp], weight: Floats) -> None:
        """Go once over the rows of a sparse float32 matrix. `wanted` are their classes, `weight` says how much each counts."""
        order = np.arange(len(wanted))
        self._random.shuffle(order)
        self._random = np.random.RandomState(self._seed)
        one_hot = np.eye(len(self._network.bias), dtype=np.bool_)[wanted]
        for at in range(0, len(order), self._pace.batch):
            rows = order[at : at + self._pace.batch]
            self._step(matrix[rows], one_hot[rows], weight[rows])

    def _step(self, matrix: Any, one_hot: NDArray[np.bool_], weight: Floats) -> None:
        net, means, total = self._network, self._means, weight.sum()
        hidden = net.hidden(matrix)
        logits: Any = hidden @ net.outward + net.bias
        missed = softmax(logits) - one_hot
        missed *= weight[:, None]
        blamed = missed @ net.outward.T
        blamed[hidden == 0] = 0
        self._steps += 1
        rate = self._pace.rate * np.sqrt(1 - _KEEP_SQUARES**self._steps) / (1 - _KEEP**self._steps)
        self._move(net.inward, matrix.T @ blamed, total, means["in"], rate)
        self._move(net.outward, hidden.T @ missed, total, means["out"], rate)
        net.threshold[:] += _change(blamed.sum(axis=0) / total, means["threshold"], rate)
        net.bias[:] += _change(missed.sum(axis=0) / total, means["bias"], rate)

    def _move(self, weights: Singles, slope: Any, total: float, means: Means, rate: float) -> None:
        for at in range(0, len(weights), _AT_ONCE):
            rows = slice(at, at + _AT_ONCE)
            part = slope[rows]
            part += self._pace.decay * weights[rows]
            part /= total
            weights[rows] += _change(part, (means[0][rows], means[1][rows]), rate)


def _change(slope: Any, means: Means, rate: float) -> Any:
    """What Adam adds to weights of this slope. Its running means of slopes and of their squares are brought up to date."""
    mean, squares = means
    mean *= _KEEP
    mean += (1 - _KEEP) * slope
    squares *= _KEEP_SQUARES
    squares += (1 - _KEEP_SQUARES) * slope**2
    return -rate * mean / (np.sqrt(squares) + _TINY)
