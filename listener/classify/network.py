"""One hidden layer of rectified units over sparse rows (a multilayer perceptron), in plain NumPy and scipy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from listener.classify.linear import DECIMALS, Singles
from listener.datafile import Arrays
from listener.types import Floats

_STEPS = 127  # a row of `inward` is kept as whole numbers up to this, times a scale of its own


@dataclass(frozen=True)
class Network:
    """logits = max(row @ inward + threshold, 0) @ outward + bias."""

    inward: Singles  # columns x hidden
    threshold: Singles  # hidden
    outward: Singles  # hidden x classes
    bias: Singles  # classes

    def logits(self, matrix: Any) -> Floats:
        """One row of logits a row of `features.matrix`; rounded, so that it has the same bits whatever rows are beside it."""
        made: Floats = self.hidden(matrix).astype(np.float64) @ self.outward.astype(np.float64) + self.bias
        return made.round(DECIMALS)

    def hidden(self, matrix: Any) -> Singles:
        made: Singles = np.maximum(matrix @ self.inward + self.threshold, 0)
        return made

    def scaled(self, scale: float) -> Self:
        """The same with all logits times this."""
        return replace(
            self, outward=(self.outward * scale).astype(np.float32), bias=(self.bias * scale).astype(np.float32)
        )

    def packed(self, prefix: str) -> Arrays:
        """As arrays to store: a byte a weight. `of` gives back a network that differs by what rounding costs."""
        scale = (np.abs(self.inward).max(axis=1) / _STEPS).astype("<f4")
        steps = self.inward / np.where(scale > 0, scale, 1)[:, None]
        return {
            f"{prefix}inward": np.rint(steps).astype("i1"),
            f"{prefix}scale": scale,
            f"{prefix}threshold": self.threshold.astype("<f4"),
            f"{prefix}outward": self.outward.astype("<f4"),
            f"{prefix}bias": self.bias.astype("<f4"),
        }

    @classmethod
    def of(cls, arrays: Arrays, prefix: str) -> Self:
        inward = arrays[f"{prefix}inward"].astype(np.float32) * arrays[f"{prefix}scale"][:, None]
        return cls(inward, *(arrays[prefix + name] for name in ("threshold", "outward", "bias")))


def shapes(prefix: str, columns: int, hidden: int, classes: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The one shape and type each of the packed arrays may have."""
    byte, single = np.dtype("i1"), np.dtype("<f4")
    return {
        f"{prefix}inward": ((columns, hidden), byte),
        f"{prefix}scale": ((columns,), single),
        f"{prefix}threshold": ((hidden,), single),
        f"{prefix}outward": ((hidden, classes), single),
        f"{prefix}bias": ((classes,), single),
    }
