"""A model that is whole, loads in no time and knows nothing: all its weights are zero, its figures those it is given."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from listener.classify import modelfile
from listener.classify.classifier import Classifier, golden_of, reading_of
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses, Tables
from listener.classify.shift import Shift
from listener.datafile import digest_of, packed
from tests.conftest import ROOT

SHIPPED = ROOT / "models" / "current"
NO_SHIFT = Shift(chatter=0.0, near_miss=0.0, unfound=0.0)


def small_model(folder: Path, seed: int, scores: Mapping[str, Any] | None = None) -> Path:
    """Write one; each seed has another digest. Without `scores` it claims those of the shipped model."""
    shipped, _, _, meta, _ = modelfile.read(SHIPPED)
    parameters = Parameters(bits=10, sense_bits=10)
    model = msgspec.structs.replace(shipped, parameters=parameters, gate_floor=-1.0, seed=seed, stream=NO_SHIFT)
    tables = Tables((), {})
    arrays = {name: np.zeros(shape, kind) for name, (shape, kind) in modelfile.shapes(model).items()}
    raw = {
        "model": msgspec.json.format(msgspec.json.encode(model)),
        "senses": msgspec.json.encode(tables),
        "arrays": packed(arrays),
    }
    digest = digest_of(b"".join(raw.values()))
    meta = msgspec.structs.replace(
        meta, **{name: digest_of(of) for name, of in raw.items()}, scores=dict(scores or meta.scores), unseen=None
    )
    classifier = Classifier.of(model, Senses(tables), arrays, meta, digest)
    readings = [reading_of(golden) for golden in meta.golden[:3]]
    golden = tuple(golden_of(r, s) for r, s in zip(readings, classifier.score(readings), strict=True))
    meta = msgspec.structs.replace(meta, golden=golden)
    folder.mkdir(parents=True)
    for name, of in zip((modelfile.MODEL, modelfile.SENSES, modelfile.ARRAYS), raw.values(), strict=True):
        (folder / name).write_bytes(of)
    (folder / modelfile.META).write_bytes(msgspec.json.encode(meta))
    for name in ("language.json", "language.npz"):
        shutil.copy(SHIPPED / name, folder / name)
    return folder


def shipped_scores() -> dict[str, Any]:
    """The figures of the shipped model, to be changed."""
    made: dict[str, Any] = json.loads((SHIPPED / "meta.json").read_text())["scores"]
    return made
