"""Fits the models of labels and symptoms: cross-fitted to know what they say of unseen posts, then calibrated by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from listener.classify import gate
from listener.classify.gate import Gate
from listener.classify.linear import Linear, softmax
from listener.classify.network import Network
from listener.classify.ngrams import Parameters
from listener.types import Floats

GATE_LOSS = 0.02  # of chatter, that the gate may keep from being judged
_GATE_STRENGTH = 0.5  # scikit-learn's C
ALTERED = 0.6  # weight of an altered copy beside the post it was made from
_RARE = 3  # a column in fewer training posts than this is left out; of few posts, in fewer than two
_STRENGTH = 0.3  # scikit-learn's C
_NEAR_ENOUGH, _ROUNDS = 0.02, 15  # its tol and max_iter: sixty rounds take three times as long for the same answers
_NEVER = -30.0  # logits of a class that no post had
_RARE_FOLDED = 5  # the same for the network, however few the posts
_PASSES = 3  # of the network over the posts; more of them fit these posts better and others worse
_BATCH = 1024  # smaller ones are slower, and better only where posts are few
_STEPS = 60  # at least so many, when posts are few
_DROPPED = 0.3  # of what is seen of a post, the share hidden in each pass, so that no one word decides
_RATE = 4e-3  # Adam's learning rate
_DECAY = 3e-3  # scikit-learn's alpha
_MIX = np.array(
    [1.5, 1.0]
)  # linear part, network: our own posts would have it 6 to 1, those of others 1 to 1 (decision 4)
_STIFF = 1e-3  # pulls the calibration's shifts towards none

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Options:
    """Of one head. `balance`: 0 = a post is a post; 1 = every class weighs the same. `hidden`: none without a network.

    Without `calibrated` its probabilities only say which class is the likeliest: calibrating favours frequent classes.
    """

    classes: int
    balance: float
    seed: int
    hidden: int = 0
    strength: float = _STRENGTH
    calibrated: bool = True


@dataclass(frozen=True)
class Views:
    """The same posts for each part of a head: all columns for the linear one, folded ones for the network."""

    wide: Any
    folded: Any

    def at(self, rows: Numbers) -> Views:
        return Views(self.wide[rows], self.folded[rows])


@dataclass(frozen=True)
class Parts:
    """A linear function of all columns, and perhaps a network over folded ones; their logits add up."""

    wide: Linear
    deep: Network | None

    def logits(self, views: Views) -> Floats:
        """Of each part: parts x posts x classes."""
        made = [self.wide.logits(views.wide)]
        if self.deep is not None:
            made.append(self.deep.logits(views.folded))
        return np.stack(made)

    def scaled(self, scales: Floats, shift: Floats) -> Parts:
        """The same, calibrated; the linear part carries the shift."""
        wide = self.wide.scaled(float(scales[0]), shift)
        return Parts(wide, None if self.deep is None else self.deep.scaled(float(scales[1])))

    def probabilities(self, views: Views) -> Floats:
        """What calibrated parts say together."""
        return softmax(self.logits(views).sum(axis=0))


@dataclass(frozen=True)
class Head:
    """Calibrated parts, and what parts like them say of posts they did not see."""

    parts: Parts
    unseen: Floats  # probabilities, a row a post; calibrated without the post's own fold
    folds: list[Parts]  # uncalibrated
    scales: Floats
    shift: Floats


def fit_head(plain: Views, altered: Views, target: Numbers, folds: Numbers, options: Options, workers: int) -> Head:
    """`plain` and `altered` are two ways to type the same posts."""
    chosen = [np.flatnonzero(folds != fold) for fold in range(int(folds.max()) + 1)] + [np.arange(len(target))]
    made = fit_all(plain, altered, target, chosen, options, workers)
    logits = unseen_logits(plain, folds, made)
    if not options.calibrated:
        even, none = np.ones(len(logits)), np.zeros(options.classes)
        return Head(made[-1], softmax(_summed(logits, even)), made[:-1], even, none)
    scales, shift = calibrate(logits, target)
    unseen = _calibrated_across(logits, target, folds)
    return Head(made[-1].scaled(scales, shift), unseen, made[:-1], scales, shift)


def fit_all(
    plain: Views, altered: Views, target: Numbers, chosen: Sequence[Numbers], options: Options, workers: int
) -> list[Parts]:
    """Parts fitted on each choice of rows."""
    kinds = (fit_linear, fit_network) if options.hidden else (fit_linear,)
    made = Parallel(n_jobs=workers)(
        delayed(fit)(plain, altered, target, rows, options) for fit in kinds for rows in chosen
    )
    wide, deep = made[: len(chosen)], made[len(chosen) :] or [None] * len(chosen)
    return [Parts(*both) for both in zip(wide, deep, strict=True)]


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


def unseen_probabilities(views: Views, folds: Numbers, head: Head) -> Floats:
    """What the models of the folds say of another view of the same posts."""
    return softmax(_summed(unseen_logits(views, folds, head.folds), head.scales) + head.shift)


def calibrate(logits: Floats, target: Numbers) -> tuple[Floats, Floats]:
    """Factors for the logits of each part and a shift for each class that make their sum fit posts not seen.

    `logits` are parts x posts x classes; what one part weighs beside the other is `_MIX`. Platt's way, many classes.
    """
    from scipy.optimize import minimize

    mix = _MIX[: len(logits)]
    mixed = _summed(logits, mix)
    wanted = np.eye(mixed.shape[1])[target]

    def loss(values: Floats) -> tuple[float, Floats]:
        shift = values[1:]
        odds = softmax(mixed * values[0] + shift)
        missed = (odds - wanted) / len(target)
        slope = np.concatenate([[(missed * mixed).sum()], missed.sum(axis=0) + 2 * _STIFF * shift])
        return _loss(odds, target) + _STIFF * float(shift @ shift), slope

    found = minimize(loss, np.concatenate([[0.5], np.zeros(mixed.shape[1])]), jac=True, method="L-BFGS-B").x
    return found[0] * mix, found[1:]


def _summed(logits: Floats, scales: Floats) -> Floats:
    made: Floats = np.tensordot(scales, logits, axes=1)
    return made


def _calibrated_across(logits: Floats, target: Numbers, folds: Numbers) -> Floats:
    made = np.zeros(logits.shape[1:])
    for fold in range(int(folds.max()) + 1):
        here = folds == fold
        scales, shift = calibrate(logits[:, ~here], target[~here])
        made[here] = softmax(_summed(logits[:, here], scales) + shift)
    return made


def _loss(odds: Floats, target: Numbers) -> float:
    return float(-np.log(np.maximum(odds[np.arange(len(target)), target], 1e-12)).mean())


def unseen_logits(views: Views, folds: Numbers, made: Sequence[Parts]) -> Floats:
    """What the parts of each fold say of the posts, or another view of them, that they did not see: parts x posts x classes."""
    logits = np.zeros((1 if made[0].deep is None else 2, len(folds), len(made[0].wide.bias)))
    for fold in range(int(folds.max()) + 1):
        here = np.flatnonzero(folds == fold)
        if len(here):
            logits[:, here] = made[fold].logits(views.at(here))
    return logits


def fit_linear(plain: Views, altered: Views, target: Numbers, rows: Numbers, options: Options) -> Linear:
    """A linear support vector machine, one class against the rest, on some rows and their altered copies."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    rare = min(_RARE, 2 + len(rows) // 1000)  # what one post has is no rule, and half of all columns
    seen, matrix, wanted, weight = _lesson(plain.wide, altered.wide, target, rows, options, rare)
    model = LinearSVC(C=options.strength, tol=_NEAR_ENOUGH, max_iter=_ROUNDS, random_state=options.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # further rounds change nothing that is measured
        model.fit(matrix.astype(np.float64), wanted, sample_weight=weight)
    return _over_all(model, seen, plain.wide.shape[1], options.classes)


def fit_network(plain: Views, altered: Views, target: Numbers, rows: Numbers, options: Options) -> Network:
    """A multilayer perceptron on some rows and their altered copies, part of what it sees hidden in every pass."""
    from sklearn.neural_network import MLPClassifier

    seen, matrix, wanted, weight = _lesson(plain.folded, altered.folded, target, rows, options, _RARE_FOLDED)
    batch = min(_BATCH, len(wanted))
    network = MLPClassifier(
        (options.hidden,), alpha=_DECAY, batch_size=batch, learning_rate_init=_RATE, random_state=options.seed
    )
    random = np.random.default_rng(options.seed)
    for _ in range(max(_PASSES, -(-_STEPS * batch // len(wanted)))):
        part = matrix.copy()
        part.data *= (random.random(len(part.data), np.float32) >= _DROPPED) / np.float32(1 - _DROPPED)
        network.partial_fit(part, wanted, classes=np.arange(options.classes), sample_weight=weight)
    (inward_seen, outward), (threshold, bias) = network.coefs_, network.intercepts_
    inward = np.zeros((plain.folded.shape[1], options.hidden), np.float32)
    inward[seen] = inward_seen
    return Network(inward, threshold, outward, bias)


def _lesson(
    plain: Any, altered: Any, target: Numbers, rows: Numbers, options: Options, rare: int
) -> tuple[Numbers, Any, Numbers, Floats]:
    """Columns that are not too rare, the rows and their altered copies in these, what they are, and how much each weighs."""
    from scipy import sparse

    seen = np.flatnonzero(np.bincount(plain[rows].indices, minlength=plain.shape[1]) >= rare)
    matrix = sparse.vstack([plain[rows][:, seen], altered[rows][:, seen]], format="csr")
    wanted = np.tile(target[rows], 2)
    count = np.maximum(np.bincount(target[rows], minlength=options.classes), 1)
    return (
        seen,
        matrix,
        wanted,
        np.repeat([1.0, ALTERED], len(rows)) * ((count.mean() / count) ** options.balance)[wanted],
    )


def _over_all(model: Any, seen: Numbers, columns: int, classes: int) -> Linear:
    """Weights for every column and class; a class that no post had is never said."""
    weights, bias = np.zeros((columns, classes), np.float32), np.full(classes, _NEVER, np.float32)
    coefficients, intercepts = model.coef_.T, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one function for two classes
        coefficients = np.hstack([-coefficients, coefficients])
        intercepts = np.array([-intercepts[0], intercepts[0]])
    weights[np.ix_(seen, model.classes_)] = coefficients
    bias[model.classes_] = intercepts
    return Linear(weights, bias)
