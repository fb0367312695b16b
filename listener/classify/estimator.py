"""The classifier as scikit-learn sees it: one pipeline of features and a logistic regression, for training and notebooks.

The only module here that imports scikit-learn; the daemon never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from listener.classify import features
from listener.classify.ngrams import Parameters
from listener.types import LABELS, Reading

if TYPE_CHECKING:
    from listener.classify.classifier import Linear


class Hashed(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Hashed n-grams of the masked skeleton."""

    def __init__(self, parameters: Parameters = Parameters()) -> None:  # noqa: B008  frozen
        self.parameters = parameters

    def fit(self, readings: Sequence[Reading], y: Any = None) -> Hashed:
        return self

    def transform(self, readings: Sequence[Reading]) -> Any:
        return features.hashed_matrix(readings, self.parameters)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Told(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What matches and shape tell."""

    def __init__(self, parameters: Parameters = Parameters()) -> None:  # noqa: B008  frozen
        self.parameters = parameters

    def fit(self, readings: Sequence[Reading], y: Any = None) -> Told:
        return self

    def transform(self, readings: Sequence[Reading]) -> Any:
        return features.told_matrix(readings, self.parameters)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def union(parameters: Parameters) -> FeatureUnion:
    """Readings to a sparse matrix; nothing in it is fitted."""
    return FeatureUnion([("hashed", Hashed(parameters)), ("told", Told(parameters))])


def rebuilt(linear: Linear) -> Pipeline:
    """A fitted pipeline whose `predict_proba(readings)` is what the classifier says."""
    model = LogisticRegression()
    model.classes_ = np.array(LABELS)
    model.coef_ = np.concatenate([linear.hashed[:-1], linear.named]).T.astype(np.float64)
    model.intercept_ = linear.intercept.astype(np.float64)
    model.n_features_in_ = model.coef_.shape[1]
    return Pipeline([("features", union(linear.parameters)), ("labels", model)])
