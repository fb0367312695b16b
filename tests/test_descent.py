"""The network is fitted as scikit-learn would fit it: every weight has the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.neural_network import MLPClassifier

from listener.training.descent import Descent, Pace


@pytest.mark.parametrize("batch", [70, 300])
def test_every_weight_is_that_of_scikit_learn(batch: int) -> None:
    random = np.random.default_rng(1)
    posts, columns, hidden, classes = 300, 2500, 7, 4
    matrix = sparse.random_array((posts, columns), density=0.01, format="csr", dtype=np.float32, rng=random)
    wanted, weight = random.integers(0, classes, posts), np.repeat([1.0, 0.6], posts // 2)
    theirs = MLPClassifier((hidden,), alpha=3e-3, batch_size=batch, learning_rate_init=4e-3, random_state=5)
    ours = Descent(columns, hidden, classes, seed=5, pace=Pace(4e-3, 3e-3, batch))
    for _ in range(6):
        theirs.partial_fit(matrix, wanted, classes=np.arange(classes), sample_weight=weight)
        ours.pass_over(matrix, wanted, weight)
    made = ours.network()
    assert [part.dtype for part in (made.inward, made.threshold, made.outward, made.bias)] == [np.float32] * 4
    for own, other in zip((made.inward, made.outward), theirs.coefs_, strict=True):
        assert np.array_equal(own, other)
    for own, other in zip((made.threshold, made.bias), theirs.intercepts_, strict=True):
        assert np.array_equal(own, other)
