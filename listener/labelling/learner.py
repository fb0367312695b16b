"""A quick learner for curves: nine-label logistic regression on few posts, solved in the space of the posts themselves.

With fewer posts than features (a few hundred against a hundred thousand) the weights are sums of posts. So the fit runs on the
Cholesky factor of the posts' inner products, which takes a fraction of a second, and the answer is the same. It stands in for the
network that `listener train` fits, which would take a minute a point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.types import LABELS, Floats

_DECAY = 0.05  # of the squared weights, beside the log loss summed over posts
_JITTER = 1e-6  # keeps the inner products of equal posts invertible


@dataclass(frozen=True)
class Linear:
    """Weights (features, 9) and a bias (9)."""

    weights: Floats
    bias: Floats

    def probabilities(self, matrix: Any) -> Floats:
        """(posts, 9) of a sparse matrix (posts, features)."""
        return _softmax(matrix @ self.weights + self.bias)


def fit(matrix: Any, target: NDArray[np.intp]) -> Linear:
    """Learn the numbers of labels in `target` from the rows of a sparse matrix."""
    from scipy.optimize import minimize

    posts, classes = len(target), len(LABELS)
    inner = np.asarray((matrix @ matrix.T).todense(), dtype=np.float64) + 1.0  # the 1 is the bias
    factor = np.linalg.cholesky(inner + _JITTER * np.eye(posts))
    wanted = np.eye(classes)[target]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(posts, classes)
        odds = _softmax(factor @ weights)
        missed = -np.log(np.maximum(odds[np.arange(posts), target], 1e-12)).sum()
        slope = factor.T @ (odds - wanted) + _DECAY * weights
        return float(missed + 0.5 * _DECAY * (weights * weights).sum()), slope.ravel()

    options = {"maxiter": 200, "ftol": 1e-4}
    found = minimize(loss, np.zeros(posts * classes), jac=True, method="L-BFGS-B", options=options)
    share = np.linalg.solve(factor.T, found.x.reshape(posts, classes))  # of each post in the weights
    return Linear(matrix.T @ share, share.sum(axis=0))


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    made: Floats = raised / raised.sum(axis=1, keepdims=True)
    return made
