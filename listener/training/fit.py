"""Fits the networks of labels and symptoms: cross-fitted to know what they say of unseen posts, then calibrated by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from listener.classify import gate
from listener.classify.gate import Gate
from listener.classify.network import Network, softmax
from listener.classify.ngrams import Parameters
from listener.types import Floats

GATE_LOSS = 0.02  # of chatter, that the gate may keep from being judged
_GATE_STRENGTH = 0.5  # scikit-learn's C
ALTERED = 0.6  # weight of an altered copy beside the post it was made from
_RARE = 5  # a column in fewer training posts than this is left out
_DROPPED = 0.3  # of what is seen of a post, the share hidden in each pass, so that no one word decides
_STEPS = 60  # at least so many, when posts are few
_RATE = 4e-3  # Adam's learning rate
_DECAY = 3e-3  # scikit-learn's alpha
_STIFF = 1e-3  # pulls the calibration's shifts towards none

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Options:
    """Of one network. `balance`: 0 = a post is a post; 1 = every class weighs the same."""

    hidden: int
    classes: int
    balance: float
    seed: int
    passes: int = 3  # over the posts; more of them fit these posts better and others worse
    batch: int = 1024  # smaller ones are slower, and better only where posts are few


@dataclass(frozen=True)
class Head:
    """A calibrated network, and what networks like it say of posts they did not see."""

    network: Network
    unseen: Floats  # probabilities, a row a post; calibrated without the post's own fold
    folds: list[Network]  # uncalibrated
    scale: float
    shift: Floats


def fit_head(plain: Any, altered: Any, target: Numbers, folds: Numbers, options: Options, workers: int) -> Head:
    """`plain` and `altered` are two views of the same posts, rows of `features.matrix`."""
    parts = [np.flatnonzero(folds != fold) for fold in range(int(folds.max()) + 1)] + [np.arange(len(target))]
    made: list[Network] = Parallel(n_jobs=workers)(
        delayed(fit_network)(plain, altered, target, rows, options) for rows in parts
    )
    logits = _unseen_logits(plain, folds, made)
    scale, shift = calibrate(logits, target)
    final = made[-1]
    network = Network(
        final.inward,
        final.threshold,
        (final.outward * scale).astype(np.float32),
        (final.bias * scale + shift).astype(np.float32),
    )
    return Head(network, _calibrated_across(logits, target, folds), made[:-1], scale, shift)


def fit_gate(
    skeletons: Sequence[str],
    found: NDArray[np.bool_],
    chatter: NDArray[np.bool_],
    parameters: Parameters,
    folds: Numbers,
) -> tuple[Gate, NDArray[np.bool_]]:
    """Weights of words, and the floor that all but `GATE_LOSS` of chatter passes; which posts pass unseen."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    rows, columns = gate.cells(skeletons, parameters)
    shape = len(skeletons), 1 << gate.BITS
    matrix = sparse.coo_array((np.ones(len(rows), np.float32), (rows, columns)), shape).tocsr()

    def fitted(at: Numbers) -> Any:
        return LogisticRegression(C=_GATE_STRENGTH, max_iter=300).fit(matrix[at], chatter[at])

    sums = np.zeros(len(skeletons))
    for fold in range(int(folds.max()) + 1):
        here = np.flatnonzero(folds == fold)
        if len(here):
            sums[here] = matrix[here] @ fitted(np.flatnonzero(folds != fold)).coef_[0]
    hidden = np.sort(sums[chatter & ~found])
    lost = int(GATE_LOSS * chatter.sum())
    floor = float(hidden[min(lost, len(hidden) - 1)]) if len(hidden) else 0.0
    weights = fitted(np.arange(len(skeletons))).coef_[0]
    return Gate.of(weights, floor, parameters), found | (sums >= floor)


def unseen_probabilities(matrix: Any, folds: Numbers, head: Head) -> Floats:
    """What the networks of the folds say of another view of the same posts."""
    return softmax(_unseen_logits(matrix, folds, head.folds) * head.scale + head.shift)


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


def _unseen_logits(matrix: Any, folds: Numbers, networks: list[Network]) -> Floats:
    made = np.zeros((matrix.shape[0], len(networks[0].bias)))
    for fold, network in enumerate(networks):
        here = np.flatnonzero(folds == fold)
        if len(here):
            made[here] = network.logits(matrix[here])
    return made


def fit_network(plain: Any, altered: Any, target: Numbers, rows: Numbers, options: Options) -> Network:
    """A multilayer perceptron on some rows and their altered copies, part of what it sees hidden in every pass."""
    from scipy import sparse
    from sklearn.neural_network import MLPClassifier

    seen = np.flatnonzero(np.bincount(plain[rows].indices, minlength=plain.shape[1]) >= min(_RARE, len(rows) // 20))
    matrix = sparse.vstack([plain[rows][:, seen], altered[rows][:, seen]], format="csr")
    wanted = np.tile(target[rows], 2)
    count = np.maximum(np.bincount(target[rows], minlength=options.classes), 1)
    weight = np.repeat([1.0, ALTERED], len(rows)) * ((count.mean() / count) ** options.balance)[wanted]
    batch = min(options.batch, len(wanted))
    model = MLPClassifier(
        (options.hidden,), alpha=_DECAY, batch_size=batch, learning_rate_init=_RATE, random_state=options.seed
    )
    random = np.random.default_rng(options.seed)
    for _ in range(max(options.passes, -(-_STEPS * batch // len(wanted)))):
        part = matrix.copy()
        part.data *= (random.random(len(part.data), np.float32) >= _DROPPED) / np.float32(1 - _DROPPED)
        model.partial_fit(part, wanted, classes=np.arange(options.classes), sample_weight=weight)
    inward = np.zeros((plain.shape[1], options.hidden), np.float32)
    inward[seen] = model.coefs_[0]
    return Network(
        inward, *(part.astype(np.float32) for part in (model.intercepts_[0], model.coefs_[1], model.intercepts_[1]))
    )
