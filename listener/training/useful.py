"""Which words, meanings and findings help most to tell chatter from the rest, language by language, on posts not seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

import numpy as np
from joblib import Parallel, delayed

from listener.classify import explain, features
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses
from listener.training.fit import Head, Parts
from listener.training.scores import Material
from listener.types import CHATTER, LABELS, Reading

POSTS = 150  # a language: enough that the list hardly changes with the draw
FEWEST = 3  # posts that must have a feature; what one person wrote once is no one's business
NAMED = 10
_FINDINGS = frozenset(features.TOLD)
_CHATTER = np.array([label in CHATTER for label in LABELS])

Pushes = list[list[tuple[str, float]]]


def useful(
    material: Material, head: Head, parameters: Parameters, senses: Senses, seed: int, workers: int
) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """For each language the words and meanings that speak for chatter, and against, and the findings; the strongest first.

    A feature's help is how far it moved the odds the right way (or, negative, the wrong one), in logits, mean of the posts
    drawn; half of those are chatter. Every post is explained by a model that did not see it.
    """
    drawn = _drawn(material, seed)
    parts = [[i for i in drawn if material.folds[i] == fold] for fold in range(len(head.folds))]
    found = Parallel(n_jobs=workers)(
        delayed(_pushes)([material.readings[i] for i in part], parts_of, parameters, senses)
        for part, parts_of in zip(parts, head.folds, strict=True)
    )
    by_language: dict[str, list[tuple[bool, list[tuple[str, float]]]]] = defaultdict(list)
    for part, pushes in zip(parts, found, strict=True):
        for i, pushed in zip(part, pushes, strict=True):
            by_language[material.rows[i].language].append((material.rows[i].chatter, pushed))
    return {code: _ranked(posts) for code, posts in sorted(by_language.items())}


def _drawn(material: Material, seed: int) -> list[int]:
    """In every language as many posts of chatter as of the rest, where there are enough."""
    kinds: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for i, row in enumerate(material.rows):
        kinds[row.language, row.chatter].append(i)
    random = Random(seed)  # noqa: S311  reproducible, not secret
    return sorted(i for _, at in sorted(kinds.items()) for i in random.sample(at, min(len(at), POSTS // 2)))


def _pushes(readings: Sequence[Reading], parts: Parts, parameters: Parameters, senses: Senses) -> Pushes:
    assert parts.deep is not None, "labels have both parts"
    return [explain.moved(reading, parts.wide, parts.deep, parameters, senses, _CHATTER) for reading in readings]


def _ranked(posts: Sequence[tuple[bool, list[tuple[str, float]]]]) -> dict[str, list[tuple[str, float]]]:
    moved: dict[str, float] = defaultdict(float)
    helped: dict[str, float] = defaultdict(float)
    seen: dict[str, int] = defaultdict(int)
    for chatter, pushed in posts:
        for name, push in pushed:
            moved[name] += push
            helped[name] += push if chatter else -push
            seen[name] += 1
    known = sorted(
        (name for name in seen if seen[name] >= FEWEST and helped[name] > 0), key=lambda name: (-helped[name], name)
    )
    told = [name for name in known if name not in _FINDINGS]

    def best(names: Sequence[str]) -> list[tuple[str, float]]:
        return [(name, round(helped[name] / len(posts), 3)) for name in names[:NAMED]]

    return {
        "for": best([name for name in told if moved[name] > 0]),
        "against": best([name for name in told if moved[name] < 0]),
        "findings": best([name for name in known if name in _FINDINGS]),
    }
