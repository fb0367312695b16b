"""Trains the model that the daemon loads: language identifier, gate, labels, symptoms, their calibration, scores and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from listener.catalog import Catalog
from listener.classify import features
from listener.classify.gate import is_found
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses
from listener.classify.service import services_of
from listener.datafile import digest_of
from listener.errors import InputError
from listener.regions.attribute import Attributor
from listener.text.normalize import skeleton
from listener.text.phrases import matcher_of
from listener.training import dataset, languages, words
from listener.training.augment import hurried, invented, other_alphabet
from listener.training.dataset import Labelled
from listener.training.fit import Numbers, Options, fit_gate, fit_head
from listener.training.golden import TEXTS
from listener.training.scores import (
    ALWAYS,
    VIEWS,
    Fits,
    Material,
    figures_of,
    left_out,
    services_left_out,
    symptom_target,
    unheard,
)
from listener.training.writing import Made, write
from listener.types import LABELS, SYMPTOMS, UNNAMED, Reading

FOLDS = 4
PARAMETERS = Parameters(sense_scale=1.5)
HIDDEN, SYMPTOM_HIDDEN = 40, 24
RARER, UNFOUND = 0.8, 2.0  # log odds: the shift from our posts to a stream, see models/README.md
_UNHEARD = 0.5  # of the altered copies name a service that no catalog has
SYMPTOM_FLOOR = 0.2  # the symptom of a post less likely to be chatter is not asked


def train(
    data: Path,
    out: Path,
    catalog: Catalog,
    *,
    seed: int = 0,
    thorough: bool = False,
    progress: Callable[[str], None] = lambda step: None,
    workers: int = 2,
) -> dict[str, Any]:
    """Train on `data`, write the model to `out`, return its scores on posts not trained on.

    The same data, catalog and seed give the same files. `thorough` adds scores on posts typed otherwise and of
    each language when its posts are left out. Raises `InputError` when the posts can't be learnt from.
    """
    rows = dataset.load(data)
    if len(rows) < 10 * FOLDS or len({row.row.label for row in rows}) < 2 or len({row.language for row in rows}) < 2:
        raise InputError(
            f"{data}: {len(rows)} posts are too few to learn from (several labels and languages are needed)"
        )
    tables = words.load(catalog.root / "words")
    progress(f"{len(rows)} posts")
    folds = fold_numbers(rows)
    identifier = languages.fit(rows, folds, seed, workers)
    progress("languages")
    material = _material(rows, folds, catalog, identifier, seed, tuple(VIEWS) if thorough else ALWAYS, workers)
    progress("readings")
    senses = Senses(tables)
    plain, altered = (features.matrix(v, PARAMETERS, senses) for v in (material.readings, material.altered))
    progress("features")
    found = np.array([is_found(reading.matches) for reading in material.readings])
    skeletons = [reading.skeleton for reading in material.readings]
    gate, passed = fit_gate(skeletons, found, material.chatter, PARAMETERS, folds)
    progress("gate")
    options = Options(HIDDEN, len(LABELS), 0.0, seed)
    labels = fit_head(plain, altered, material.target, folds, options, workers)
    progress("labels")
    at = np.flatnonzero(material.chatter)
    target = symptom_target([rows[i] for i in at.tolist()])
    symptom_options = Options(SYMPTOM_HIDDEN, len(SYMPTOMS) + 1, 0.5, seed, passes=4, batch=512)
    symptoms = fit_head(plain[at], altered[at], target, folds[at], symptom_options, workers)
    progress("symptoms")
    views = {name: features.matrix(readings, PARAMETERS, senses) for name, readings in material.views.items()}
    scores = figures_of(material, Fits(identifier, labels, symptoms, passed, RARER + UNFOUND * ~found), views, seed)
    if thorough:
        scores["left_out"] = left_out(material, plain, altered, options, workers)
        scores["all"]["f1_drop_unmet_service"] = services_left_out(material, plain, altered, labels, options, workers)
        progress("languages left out")
    golden = dataset.read(TEXTS, [str(n) for n in range(len(TEXTS))], matcher_of(catalog), identifier.final)
    made = Made(PARAMETERS, tables, gate, labels, symptoms, identifier, SYMPTOM_FLOOR, RARER, UNFOUND)
    digest = write(out, made, golden, rows, catalog, scores, seed)
    return {"digest": digest, "data": dataset.digest(rows), "posts": len(rows), "seed": seed, **scores}


def fold_numbers(rows: Sequence[Labelled]) -> Numbers:
    """A fold per row: near-duplicates stay together, every language and label is spread evenly, order does not matter."""
    group = dataset.groups(rows)
    order = sorted(
        sorted(set(group)),
        key=lambda g: (rows[g].language, rows[g].row.label, digest_of(rows[g].row.text.encode())),
    )
    fold = {g: number % FOLDS for number, g in enumerate(order)}
    return np.array([fold[g] for g in group], np.intp)


def _material(
    rows: Sequence[Labelled],
    folds: Numbers,
    catalog: Catalog,
    identifier: languages.Fitted,
    seed: int,
    views: Sequence[str],
    workers: int,
) -> Material:
    parts = [np.flatnonzero(folds == fold).tolist() for fold in range(FOLDS)]
    read = Parallel(n_jobs=workers)(
        delayed(_read)([rows[i] for i in at], catalog, unseen, seed, views)
        for at, unseen in zip(parts, identifier.unseen, strict=True)
    )
    place = {i: n for n, i in enumerate(i for at in parts for i in at)}
    order = [place[i] for i in range(len(rows))]

    def joined(pieces: Sequence[Sequence[Any]]) -> list[Any]:
        every = [one for piece in pieces for one in piece]
        return [every[n] for n in order]

    return Material(
        rows=rows,
        folds=folds,
        readings=joined([part[0]["plain"] for part in read]),
        altered=joined([part[0]["altered"] for part in read]),
        views={name: joined([part[0][name] for part in read]) for name in views},
        services_right=np.array(joined([part[1] for part in read]), np.bool_),
    )


def _read(
    rows: Sequence[Labelled], catalog: Catalog, identifier: dataset.Identifies, seed: int, wanted: Sequence[str]
) -> tuple[dict[str, list[Reading]], list[bool]]:
    """The rows as written, altered, and in the wanted views; whether the services they are about are found.

    The matcher is built here: it can't travel between processes.
    """
    matcher = matcher_of(catalog)
    ids = [row.row.id for row in rows]
    randoms = [Random(f"{seed}:{row.row.id}") for row in rows]  # noqa: S311  reproducible, not secret
    plain = dataset.read([row.row.text for row in rows], ids, matcher, identifier)
    forms = {"altered": [_altered(*each) for each in zip(rows, plain, randoms, strict=True)]}
    for name in wanted:
        forms[name] = [VIEWS[name](*each) for each in zip(rows, plain, randoms, strict=True)]
    regions = Attributor(catalog, matcher.find, skeleton).attribute(plain)
    right = [
        set(services_of(reading, 1.0, where, catalog)) == set(row.row.services or (UNNAMED,))
        for row, reading, where in zip(rows, plain, regions, strict=True)
    ]
    views = {name: dataset.read(texts, ids, matcher, identifier) for name, texts in forms.items()}
    return {"plain": plain, **views}, right


def _altered(row: Labelled, reading: Reading, random: Random) -> str:
    """The row as somebody else may have typed it, now and then about a service that nobody has heard of."""
    text = unheard(row.row.text, reading, invented(random)) if random.random() < _UNHEARD else row.row.text
    return hurried(other_alphabet(text, row.language, random), random)
