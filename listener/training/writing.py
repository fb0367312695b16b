"""Writes a trained model: its files, their digests, the golden texts that a load is checked against, and its card."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from listener.catalog import Catalog
from listener.classify import features, modelfile
from listener.classify.classifier import Classifier, golden_of, reading_of
from listener.classify.gate import Gate
from listener.classify.modelfile import ARRAYS, FORMAT, META, MODEL, SENSES, UNSEEN
from listener.classify.named import Services
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses, Tables
from listener.classify.shift import Shift
from listener.datafile import digest_of, packed
from listener.text import language
from listener.training import card, dataset, languages, unseen
from listener.training.dataset import Labelled
from listener.training.fit import Head
from listener.training.unseen import Decisions
from listener.types import LABELS, SYMPTOMS, Reading, Score


@dataclass(frozen=True)
class Made:
    """Everything that training made and serving needs."""

    parameters: Parameters
    tables: Tables
    gate: Gate
    labels: Head
    symptoms: Head
    services: Services
    identifier: languages.Fitted
    symptom_floor: float
    hidden: int
    stream: Shift


def write(
    out: Path,
    made: Made,
    golden: Sequence[Reading],
    rows: Sequence[Labelled],
    catalog: Catalog,
    scores: Mapping[str, Any],
    seed: int,
    decisions: Decisions,
) -> Classifier:
    """Put the model at `out`, with its card and what it said of its posts unseen, and return it."""
    model = modelfile.Model(
        format=FORMAT,
        parameters=made.parameters,
        labels=LABELS,
        symptoms=SYMPTOMS,
        told=features.TOLD,
        services=dict(made.services),
        hidden=made.hidden,
        gate_floor=made.gate.floor,
        stream=made.stream,
        symptom_floor=made.symptom_floor,
        calibration={"scale": made.labels.scales.tolist(), "shift": made.labels.shift.tolist()},
        seed=seed,
    )
    labels = made.labels.parts
    assert labels.deep is not None, "labels have both parts"
    arrays = {
        "gate": made.gate.weights[:-1].astype("<f4"),
        **labels.wide.packed(""),
        **labels.deep.packed("deep_"),
        **made.symptoms.parts.wide.packed("symptom_"),
    }
    senses_bytes = msgspec.json.encode(made.tables) + b"\n"
    model_bytes = msgspec.json.format(msgspec.json.encode(model)) + b"\n"
    arrays_bytes = packed(arrays)
    language_bytes = msgspec.json.format(msgspec.json.encode(made.identifier.settings)) + b"\n"
    unseen_bytes, kept = unseen.packed_with(decisions)
    meta = modelfile.Meta(
        model=digest_of(model_bytes),
        senses=digest_of(senses_bytes),
        arrays=digest_of(arrays_bytes),
        data=dataset.digest(rows),
        catalog=catalog.digest,
        posts=len(rows),
        seed=seed,
        versions=_versions(),
        golden=(),
        scores=dict(scores),
        language=digest_of(language_bytes),
        unseen=kept,
    )
    digest = digest_of(model_bytes + senses_bytes + arrays_bytes)
    classifier = Classifier.of(model, Senses(made.tables), arrays, meta, digest)
    bare = [reading_of(golden_of(reading, Score((), "", ""))) for reading in golden]
    meta = msgspec.structs.replace(
        meta, golden=tuple(golden_of(r, s) for r, s in zip(bare, classifier.score(bare), strict=True))
    )
    _replace(
        out,
        {
            MODEL: model_bytes,
            SENSES: senses_bytes,
            ARRAYS: arrays_bytes,
            META: msgspec.json.format(msgspec.json.encode(meta)) + b"\n",
            language.SETTINGS: language_bytes,
            language.ARRAYS: made.identifier.arrays,
            UNSEEN: unseen_bytes,
            card.NAME: card.card(meta, digest).encode(),
        },
    )
    return replace(classifier, meta=meta)


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
