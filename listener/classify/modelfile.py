"""The classifier's files: `model.json` and `arrays.npz`, data only, with their digests and golden predictions in `meta.json`.

How they are read safely is the business of `listener.datafile`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from listener.classify.features import TOLD
from listener.classify.ngrams import Parameters
from listener.datafile import Arrays, Shapes, bytes_of, decoded, digest_of, unpacked
from listener.errors import ModelError
from listener.types import LABELS, SYMPTOMS

FORMAT = 1
MODEL, ARRAYS, META = "model.json", "arrays.npz", "meta.json"
_BITS = range(10, 19)


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model.json`: what the arrays mean. `told` and `labels` are written out, so that a model of other features is refused."""

    format: int
    parameters: Parameters
    labels: tuple[str, ...]
    symptoms: tuple[str, ...]
    told: tuple[str, ...]
    symptom_bits: int
    symptom_floor: float
    calibration: dict[str, list[float]]
    seed: int


class GoldenMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    kind: str
    name: str
    form: str
    start: int
    end: int
    exact: bool
    symptom: str


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reading as it was at training, and what the model said of it: catalogs may change, this may not."""

    clean: str
    skeleton: str
    language: str
    script: str
    matches: tuple[GoldenMatch, ...]
    probabilities: tuple[float, ...]
    symptom: str


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`meta.json`: digests of the files, where the model comes from and how good it is."""

    model: str
    arrays: str
    data: str
    catalog: str
    posts: int
    seed: int
    versions: dict[str, str]
    golden: tuple[Golden, ...]
    scores: dict[str, Any]


def shapes(model: Model) -> Shapes:
    """Every array a model has, with the one shape and type it may have."""
    half, single = np.dtype("<f2"), np.dtype("<f4")
    kinds = len(model.symptoms) + 1
    return {
        "hashed": ((model.parameters.buckets, len(LABELS)), half),
        "named": ((len(TOLD), len(LABELS)), single),
        "intercept": ((len(LABELS),), single),
        "symptom_hashed": ((1 << model.symptom_bits, kinds), half),
        "symptom_named": ((len(TOLD), kinds), single),
        "symptom_intercept": ((kinds,), single),
    }


def read(folder: Path) -> tuple[Model, Arrays, Meta, str]:
    """The parts of a model and its digest. Raises `ModelError` with one line that says which file is wrong, and how."""
    if not (folder / MODEL).is_file():
        raise ModelError(f"{folder}: no model here; make one with `listener train --out {folder}`")
    model_bytes, arrays_bytes = bytes_of(folder / MODEL), bytes_of(folder / ARRAYS)
    meta = decoded(bytes_of(folder / META), Meta, folder / META)
    for name, raw, wanted in ((MODEL, model_bytes, meta.model), (ARRAYS, arrays_bytes, meta.arrays)):
        if digest_of(raw) != wanted:
            raise ModelError(f"{folder / name}: its content is not what {META} says (sha256 differs)")
    model = decoded(model_bytes, Model, folder / MODEL)
    _check(model, folder / MODEL)
    return model, unpacked(arrays_bytes, shapes(model), folder / ARRAYS), meta, digest_of(model_bytes + arrays_bytes)


def _check(model: Model, path: Path) -> None:
    if model.format != FORMAT:
        raise ModelError(
            f"{path}: format {model.format}, but this program reads format {FORMAT}; train the model again"
        )
    if model.labels != LABELS or model.symptoms != SYMPTOMS or model.told != TOLD:
        raise ModelError(f"{path}: made for other labels or features than this program's; train the model again")
    made = model.parameters
    if made.bits not in _BITS or model.symptom_bits not in _BITS or model.symptom_bits > made.bits:
        raise ModelError(f"{path}: {made.bits} and {model.symptom_bits} bits of buckets are not sensible")
    if not 1 < made.shortest <= made.longest < 9:
        raise ModelError(f"{path}: n-grams of {made.shortest} to {made.longest} characters are not sensible")
