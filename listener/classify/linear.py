"""One linear function a class over sparse rows, in plain NumPy and scipy: what a linear support vector machine comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from listener.datafile import Arrays
from listener.types import Floats

Singles = NDArray[np.float32]
DECIMALS = 6  # of logits: ten million times what the order of a sum changes
_STEPS = 127  # a column's weights are kept as whole numbers up to this, times a scale of its own
_UNIT = 1024  # scales are stored so many times as large: half-precision numbers are coarse near zero


@dataclass(frozen=True)
class Linear:
    """logits = row @ weights + bias."""

    weights: Singles  # columns x classes
    bias: Singles  # classes

    def logits(self, matrix: Any) -> Floats:
        """One row of logits a row of `features.matrix`; rounded, so that it has the same bits whatever rows are beside it."""
        made: Floats = (matrix @ self.weights).astype(np.float64) + self.bias
        return made.round(DECIMALS)

    def scaled(self, scale: float, shift: Floats | float = 0.0) -> Self:
        """The same with all logits times `scale`, and `shift` added to those of each class."""
        return replace(
            self, weights=(self.weights * scale).astype(np.float32), bias=(self.bias * scale + shift).astype(np.float32)
        )

    def packed(self, prefix: str) -> Arrays:
        """As arrays to store: a byte a weight. `of` gives back a function that differs by what rounding costs."""
        scale = (np.abs(self.weights).max(axis=1) * (_UNIT / _STEPS)).astype("<f2")
        steps = self.weights / np.where(scale > 0, scale.astype(np.float32) / _UNIT, 1)[:, None]
        return {
            f"{prefix}weights": np.rint(steps).clip(-_STEPS, _STEPS).astype("i1"),
            f"{prefix}scale": scale,
            f"{prefix}bias": self.bias.astype("<f4"),
        }

    @classmethod
    def of(cls, arrays: Arrays, prefix: str) -> Self:
        scale = arrays[f"{prefix}scale"].astype(np.float32) / np.float32(_UNIT)
        return cls(arrays[f"{prefix}weights"].astype(np.float32) * scale[:, None], arrays[f"{prefix}bias"])


def shapes(prefix: str, columns: int, classes: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The one shape and type each of the packed arrays may have."""
    return {
        f"{prefix}weights": ((columns, classes), np.dtype("i1")),
        f"{prefix}scale": ((columns,), np.dtype("<f2")),
        f"{prefix}bias": ((classes,), np.dtype("<f4")),
    }


def softmax(logits: Floats) -> Floats:
    odds: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    return odds
