"""What choosing is worth: F1 of chatter against the number of labels, for ways of choosing, on labelled posts held out.

The labels of the pool are hidden and asked for a few at a time, as an analyst would give them. Rows are plain, for a notebook:

    rows = curve(material(), seeds=QUICK.seeds, sizes=QUICK.sizes)
    summary(rows)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from listener import catalog as catalogs
from listener.classify import features
from listener.classify.classifier import Classifier
from listener.labelling.candidates import phrases_say
from listener.labelling.learner import fit
from listener.labelling.select import Pool, choose
from listener.text.language import Identifier
from listener.text.phrases import matcher_of
from listener.training import dataset
from listener.types import LABELS, Floats

HELD_OUT = 0.25  # of the groups of near-duplicates
_CHATTER = 4
_TOLD = 1.0  # scale of what the matches tell; higher than in the model, because a few labels teach little about words

Chooser = Callable[[Pool, Any, int, np.random.Generator], Sequence[int]]  # pool, its features, how many, chance


class Row(TypedDict):
    """One point of one curve."""

    strategy: str
    seed: int
    labels: int
    f1: float  # of chatter, on the posts held out
    f1_languages: float  # the mean over languages
    label_f1: float  # the mean over the nine labels


@dataclass(frozen=True)
class Setting:
    """How long a run takes: every n-th labelled post, how many repetitions, and after how many labels F1 is measured."""

    every: int
    seeds: tuple[int, ...]
    sizes: tuple[int, ...]


QUICK = Setting(8, (0, 1), (30, 60, 90, 120, 180, 240, 320, 400))  # under 20 seconds, for a notebook
LONG = Setting(1, tuple(range(5)), (30, 60, 90, 120, 150, 200, 250, 300, 400, 500, 650, 800, 1000, 1250, 1600))


@dataclass(frozen=True)
class Material:
    """Labelled posts with their features, read once for all curves."""

    matrix: Any  # sparse, (posts, features)
    target: NDArray[np.intp]
    groups: NDArray[np.intp]
    opinion: NDArray[np.bool_]
    languages: NDArray[Any]
    services: NDArray[Any]


def _chosen(strategy: str, audit: float, pool: Pool, matrix: Any, count: int, random: np.random.Generator) -> list[int]:
    return [i for i, _ in choose(pool, count, random, strategy=strategy, audit=audit)]


CHOOSERS: Mapping[str, Chooser] = {
    "random": partial(_chosen, "random", 1.0),
    "margin": partial(_chosen, "margin", 0.2),  # what `listener label` does by default
}


def material(every: int = 1, data: Path | None = None, model: Path | None = None) -> Material:
    """Read every n-th post of `data` (default: data/labelled) as the classifier would.

    The identifier is the one of `model` (default: models/current) and has seen these posts: it serves all choosers alike.
    """
    catalog = catalogs.load()
    rows = dataset.load(data or catalog.root / "labelled")[::every]
    folder = model or catalogs.default_root().parent / "models" / "current"
    classifier = Classifier.load(folder)
    parameters = replace(classifier.model.parameters, told_scale=_TOLD)
    texts, ids = [row.row.text for row in rows], [row.row.id for row in rows]
    readings = dataset.read(texts, ids, matcher_of(catalog), Identifier.load(folder))
    named = [[m.name for m in reading.matches if m.kind == "service"] for reading in readings]
    return Material(
        matrix=features.matrix(readings, parameters, classifier.senses),
        target=np.array([LABELS.index(row.row.label) for row in rows], np.intp),
        groups=np.array(dataset.groups(rows), np.intp),
        opinion=np.array([phrases_say(reading.matches) for reading in readings], np.bool_),
        languages=np.array([row.language for row in rows]),
        services=np.array([names[0] if names else "" for names in named]),
    )


def curve(
    posts: Material,
    choosers: Mapping[str, Chooser] = CHOOSERS,
    *,
    seeds: Sequence[int] = QUICK.seeds,
    sizes: Sequence[int] = QUICK.sizes,
    workers: int = 2,
) -> list[Row]:
    """A row for each chooser, seed and size. All choosers of a seed begin with the same labels and meet the same posts held out.

    `sizes` are numbers of labels, ascending; the first ones are drawn by lot. Each worker is a process with one thread.
    """
    runs = [(name, chooser, seed) for name, chooser in choosers.items() for seed in seeds]
    made = Parallel(n_jobs=workers)(delayed(_one)(posts, *run, sizes) for run in runs)
    return [row for rows in made for row in rows]


def _one(posts: Material, name: str, chooser: Chooser, seed: int, sizes: Sequence[int]) -> list[Row]:
    random = np.random.default_rng(seed)
    groups = random.permutation(np.unique(posts.groups))
    held = np.isin(posts.groups, groups[: round(HELD_OUT * len(groups))])
    test = np.flatnonzero(held)
    _, first = np.unique(posts.groups[~held], return_index=True)  # copies are asked once
    left = random.permutation(np.flatnonzero(~held)[first])
    known, left = left[: sizes[0]], left[sizes[0] :]
    made = []
    for size, after in zip(sizes, [*sizes[1:], 0], strict=True):
        learnt = fit(posts.matrix[known], posts.target[known])
        made.append(_measured(posts, test, learnt.probabilities(posts.matrix[test]), name, seed, size))
        if after:
            matrix = posts.matrix[left]
            pool = Pool(
                learnt.probabilities(matrix),
                posts.opinion[left],
                posts.languages[left].tolist(),
                posts.services[left].tolist(),
            )
            picked = np.array(chooser(pool, matrix, after - size, random), np.intp)
            known, left = np.concatenate([known, left[picked]]), np.delete(left, picked)
    return made


def _measured(posts: Material, test: NDArray[np.intp], odds: Floats, name: str, seed: int, size: int) -> Row:
    truth, languages = posts.target[test], posts.languages[test]
    said, true = odds[:, :_CHATTER].sum(axis=1) >= 0.5, truth < _CHATTER
    best = odds.argmax(axis=1)
    return Row(
        strategy=name,
        seed=seed,
        labels=size,
        f1=_f1(true, said),
        f1_languages=float(
            np.mean([_f1(true[languages == one], said[languages == one]) for one in np.unique(languages)])
        ),
        label_f1=float(np.mean([_f1(truth == n, best == n) for n in range(len(LABELS))])),
    )


def _f1(true: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    return float(2 * (true & said).sum() / max(1, true.sum() + said.sum()))


def summary(rows: Sequence[Row], against: str = "random") -> list[dict[str, Any]]:
    """By strategy: `area` under the mean F1 curve (1 = perfect from the first label on), its spread over seeds, and savings.

    `better` is by how much the area beats that of `against` in the mean over seeds, `worst` in the worst seed. `saving` is the
    share of labels spared: how many fewer it takes to reach what `against` reaches with all its labels.
    """
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    seeds = sorted({row["seed"] for row in rows})
    areas = {
        (s, seed): _area([r for r in rows if (r["strategy"], r["seed"]) == (s, seed)])
        for s in strategies
        for seed in seeds
    }
    means = {strategy: mean_curve(rows, strategy) for strategy in strategies}
    made = []
    for strategy in strategies:
        gains = [areas[strategy, seed] - areas[against, seed] for seed in seeds]
        last, goal = means[against][-1]
        needed = labels_needed(means[strategy], goal)
        made.append(
            {
                "strategy": strategy,
                "area": round(float(np.mean([areas[strategy, seed] for seed in seeds])), 4),
                "better": round(float(np.mean(gains)), 4),
                "worst": round(min(gains), 4),
                "f1": round(means[strategy][-1][1], 4),
                "needed": None if needed is None else round(needed),
                "saving": None if needed is None else round(1 - needed / last, 3),
            }
        )
    return made


def mean_curve(rows: Sequence[Row], strategy: str) -> list[tuple[int, float]]:
    """(labels, mean F1 over seeds) of a strategy, ascending."""
    sizes = sorted({row["labels"] for row in rows})
    return [
        (size, float(np.mean([r["f1"] for r in rows if r["strategy"] == strategy and r["labels"] == size])))
        for size in sizes
    ]


def labels_needed(points: Sequence[tuple[int, float]], goal: float) -> float | None:
    """After how many labels a curve reaches `goal` to stay there, between two points on a straight line; None when it never does.

    >>> labels_needed([(100, 0.5), (200, 0.7), (300, 0.8)], 0.6)
    150.0
    """
    below = [n for n, (_, f1) in enumerate(points) if f1 < goal]
    if not below:
        return float(points[0][0])
    if below[-1] == len(points) - 1:
        return None
    (low, worse), (high, better) = points[below[-1]], points[below[-1] + 1]
    return low + (high - low) * (goal - worse) / (better - worse)


def _area(rows: Sequence[Row]) -> float:
    points = sorted((row["labels"], row["f1"]) for row in rows)
    labels, f1 = np.array(points).T
    return float(np.trapezoid(f1, labels) / (labels[-1] - labels[0]))
