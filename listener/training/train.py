"""Trains the model that the daemon loads: language identifier, gate, labels, symptoms, their calibration, scores and files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config

from listener.catalog import Catalog
from listener.classify import features
from listener.classify.gate import is_found
from listener.classify.named import KINDS, Named
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses
from listener.classify.service import services_of
from listener.classify.shift import Shift
from listener.datafile import digest_of
from listener.errors import InputError
from listener.regions.attribute import Attributor
from listener.text.normalize import skeleton
from listener.text.phrases import Matcher, matcher_of
from listener.training import dataset, languages, words
from listener.training.augment import hurried, invented, other_alphabet
from listener.training.dataset import Labelled
from listener.training.fit import Numbers, Options, Views, fit_gate, fit_head
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
from listener.training.unseen import decisions_of
from listener.training.useful import useful
from listener.training.writing import Made, write
from listener.types import LABELS, SYMPTOMS, UNNAMED, Reading

FOLDS = 4
_FEW = 2000  # posts that are learnt from sooner than processes to share the work would have started
PARAMETERS = Parameters(sense_scale=1.5)
HIDDEN = 40
SHIFT = Shift(chatter=1.6, near_miss=1.0, unfound=2.0)  # see models/README.md
_UNHEARD = 0.5  # of the altered copies name a service that no catalog has
_SYMPTOM_STRENGTH = 0.1  # scikit-learn's C
SYMPTOM_FLOOR = 0.2  # the symptom of a post less likely to be chatter is not asked


@contextmanager
def _patient() -> Iterator[None]:
    """Processes that wait while others work would end after five minutes, with a warning."""
    with parallel_config("loky", idle_worker_timeout=3600.0):
        yield


@_patient()
def train(
    data: Path,
    out: Path,
    catalog: Catalog,
    *,
    seed: int = 0,
    thorough: bool = False,
    explained: bool = False,
    progress: Callable[[str], None] = lambda step: None,
    workers: int = 2,
) -> dict[str, Any]:
    """Train on `data`, write the model to `out`, return its scores on posts not trained on.

    The same data, catalog and seed give the same files. `thorough` adds scores on posts typed otherwise and of each language
    when its posts are left out; `explained` adds the most useful features. `progress` is told each step (see `steps`) as it
    begins. Raises `InputError` when the posts can't be learnt from.
    """
    rows, group, folds = _grouped(data)
    workers = 1 if len(rows) < _FEW else workers
    matcher = matcher_of(catalog)
    tables = words.load(catalog.root / "words")
    senses = Senses(tables)
    progress("languages")
    identifier = languages.fit(rows, folds, seed, workers)
    progress("readings")
    reader = _Reader(catalog, seed, tuple(VIEWS) if thorough else ALWAYS, matcher if workers == 1 else None)
    material = _material(rows, folds, reader, identifier, workers)
    progress("features")
    plain, altered = (_views(readings, senses) for readings in (material.readings, material.altered))
    progress("gate")
    found = np.array([is_found(reading.matches) for reading in material.readings])
    skeletons = [reading.skeleton for reading in material.readings]
    gate, passed = fit_gate(skeletons, found, material.chatter, PARAMETERS, folds)
    progress("labels")
    options = Options(len(LABELS), 0.0, seed, HIDDEN)
    labels = fit_head(plain, altered, material.target, folds, options, workers)
    progress("symptoms")
    at = np.flatnonzero(material.chatter)
    target = symptom_target([rows[i] for i in at.tolist()])
    services = {kind: tuple(sorted(s.id for s in catalog.services.values() if s.kind == kind)) for kind in KINDS}
    named = Named(services, PARAMETERS.kind_scale)
    symptom_options = Options(len(SYMPTOMS) + 1, 0.5, seed, strength=_SYMPTOM_STRENGTH, calibrated=False)
    seen, retyped = _fewer(plain, material.readings, at, named), _fewer(altered, material.altered, at, named)
    symptoms = fit_head(seen, retyped, target, folds[at], symptom_options, workers)
    progress("scores")
    views = {name: _views(readings, senses) for name, readings in material.views.items()}
    fits = Fits(identifier, labels, symptoms, passed, SHIFT.of(found))
    scores = figures_of(material, fits, views, seed)
    if thorough:
        progress("languages left out")
        scores["left_out"] = left_out(material, plain, altered, labels, options, workers)
        scores["all"]["f1_drop_unmet_service"] = services_left_out(material, plain, altered, labels, options, workers)
    if explained:
        progress("useful features")
        scores["useful"] = useful(material, labels, PARAMETERS, senses, seed, workers)
    progress("files")
    golden = dataset.read(TEXTS, [str(n) for n in range(len(TEXTS))], matcher, identifier.final)
    made = Made(PARAMETERS, tables, gate, labels, symptoms, services, identifier, SYMPTOM_FLOOR, HIDDEN, SHIFT)
    decisions = decisions_of(rows, group, fits.said, fits.chatter, fits.live)
    written = write(out, made, golden, rows, catalog, scores, seed, decisions)
    return {"digest": written.digest, "data": written.meta.data, "posts": len(rows), "seed": seed, **scores}


def steps(*, thorough: bool, explained: bool) -> dict[str, float]:
    """The steps of `train` in order, and how long each takes beside the others."""
    times = {
        "languages": 15.0,
        "readings": 20.0,
        "features": 10.0,
        "gate": 4.0,
        "labels": 30.0,
        "symptoms": 8.0,
        "scores": 10.0,
    }
    if thorough:
        times["languages left out"] = 90.0
    if explained:
        times["useful features"] = 10.0
    return times | {"files": 2.0}


def _views(readings: Sequence[Reading], senses: Senses) -> Views:
    wide = features.matrix(readings, PARAMETERS, senses)
    return Views(wide, features.folded(wide, PARAMETERS))


def _fewer(views: Views, readings: Sequence[Reading], at: Numbers, named: Named) -> Views:
    """For the symptoms: folded columns are enough for the posts of chatter, and what kinds of service are named."""
    made = named.beside(views.folded[at], [readings[i] for i in at.tolist()])
    return Views(made, made)


def _grouped(data: Path) -> tuple[list[Labelled], list[int], Numbers]:
    """The posts, the group and the fold of each. Raises `InputError` when they can't be learnt from."""
    rows = dataset.load(data)
    if len(rows) < 10 * FOLDS or len({row.row.label for row in rows}) < 2 or len({row.language for row in rows}) < 2:
        raise InputError(
            f"{data}: {len(rows)} posts are too few to learn from (several labels and languages are needed)"
        )
    group = dataset.groups(rows)
    folds = fold_numbers(rows, group)
    if np.bincount(folds, minlength=FOLDS).max() > len(rows) / 2:
        raise InputError(
            f"{data}: over half of the posts are by one author or copies of one text: too few others to test on"
        )
    return rows, group, folds


