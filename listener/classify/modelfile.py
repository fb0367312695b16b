"""The classifier's files: `model.json`, `senses.json` and `arrays.npz`, all data; digests and golden texts in `meta.json`.

How they are read safely is the business of `listener.datafile`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from listener.classify import gate, network
from listener.classify.features import TOLD, width
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses, Tables
from listener.datafile import Arrays, Shapes, bytes_of, decoded, digest_of, unpacked
from listener.errors import ModelError
from listener.types import LABELS, SYMPTOMS

FORMAT = 2
MODEL, SENSES, ARRAYS, META = "model.json", "senses.json", "arrays.npz", "meta.json"
_BITS = range(10, 18)
_HIDDEN = range(1, 129)


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model.json`: what the arrays mean. `told` and `labels` are written out, so that a model of other features is refused."""

    format: int
    parameters: Parameters
    labels: tuple[str, ...]
    symptoms: tuple[str, ...]
    told: tuple[str, ...]
    hidden: int
    symptom_hidden: int
    gate_floor: float  # the sum of word weights from which a post is judged though nothing was found in it
    rarer: float  # taken from the log odds of chatter: a stream holds less of it than the posts learnt from
    unfound: float  # taken besides where nothing was found: there even less
    symptom_floor: float  # the symptom of a post less likely to be chatter is not asked
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
    senses: str
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
    columns = width(model.parameters)
    return {
        "gate": ((1 << gate.BITS,), np.dtype("<f4")),
        **network.shapes("", columns, model.hidden, len(LABELS)),
        **network.shapes("symptom_", columns, model.symptom_hidden, len(model.symptoms) + 1),
    }


def read(folder: Path) -> tuple[Model, Senses, Arrays, Meta, str]:
    """The parts of a model and its digest. Raises `ModelError` with one line that says which file is wrong, and how."""
    if not (folder / MODEL).is_file():
        raise ModelError(f"{folder}: no model here; make one with `listener train --out {folder}`")
    meta = decoded(bytes_of(folder / META), Meta, folder / META)
    raw = {name: bytes_of(folder / name) for name in (MODEL, SENSES, ARRAYS)}
    for name, wanted in ((MODEL, meta.model), (SENSES, meta.senses), (ARRAYS, meta.arrays)):
        if digest_of(raw[name]) != wanted:
            raise ModelError(f"{folder / name}: its content is not what {META} says (sha256 differs)")
    model = decoded(raw[MODEL], Model, folder / MODEL)
    _check(model, folder / MODEL)
    tables = decoded(raw[SENSES], Tables, folder / SENSES)
    try:
        senses = Senses(tables)
    except KeyError as error:
        raise ModelError(f"{folder / SENSES}: no sense {error}") from error
    arrays = unpacked(raw[ARRAYS], shapes(model), folder / ARRAYS)
    return model, senses, arrays, meta, digest_of(b"".join(raw.values()))


def _check(model: Model, path: Path) -> None:
    if model.format != FORMAT:
        raise ModelError(
            f"{path}: format {model.format}, but this program reads format {FORMAT}; train the model again"
        )
    if model.labels != LABELS or model.symptoms != SYMPTOMS or model.told != TOLD:
        raise ModelError(f"{path}: made for other labels or features than this program's; train the model again")
    made = model.parameters
    if made.bits not in _BITS or made.sense_bits not in _BITS:
        raise ModelError(f"{path}: {made.bits} and {made.sense_bits} bits of buckets are not sensible")
    if model.hidden not in _HIDDEN or model.symptom_hidden not in _HIDDEN:
        raise ModelError(f"{path}: {model.hidden} and {model.symptom_hidden} hidden units are not sensible")
    if not 1 < made.shortest <= made.longest < 9:
        raise ModelError(f"{path}: n-grams of {made.shortest} to {made.longest} characters are not sensible")
