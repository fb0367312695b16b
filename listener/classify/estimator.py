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


def rebuilt(network: Network, parameters: Parameters, senses: Senses) -> Pipeline:
    """A fitted pipeline whose `predict_proba(readings)` is what the classifier says."""
    columns, hidden = network.inward.shape
    model = MLPClassifier((hidden,))
    model.classes_ = np.array(LABELS)
    model.coefs_ = [network.inward, network.outward]
    model.intercepts_ = [network.threshold, network.bias]
    model.n_layers_, model.n_outputs_, model.n_features_in_ = 3, len(LABELS), columns
    model.out_activation_ = "softmax"
    model._label_binarizer = LabelBinarizer().fit(model.classes_)
    model._label_binarizer.classes_ = model.classes_  # in our order, not the alphabet's
    return Pipeline([("features", Features(parameters, senses)), ("labels", model)])