def fold_numbers(rows: Sequence[Labelled], group: Sequence[int]) -> Numbers:
    """A fold per row: groups stay together, every language and label is spread evenly, order does not matter."""
    order = sorted(
        sorted(set(group)),
        key=lambda g: (rows[g].language, rows[g].row.label, digest_of(rows[g].row.text.encode())),
    )
    fold = {g: number % FOLDS for number, g in enumerate(order)}
    return np.array([fold[g] for g in group], np.intp)


@dataclass(frozen=True)
class _Reader:
    """What reading rows takes. Without a matcher, which can't travel between processes, it makes its own."""

    catalog: Catalog
    seed: int
    views: Sequence[str]
    matcher: Matcher | None

    def read(self, parts: Sequence[tuple[Sequence[Labelled], dataset.Identifies]]) -> list[_Read]:
        """Each part by its own identifier."""
        matcher = self.matcher or matcher_of(self.catalog)
        attributor = Attributor(self.catalog, matcher.find, skeleton)
        return [self._read(rows, identifier, matcher, attributor) for rows, identifier in parts]

    def _read(
        self, rows: Sequence[Labelled], identifier: dataset.Identifies, matcher: Matcher, attributor: Attributor
    ) -> _Read:
        ids = [row.row.id for row in rows]
        randoms = [Random(f"{self.seed}:{row.row.id}") for row in rows]  # noqa: S311  reproducible, not secret
        plain = dataset.read([row.row.text for row in rows], ids, matcher, identifier)
        forms = {"altered": [_altered(*each) for each in zip(rows, plain, randoms, strict=True)]}
        for name in self.views:
            forms[name] = [VIEWS[name](*each) for each in zip(rows, plain, randoms, strict=True)]
        right = [
            set(services_of(reading, 1.0, where, self.catalog)) == set(row.row.services or (UNNAMED,))
            for row, reading, where in zip(rows, plain, attributor.attribute(plain), strict=True)
        ]
        views = {name: dataset.read(texts, ids, matcher, identifier) for name, texts in forms.items()}
        return {"plain": plain, **views}, right


_Read = tuple[
    dict[str, list[Reading]], list[bool]
]  # rows as written, altered and in each view; whether their services were found


def _material(
    rows: Sequence[Labelled], folds: Numbers, reader: _Reader, identifier: languages.Fitted, workers: int
) -> Material:
    at = [np.flatnonzero(folds == fold).tolist() for fold in range(FOLDS)]
    parts = [([rows[i] for i in here], unseen) for here, unseen in zip(at, identifier.unseen, strict=True)]
    shares = [list(range(FOLDS))[n::workers] for n in range(min(workers, FOLDS))]
    read = Parallel(n_jobs=workers)(delayed(reader.read)([parts[fold] for fold in share]) for share in shares)
    by_fold = dict(
        zip((fold for share in shares for fold in share), (one for each in read for one in each), strict=True)
    )
    place = {i: n for n, i in enumerate(i for here in at for i in here)}

    def joined(pieces: Sequence[Sequence[Any]]) -> list[Any]:
        every = [one for piece in pieces for one in piece]
        return [every[place[i]] for i in range(len(rows))]

    def view(name: str) -> list[Reading]:
        return joined([by_fold[fold][0][name] for fold in range(FOLDS)])

    return Material(
        rows=rows,
        folds=folds,
        readings=view("plain"),
        altered=view("altered"),
        views={name: view(name) for name in reader.views},
        services_right=np.array(joined([by_fold[fold][1] for fold in range(FOLDS)]), np.bool_),
    )


def _altered(row: Labelled, reading: Reading, random: Random) -> str:
    """The row as somebody else may have typed it, now and then about a service that nobody has heard of."""
    text = unheard(row.row.text, reading, invented(random)) if random.random() < _UNHEARD else row.row.text
    return hurried(other_alphabet(text, row.language, random), random)
