"""The classifier's files: `model.json`, `senses.json` and `arrays.npz`, all data; digests and golden texts in `meta.json`.

Everything in them is checked before anything is built: digests, format, names, shapes, types, and that numbers are sane.

How they are read safely is the business of `listener.datafile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from listener.classify import gate, linear, network
from listener.classify.features import TOLD, folded_width, width
from listener.classify.named import KINDS
from listener.classify.ngrams import Parameters
from listener.classify.senses import Senses, Tables
from listener.classify.shift import Shift
from listener.datafile import Arrays, Shapes, bytes_of, decoded, digest_of, unpacked
from listener.errors import ModelError
from listener.types import LABELS, SYMPTOMS

FORMAT = 5
MODEL, SENSES, ARRAYS, META = "model.json", "senses.json", "arrays.npz", "meta.json"
LANGUAGE, UNSEEN = "language.json", "unseen.npz"
_BITS = range(10, 20)
_HIDDEN = range(1, 129)
_SHIFTED = 20.0  # logits: no label is that rare
_HUGE = 1e6  # no scale, shift or floor of a model comes near it
_GOLDEN, _GOLDEN_TEXT = 1000, 2000  # golden texts, and characters of one


class Written(msgspec.Struct, frozen=True):
    """What is read first of `model.json`: a model of another format may have any other keys."""

    format: int


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model.json`: what the arrays mean. `told` and `labels` are written out, so that a model of other features is refused."""

    format: int
    parameters: Parameters
    labels: tuple[str, ...]
    symptoms: tuple[str, ...]
    told: tuple[str, ...]
    services: dict[str, tuple[str, ...]]  # ids by kind: for the symptom it matters whether a bank or a game is named
    hidden: int
    gate_floor: float  # the sum of word weights from which a post is judged though nothing was found in it
    stream: Shift  # holds less chatter, and fewer near misses, than the posts learnt from
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


class Unseen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be known of `unseen.npz` to read it: see `listener.training.unseen`."""

    digest: str
    posts: int
    id_bytes: int
    languages: tuple[str, ...]


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
    language: str = ""  # digest of `language.json`, which holds that of `language.npz`; early models lack it
    unseen: Unseen | None = None


def shapes(model: Model) -> Shapes:
    """Every array a model has, with the one shape and type it may have."""
    columns, fewer = width(model.parameters), folded_width(model.parameters)
    return {
        "gate": ((1 << gate.BITS,), np.dtype("<f4")),
        **linear.shapes("", columns, len(LABELS)),
        **network.shapes("deep_", fewer, model.hidden, len(LABELS)),
        **linear.shapes("symptom_", fewer + len(KINDS), len(model.symptoms) + 1),
    }


def read(folder: Path) -> tuple[Model, Senses, Arrays, Meta, str]:
    """The parts of a model and its digest. Raises `ModelError` with one line that says which file is wrong, and how."""
    check_there(folder)
    meta = decoded(bytes_of(folder / META), Meta, folder / META)
    raw = {name: bytes_of(folder / name) for name in (MODEL, SENSES, ARRAYS)}
    for name, wanted in ((MODEL, meta.model), (SENSES, meta.senses), (ARRAYS, meta.arrays)):
        if digest_of(raw[name]) != wanted:
            raise ModelError(f"{folder / name}: its content is not what {META} says (sha256 differs)")
    if meta.language and digest_of(bytes_of(folder / LANGUAGE)) != meta.language:
        raise ModelError(f"{folder / LANGUAGE}: its content is not what {META} says (sha256 differs)")
    written = decoded(raw[MODEL], Written, folder / MODEL).format
    if written != FORMAT:
        raise ModelError(
            f"{folder / MODEL}: format {written}, but this program reads format {FORMAT}; train the model again"
        )
    model = decoded(raw[MODEL], Model, folder / MODEL)
    _check(model, folder / MODEL)
    _check_golden(meta.golden, folder / META)
    tables = decoded(raw[SENSES], Tables, folder / SENSES)
    try:
        senses = Senses(tables)
    except KeyError as error:
        raise ModelError(f"{folder / SENSES}: no sense {error}") from error
    arrays = unpacked(raw[ARRAYS], shapes(model), folder / ARRAYS)
    return model, senses, arrays, meta, digest_of(b"".join(raw.values()))


def check_there(folder: Path) -> None:
    """Raises `ModelError` when a folder holds no model, or is none."""
    if folder.is_file():
        raise ModelError(
            f"{folder}: a file, where a model is a folder; what `--export-joblib` writes is never loaded here"
        )
    if not (folder / MODEL).is_file():
        raise ModelError(f"{folder}: no model here; make one with `listener train --out {folder}`")


def _check(model: Model, path: Path) -> None:
    if model.labels != LABELS or model.symptoms != SYMPTOMS or model.told != TOLD:
        raise ModelError(f"{path}: made for other labels or features than this program's; train the model again")
    if tuple(sorted(model.services)) != KINDS:
        raise ModelError(f"{path}: made for other kinds of services than this program's; train the model again")
    made = model.parameters
    if made.bits not in _BITS or made.sense_bits not in _BITS:
        raise ModelError(f"{path}: {made.bits} and {made.sense_bits} bits of buckets are not sensible")
    if made.fold_bits not in range(min(made.bits, made.sense_bits)):
        raise ModelError(f"{path}: {made.fold_bits} bits can't be folded away")
    if model.hidden not in _HIDDEN:
        raise ModelError(f"{path}: {model.hidden} hidden units are not sensible")
    if not 1 < made.shortest <= made.longest < 9:
        raise ModelError(f"{path}: n-grams of {made.shortest} to {made.longest} characters are not sensible")
    if max(map(abs, msgspec.structs.astuple(model.stream))) > _SHIFTED:
        raise ModelError(f"{path}: a shift to a stream of more than {_SHIFTED} is not sensible")
    numbers = _numbers(msgspec.to_builtins(msgspec.structs.replace(model, seed=0)))  # any seed will do
    if wild := [name for name, value in numbers if not -_HUGE < value < _HUGE]:
        raise ModelError(f"{path}: {wild[0]} is not a sensible number")


def _numbers(value: object, name: str = "") -> list[tuple[str, float]]:
    """Every number of a decoded document, by the key it stands under."""
    if isinstance(value, Mapping):
        return [found for key, inner in value.items() for found in _numbers(inner, str(key))]
    if isinstance(value, (list, tuple)):
        return [found for inner in value for found in _numbers(inner, name)]
    return [(name, value)] if isinstance(value, (int, float)) else []


def _check_golden(golden: tuple[Golden, ...], path: Path) -> None:
    """Golden texts are what a load is tried with, so there must be some, and they must be readable."""
    if not 0 < len(golden) <= _GOLDEN:
        raise ModelError(f"{path}: {len(golden)} golden texts, so that what the model says can't be checked")
    for one in golden:
        outside = any(not 0 <= match.start <= match.end <= len(one.skeleton) for match in one.matches)
        if outside or max(len(one.clean), len(one.skeleton)) > _GOLDEN_TEXT:
            raise ModelError(f"{path}: golden text {one.clean[:40]!r} is not as `listener train` writes it")
