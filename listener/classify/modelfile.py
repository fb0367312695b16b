"""The classifier's files: `model.json` and `arrays.npz`, data only, with their digests and golden predictions in `meta.json`.

Whatever a file claims is checked before memory is given to it; nothing in a model file can run.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from listener.classify.features import TOLD
from listener.classify.ngrams import Parameters
from listener.errors import ModelError
from listener.types import LABELS, SYMPTOMS

FORMAT = 1
MODEL, ARRAYS, META = "model.json", "arrays.npz", "meta.json"
LARGEST = 10 * 1024 * 1024  # bytes of any one file, and of the arrays together once unpacked
_BITS = range(10, 19)
_HEADER = 4096  # more than any array header written here

S = TypeVar("S", bound=msgspec.Struct)


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


Arrays = Mapping[str, NDArray[Any]]


def shapes(model: Model) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
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


def bytes_of(path: Path) -> bytes:
    """A file of a model, never more than `LARGEST` of it."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    if len(raw) > LARGEST:
        raise ModelError(f"{path}: larger than {LARGEST // 2**20} MB; this is no model of ours")
    return raw


def decoded(raw: bytes, into: type[S], path: Path) -> S:
    try:
        return msgspec.json.decode(raw, type=into)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error


def digest_of(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def unpacked(raw: bytes, wanted: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], path: Path) -> Arrays:
    """The arrays of an npz file, whose names, shapes and types must be those wanted; headers are read before the data."""
    made = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = sorted(info.filename for info in archive.infolist())
            if names != sorted(f"{name}.npy" for name in wanted):
                raise ModelError(f"{path}: holds {', '.join(names)[:200]}, not the arrays of a model")
            if sum(_size(shape, kind) for shape, kind in wanted.values()) > LARGEST:
                raise ModelError(f"{path}: would need more than {LARGEST // 2**20} MB")
            for name, (shape, kind) in wanted.items():
                with archive.open(f"{name}.npy") as member:
                    made[name] = _array(member.read(_size(shape, kind) + _HEADER), shape, kind, f"{path}: {name}")
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        ValueError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ModelError(f"{path}: {error}") from error
    return made


def _size(shape: tuple[int, ...], kind: np.dtype[Any]) -> int:
    return int(np.prod(shape)) * kind.itemsize


def _array(raw: bytes, shape: tuple[int, ...], kind: np.dtype[Any], where: str) -> NDArray[Any]:
    file = io.BytesIO(raw)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ModelError(f"{where}: not an array as written by `listener train`")
    has_shape, fortran, has_kind = np.lib.format.read_array_header_1_0(file)
    if has_shape != shape or has_kind != kind or fortran:
        raise ModelError(f"{where} is {has_kind} {has_shape}, expected {kind} {shape}")
    data = raw[file.tell() :]
    if len(data) != _size(shape, kind):
        raise ModelError(f"{where} has {len(data)} bytes, expected {_size(shape, kind)}")
    array = np.frombuffer(data, kind).reshape(shape)
    if not np.isfinite(array).all():
        raise ModelError(f"{where} has numbers that are not finite")
    return array


def packed(arrays: Arrays) -> bytes:
    """An npz file; the same arrays give the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **dict(arrays))
    return file.getvalue()
