"""Trains the model that the daemon loads: language identifier, labels, symptoms, their calibration, scores and files."""

from __future__ import annotations

import dataclasses
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from listener.catalog import Catalog
from listener.classify import features, modelfile
from listener.classify.classifier import Classifier, golden_of, reading_of
from listener.classify.estimator import union
from listener.classify.modelfile import ARRAYS, FORMAT, META, MODEL
from listener.classify.ngrams import Parameters
from listener.datafile import digest_of, packed
from listener.errors import InputError
from listener.text import language
from listener.text.phrases import matcher_of
from listener.training import dataset, languages
from listener.training.augment import ascii_form, hurried, other_alphabet
from listener.training.dataset import Labelled
from listener.training.figures import chatter_figures, macro_f1, rounded
from listener.training.fit import Head, fit_labels, fit_symptoms, stopping_early, unseen_probabilities
from listener.training.golden import TEXTS
from listener.types import CHATTER, LABELS, SYMPTOMS, Floats, Reading, Score

FOLDS = 4
PARAMETERS = Parameters(bits=17)
SYMPTOM_BITS = 14
SYMPTOM_FLOOR = 0.2  # the symptom of a post less likely to be chatter is not asked

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Material:
    """The rows as the classifier will see them; every reading's language comes from an identifier that did not see the row."""

    rows: Sequence[Labelled]
    folds: Numbers
    readings: list[Reading]
    altered: list[Reading]
    plain_ascii: list[Reading]

    @property
    def target(self) -> Numbers:
        return np.array([LABELS.index(row.row.label) for row in self.rows])

    @property
    def chatter(self) -> NDArray[np.bool_]:
        return np.array([row.chatter for row in self.rows])


def train(
    data: Path,
    out: Path,
    catalog: Catalog,
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
    workers: int = 2,
) -> dict[str, Any]:
    """Train on `data`, write the model to `out`, return its scores on posts not trained on.

    The same data, catalog and seed give the same files. Raises `InputError` when the posts can't be learnt from.
    """
    rows = dataset.load(data)
    if len(rows) < 10 * FOLDS or len({row.row.label for row in rows}) < 2 or len({row.language for row in rows}) < 2:
        raise InputError(
            f"{data}: {len(rows)} posts are too few to learn from (several labels and languages are needed)"
        )
    progress(f"{len(rows)} posts")
    folds = fold_numbers(rows)
    identifier = languages.fit(rows, folds, seed, workers)
    progress("languages")
    material = _material(rows, folds, catalog, identifier, seed, workers)
    progress("readings")
    space = union(PARAMETERS)
    plain = space.transform(material.readings).tocsr()
    altered = space.transform(material.altered).tocsr()
    with stopping_early():
        labels = fit_labels(plain, altered, material.target, folds, seed, workers, progress)
        symptoms, symptom_unseen, symptom_target = _symptoms(material, seed, workers)
    progress("symptoms")
    on_ascii = unseen_probabilities(space.transform(material.plain_ascii).tocsr(), folds, labels)
    scores = _scores(material, labels, on_ascii, identifier, seed)
    scores["symptom_f1"] = round(macro_f1(symptom_target, symptom_unseen.argmax(1), len(SYMPTOMS) + 1)[0], 4)
    golden = dataset.read(TEXTS, [str(n) for n in range(len(TEXTS))], matcher_of(catalog), identifier.final)
    digest = _write(out, labels, symptoms, identifier, golden, rows, catalog, scores, seed)
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
    rows: Sequence[Labelled], folds: Numbers, catalog: Catalog, identifier: languages.Fitted, seed: int, workers: int
) -> Material:
    parts = [np.flatnonzero(folds == fold).tolist() for fold in range(FOLDS)]
    read = Parallel(n_jobs=workers)(
        delayed(_views)([rows[i] for i in at], catalog, unseen, seed)
        for at, unseen in zip(parts, identifier.unseen, strict=True)
    )
    made: list[dict[int, Reading]] = [{}, {}, {}]
    for at, views in zip(parts, read, strict=True):
        for view, readings in zip(made, views, strict=True):
            view.update(zip(at, readings, strict=True))
    return Material(rows, folds, *([view[i] for i in range(len(rows))] for view in made))


def _views(
    rows: Sequence[Labelled], catalog: Catalog, identifier: dataset.Identifies, seed: int
) -> tuple[list[Reading], ...]:
    """The rows as written, altered, and without diacritics. The matcher is built here: it can't travel between processes."""
    matcher = matcher_of(catalog)
    ids, texts = [row.row.id for row in rows], [row.row.text for row in rows]
    forms = (texts, [_altered(row, seed) for row in rows], [ascii_form(text) for text in texts])
    return tuple(dataset.read(form, ids, matcher, identifier) for form in forms)


def _altered(row: Labelled, seed: int) -> str:
    random = Random(f"{seed}:{row.row.id}")  # noqa: S311  reproducible, not secret
    return hurried(other_alphabet(row.row.text, row.language, random), random)


