"""Files that hold data and can't run code: JSON of a known form and arrays of known names, shapes and types.

Whatever a file claims is checked before memory is given to it. Every failure is a `ModelError` that says which file, and what.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from listener.errors import ModelError

LARGEST = 10 * 1024 * 1024  # bytes of any one file, and of the arrays together once unpacked
_HEADER = 256  # more bytes than any array header written here
_DESCRIBED = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([^']+)', 'fortran_order': False, 'shape': \(((?:[0-9]+, ?)*[0-9]*)\), \} *\n",
    re.DOTALL,
)  # an npy file as NumPy writes it; read by ourselves, for NumPy's reader parses headers as Python

S = TypeVar("S", bound=msgspec.Struct)
Arrays = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


def bytes_of(path: Path) -> bytes:
    """A file of a model, never more than `LARGEST` of it.

    A link is not followed (the model's folder itself may be one): what it points to is not part of the model. A pipe or
    a device, which might never end, is not read.
    """
    try:
        if path.is_symlink():
            raise ModelError(f"{path}: a link; a model's files must be files of its own")
        with open(path, "rb", opener=_unlinked) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelError(f"{path}: not an ordinary file")
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    if len(raw) > LARGEST:
        raise ModelError(f"{path}: larger than {LARGEST // 2**20} MB; this is no model of ours")
    return raw


def _unlinked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def decoded(raw: bytes, into: type[S], path: Path) -> S:
    try:
        return msgspec.json.decode(raw, type=into)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error


def digest_of(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def unpacked(raw: bytes, wanted: Shapes, path: Path) -> Arrays:
    """The arrays of an npz file, whose names, shapes and types must be those wanted; headers are read before the data."""
    made = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = sorted(info.filename for info in archive.infolist())
            if {info.compress_type for info in archive.infolist()} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise ModelError(f"{path}: packed in a way that `listener train` does not")
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
        zlib.error,
    ) as error:
        raise ModelError(f"{path}: {error}") from error
    return made


def _size(shape: tuple[int, ...], kind: np.dtype[Any]) -> int:
    return int(np.prod(shape)) * kind.itemsize


def _array(raw: bytes, shape: tuple[int, ...], kind: np.dtype[Any], where: str) -> NDArray[Any]:
    found = _DESCRIBED.match(raw[:_HEADER])
    if found is None or found.end() != 10 + int.from_bytes(raw[8:10], "little"):
        raise ModelError(f"{where}: not an array as written by `listener train`")
    has_kind, has_shape = found[1].decode("latin-1"), tuple(map(int, re.findall(rb"[0-9]+", found[2])))
    if has_shape != shape or has_kind != kind.str:
        raise ModelError(f"{where} is {has_kind!r} {has_shape}, expected {kind.str!r} {shape}")
    data = raw[found.end() :]
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
