"""JSON into typed values: what upstream sends, which may be anything, and cursors, which are our own."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from listener.sources import MalformedError

T = TypeVar("T")


def decoded(data: bytes | str, into: type[T], what: str) -> T:
    """Raises `MalformedError` that begins with `what`."""
    try:
        return msgspec.json.decode(data, type=into)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"{what}: {error}") from error


def converted(value: Any, into: type[T], what: str) -> T:
    """The same for what is decoded already."""
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        raise MalformedError(f"{what}: {error}") from error


def cursor_of(text: str | None, into: type[T]) -> T:
    """The value a kind wrote as its cursor; an empty one when there is none, or another kind wrote it."""
    try:
        return decoded(text or "{}", into, "cursor")
    except MalformedError:
        return into()


def encoded(cursor: msgspec.Struct) -> str:
    return msgspec.json.encode(cursor).decode()