def _symptoms(material: Material, seed: int, workers: int) -> tuple[Head, Floats, Numbers]:
    at = np.flatnonzero(material.chatter).tolist()
    names = ("", *SYMPTOMS)
    target = np.array([names.index(material.rows[i].row.symptom or "") for i in at])
    space = union(dataclasses.replace(PARAMETERS, bits=SYMPTOM_BITS))
    plain, altered = (space.transform([view[i] for i in at]).tocsr() for view in (material.readings, material.altered))
    head = fit_symptoms(plain, altered, target, len(names), material.folds[at], seed, workers)
    return head, head.unseen, target


def _scores(
    material: Material, labels: Head, on_ascii: Floats, identifier: languages.Fitted, seed: int
) -> dict[str, Any]:
    inside = np.array([label in CHATTER for label in LABELS])
    chatter, ascii_chatter = labels.unseen[:, inside].sum(axis=1), on_ascii[:, inside].sum(axis=1)
    truth, target = material.chatter, material.target
    said = np.array([identifier.codes.index(row.language) for row in material.rows])
    right = identifier.plain.argmax(axis=1) == said
    right_short = identifier.short.argmax(axis=1) == said
    group = np.array([language.group_of(code) for code in identifier.codes], dtype=object)
    right_group = group[identifier.plain.argmax(axis=1)] == group[said]

    def part(at: NDArray[np.bool_]) -> dict[str, Any]:
        made = chatter_figures(truth[at], chatter[at], seed)
        typed = chatter_figures(truth[at], ascii_chatter[at], seed)
        made["f1_drop_ascii"] = round(made["f1"] - typed["f1"], 4)
        made["label_f1"] = round(macro_f1(target[at], labels.unseen[at].argmax(1), len(LABELS))[0], 4)
        made |= rounded({"language": right[at].mean(), "language_group": right_group[at].mean()})
        return made | rounded({"language_short": right_short[at].mean()})

    codes = np.array([row.language for row in material.rows])
    each = macro_f1(target, labels.unseen.argmax(1), len(LABELS))[1]
    return {
        "all": part(np.ones(len(truth), np.bool_)),
        "languages": {code: part(codes == code) for code in identifier.codes},
        "labels": rounded(dict(zip(LABELS, each, strict=True))),
        "chosen": labels.chosen,
    }


def _write(
    out: Path,
    labels: Head,
    symptoms: Head,
    identifier: languages.Fitted,
    golden: Sequence[Reading],
    rows: Sequence[Labelled],
    catalog: Catalog,
    scores: Mapping[str, Any],
    seed: int,
) -> str:
    model = modelfile.Model(
        format=FORMAT,
        parameters=PARAMETERS,
        labels=LABELS,
        symptoms=SYMPTOMS,
        told=features.TOLD,
        symptom_bits=SYMPTOM_BITS,
        symptom_floor=SYMPTOM_FLOOR,
        calibration={"scale": [labels.scale], "shift": labels.shift},
        seed=seed,
    )
    arrays = {**_arrays(labels, "", PARAMETERS.buckets), **_arrays(symptoms, "symptom_", 1 << SYMPTOM_BITS)}
    model_bytes = msgspec.json.format(msgspec.json.encode(model)) + b"\n"
    arrays_bytes = packed(arrays)
    meta = modelfile.Meta(
        model=digest_of(model_bytes),
        arrays=digest_of(arrays_bytes),
        data=dataset.digest(rows),
        catalog=catalog.digest,
        posts=len(rows),
        seed=seed,
        versions=_versions(),
        golden=(),
        scores=dict(scores),
    )
    digest = digest_of(model_bytes + arrays_bytes)
    classifier = Classifier.of(model, arrays, meta, digest)
    bare = [reading_of(golden_of(reading, Score((), "", ""))) for reading in golden]
    meta = msgspec.structs.replace(
        meta, golden=tuple(golden_of(r, s) for r, s in zip(bare, classifier.score(bare), strict=True))
    )
    _replace(
        out,
        {
            MODEL: model_bytes,
            ARRAYS: arrays_bytes,
            META: msgspec.json.format(msgspec.json.encode(meta)) + b"\n",
            language.SETTINGS: msgspec.json.format(msgspec.json.encode(identifier.settings)) + b"\n",
            language.ARRAYS: identifier.arrays,
        },
    )
    return digest


def _arrays(head: Head, prefix: str, buckets: int) -> dict[str, NDArray[Any]]:
    return {
        f"{prefix}hashed": head.weights[:buckets].astype("<f2"),
        f"{prefix}named": head.weights[buckets:].astype("<f4"),
        f"{prefix}intercept": head.intercept.astype("<f4"),
    }


def _versions() -> dict[str, str]:
    import scipy
    import sklearn

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "sklearn": sklearn.__version__,
    }


def _replace(out: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder with these files in place of `out` at once: a reader finds the old model or the new one, never half."""
    fresh, old = out.with_name(out.name + ".new"), out.with_name(out.name + ".old")
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, raw in files.items():
        (fresh / name).write_bytes(raw)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
