"""The classifier as scikit-learn sees it: one pipeline of features and a multilayer perceptron, for training and notebooks.

The only module here that imports scikit-learn; the daemon never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer

from listener.classify import features
from listener.classify.linear import Linear
from listener.classify.network import Network
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses
from listener.types import LABELS, Reading


class Features(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Readings to the sparse matrix that the model sees; nothing in it is fitted."""

    def __init__(self, parameters: Parameters, senses: Senses) -> None:
        self.parameters = parameters
        self.senses = senses

    def fit(self, readings: Sequence[Reading], y: Any = None) -> Features:
        return self

    def transform(self, readings: Sequence[Reading]) -> Any:
        return features.matrix(readings, self.parameters, self.senses)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def rebuilt(wide: Linear, deep: Network, parameters: Parameters, senses: Senses) -> Pipeline:
    """A fitted pipeline whose `predict_proba(readings)` is what the classifier says.

    The sum of both parts is one multilayer perceptron: a linear function is the difference of two rectified units.
    """
    columns, classes = wide.weights.shape
    hashed = parameters.buckets + parameters.sense_buckets
    fewer = np.arange(columns)
    fewer = np.where(fewer < hashed, fewer >> parameters.fold_bits, fewer - hashed + (hashed >> parameters.fold_bits))
    unit, none = np.eye(classes, dtype=np.float32), np.zeros(classes, np.float32)
    model = MLPClassifier((len(deep.threshold) + 2 * classes,))
    model.classes_ = np.array(LABELS)
    model.coefs_ = [
        np.hstack([deep.inward[fewer], wide.weights, -wide.weights]),
        np.vstack([deep.outward, unit, -unit]),
    ]
    model.intercepts_ = [np.concatenate([deep.threshold, none, none]), deep.bias + wide.bias]
    model.n_layers_, model.n_outputs_, model.n_features_in_ = 3, classes, columns
    model.out_activation_ = "softmax"
    model._label_binarizer = LabelBinarizer().fit(model.classes_)
    model._label_binarizer.classes_ = model.classes_  # in our order, not the alphabet's
    return Pipeline([("features", Features(parameters, senses)), ("labels", model)])
