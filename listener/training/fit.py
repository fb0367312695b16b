"""Fits the two linear heads: labels, with strength and class weights chosen by cross-validation and calibrated; symptoms."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from listener.training.figures import macro_f1
from listener.types import CHATTER, LABELS, Floats

STRENGTHS = (4.0,)  # scikit-learn's C
BALANCES = (0.0, 0.3)  # 0 = a post is a post; 1 = every label weighs the same
ALTERED = 0.25  # weight of an altered copy beside the post it was made from
_ROUNDS = 25  # passes over the posts: more of them fit the training posts better and others worse
_STIFF = 1e-3  # pulls the calibration's shifts towards none

Numbers = NDArray[np.intp]
Weights = tuple[Floats, Floats]  # columns x classes, classes


@contextmanager
def stopping_early() -> Iterator[None]:
    """Stopping before convergence is meant: see `_ROUNDS`. Around threads, never inside: warning filters are shared."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@dataclass(frozen=True)
class Head:
    """A calibrated linear model, and what models like it say of posts they did not see."""

    weights: Floats
    intercept: Floats
    unseen: Floats  # probabilities, a row a post; calibrated without the post's own fold
    folds: list[Weights]  # the uncalibrated models of the folds
    chosen: dict[str, float]
    scale: float
    shift: list[float]


def fit_labels(
    plain: Any, altered: Any, target: Numbers, folds: Numbers, seed: int, workers: int, progress: Callable[[str], None]
) -> Head:
    """Choose strength and class weights by the unseen posts, then fit on everything."""
    best: tuple[float, Head] | None = None
    for strength, balance in product(STRENGTHS, BALANCES):
        made = _cross_fitted(plain, altered, target, folds, len(LABELS), (strength, balance, seed), workers)
        logits = _unseen_logits(plain, folds, made)
        unseen = _calibrated_across(logits, target, folds)
        worth = -_loss(unseen, target) - _chatter_loss(unseen, target)
        progress(
            f"strength {strength:g}, balance {balance:g}: {macro_f1(target, unseen.argmax(1), len(LABELS))[0]:.3f}"
        )
        if best is None or worth > best[0]:
            scale, shift = calibrate(logits, target)
            chosen = {"strength": strength, "balance": balance}
            best = worth, Head(np.zeros(0), np.zeros(0), unseen, made, chosen, scale, shift.tolist())
    assert best is not None
    head = best[1]
    everything = np.arange(len(target))
    weights, intercept = _linear(
        plain, altered, target, everything, len(LABELS), (head.chosen["strength"], head.chosen["balance"], seed)
    )
    shift = np.array(head.shift)
    return Head(
        weights * head.scale,
        intercept * head.scale + shift,
        head.unseen,
        head.folds,
        head.chosen,
        head.scale,
        head.shift,
    )


def fit_symptoms(
    plain: Any, altered: Any, target: Numbers, classes: int, folds: Numbers, seed: int, workers: int
) -> Head:
    """The head that names the symptom of chatter; class 0 is "does not say". Rare symptoms weigh as much as common ones."""
    options = (10.0, 1.0, seed)
    made = _cross_fitted(plain, altered, target, folds, classes, options, workers)
    logits = _unseen_logits(plain, folds, made)
    weights, intercept = _linear(plain, altered, target, np.arange(len(target)), classes, options)
    return Head(weights, intercept, softmax(logits), made, {}, 1.0, [0.0] * classes)


def unseen_probabilities(matrix: Any, folds: Numbers, head: Head) -> Floats:
    """What the models of the folds say of another view of the same posts."""
    return softmax(_unseen_logits(matrix, folds, head.folds) * head.scale + np.array(head.shift))


def softmax(logits: Floats) -> Floats:
    odds: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    return odds


def calibrate(logits: Floats, target: Numbers) -> tuple[float, Floats]:
    """A factor for all logits and a shift for each class that make them fit posts not seen (Platt's way, many classes)."""
    from scipy.optimize import minimize

    classes = logits.shape[1]
    wanted = np.eye(classes)[target]

    def loss(values: Floats) -> tuple[float, Floats]:
        shift = values[1:]
        odds = softmax(logits * values[0] + shift)
        missed = (odds - wanted) / len(target)
        slope = np.concatenate([[(missed * logits).sum()], missed.sum(axis=0) + 2 * _STIFF * shift])
        return _loss(odds, target) + _STIFF * float(shift @ shift), slope

    found = minimize(loss, np.concatenate([[1.0], np.zeros(classes)]), jac=True, method="L-BFGS-B").x
    return float(found[0]), found[1:]


def _calibrated_across(logits: Floats, target: Numbers, folds: Numbers) -> Floats:
    made = np.zeros_like(logits)
    for fold in range(int(folds.max()) + 1):
        here = folds == fold
        scale, shift = calibrate(logits[~here], target[~here])
        made[here] = softmax(logits[here] * scale + shift)
    return made


def _loss(odds: Floats, target: Numbers) -> float:
    return float(-np.log(np.maximum(odds[np.arange(len(target)), target], 1e-12)).mean())


def _chatter_loss(odds: Floats, target: Numbers) -> float:
    inside = np.array([label in CHATTER for label in LABELS])
    chatter = np.clip(odds[:, inside].sum(axis=1), 1e-9, 1 - 1e-9)
    return float(-np.where(inside[target], np.log(chatter), np.log(1 - chatter)).mean())


def _cross_fitted(
    plain: Any,
    altered: Any,
    target: Numbers,
    folds: Numbers,
    classes: int,
    options: tuple[float, float, int],
    workers: int,
) -> list[Weights]:
    made: Sequence[Weights] = Parallel(n_jobs=workers, prefer="threads")(
        delayed(_linear)(plain, altered, target, np.flatnonzero(folds != fold), classes, options)
        for fold in range(int(folds.max()) + 1)
    )
    return list(made)


def _unseen_logits(matrix: Any, folds: Numbers, models: Sequence[Weights]) -> Floats:
    made = np.zeros((matrix.shape[0], len(models[0][1])))
    for fold, (weights, intercept) in enumerate(models):
        here = np.flatnonzero(folds == fold)
        made[here] = matrix[here] @ weights + intercept
    return made


def _linear(
    plain: Any, altered: Any, target: Numbers, rows: Numbers, classes: int, options: tuple[float, float, int]
) -> Weights:
    """Multinomial logistic regression on some rows and their altered copies. A class that is not there stays unlikely."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    strength, balance, seed = options
    matrix, wanted, weight = plain[rows], target[rows], np.ones(len(rows))
    count = np.maximum(np.bincount(wanted, minlength=classes), 1)
    if altered is not None:
        matrix = sparse.vstack([matrix, altered[rows]], format="csr")
        wanted, weight = np.tile(wanted, 2), np.concatenate([weight, np.full(len(rows), ALTERED)])
    weight = weight * ((count.mean() / count) ** balance)[wanted]
    made = np.zeros((matrix.shape[1], classes)), np.full(classes, -10.0)
    if len(np.unique(wanted)) < 2:
        return made
    model = LogisticRegression(C=strength, solver="saga", max_iter=_ROUNDS, tol=1e-3, random_state=seed)
    model.fit(matrix.astype(np.float32), wanted, sample_weight=weight)
    if len(model.classes_) == 2:
        made[0][:, model.classes_[1]], made[1][model.classes_] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        made[0][:, model.classes_], made[1][model.classes_] = model.coef_.T, model.intercept_
    return made
