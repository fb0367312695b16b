"""The lines of an archive's files, however they are packed: JSON Lines plain, gzip or zstd, and Parquet, a row a line.

What a file is, its first bytes say and not its name. Files are read from beginning to end in little memory; a damaged one is
an `InputError` that says how far it could be read.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import zstandard

from listener.errors import InputError
from listener.sources.jsonl import LONGEST_LINE, parse_line
from listener.types import Post

_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_CHUNK = 2**16  # bytes read at a time; of zstd less, since a few may unpack to a great many
_ROWS = 2000  # of a Parquet file, at a time
_COLUMNS = ("text", "id", "source", "author", "created_at", "received_at", "lang", "place", "region", "url", "kind")
_NEVER = datetime.max.replace(tzinfo=UTC)


class Line(NamedTuple):
    """A line of an archive and its number in its file, from 1."""

    raw: bytes
    number: int


def lines(path: Path) -> Iterator[bytes]:
    """Every line, blank ones too. Raises `InputError` for a file that can't be read, or only up to some line."""
    count = 0
    try:
        with path.open("rb") as file:
            for line in _unpacked(file, path):
                count += 1
                yield line
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise InputError(f"{path}: damaged gzip file, readable up to line {count}: {error}") from error
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file, readable up to line {count}: {error}") from error
    except zstandard.ZstdError as error:
        raise InputError(f"{path}: damaged zstd file, readable up to line {count}: {error}") from error


def _unpacked(file: IO[bytes], path: Path) -> Iterator[bytes]:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP):
        with gzip.open(file) as unpacked:
            yield from _split(iter(lambda: unpacked.read(_CHUNK), b""))
    elif magic == _ZSTD:
        yield from _split(_of_zstd(file))
    elif magic == _PARQUET:
        yield from _rows(path)
    else:
        yield from _split(iter(lambda: file.read(_CHUNK), b""))


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines with their ends cut off. One that is far too long is cut, so that whoever parses it says so."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        rest = rest[: LONGEST_LINE + 1]
    if rest:
        yield rest


def _of_zstd(file: IO[bytes]) -> Iterator[bytes]:
    """Frame after frame; one that ends too early is an error, which `stream_reader` would not tell."""
    left = b""
    while chunk := left or file.read(_CHUNK // 8):
        left = b""
        frame = zstandard.ZstdDecompressor().decompressobj()
        while chunk:
            yield frame.decompress(chunk)
            if frame.eof:
                left = frame.unused_data
                break
            chunk = file.read(_CHUNK // 8)
        if not frame.eof:
            raise zstandard.ZstdError("it ends within a frame")


def _rows(path: Path) -> Iterator[bytes]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise InputError(f"{path}: a Parquet file needs pyarrow: pip install 'outage-listener[parquet]'") from error
    count = 0
    try:
        with parquet.ParquetFile(path) as table:
            columns = [name for name in _COLUMNS if name in table.schema_arrow.names]
            if "text" not in columns:
                raise InputError(f"{path}: no column text among {', '.join(table.schema_arrow.names)[:200]}")
            for batch in table.iter_batches(_ROWS, columns=columns):
                for row in batch.to_pylist():
                    yield msgspec.json.encode({name: _cell(value) for name, value in row.items() if value is not None})
                    count += 1
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"{path}: damaged Parquet file, readable up to row {count}: {reason}") from error


def _cell(value: Any) -> Any:
    """Times without a zone are UTC; what is no JSON is its text, and refused as such."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return value if isinstance(value, str | int | list) else str(value)


def some(iterator: Iterator[Any], most: int) -> Iterator[list[Any]]:
    """Lists of at most so many, until there is nothing left."""
    while part := list(islice(iterator, most)):
        yield part


def post_of(line: bytes, number: int) -> Post:
    """A post of an archive: when nothing says when it arrived, it arrived when it was written."""
    post = parse_line(line, number, _NEVER)
    if post.received_at == _NEVER:
        if post.created_at == _NEVER:
            raise ValueError("an archived post needs created_at or received_at")
        post = replace(post, received_at=post.created_at)
    return post
