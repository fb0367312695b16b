"""Reads the body of an answer with caps on both sides of the decompressor, so that a bomb is met before it goes off."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator

import brotli  # type: ignore[import-untyped]  # ships no types

from listener.errors import SourceError

ENCODINGS = "gzip, br"  # what is asked for: what can be read in parts
_PART = 2**16
_MIB = 2**20


async def bounded(chunks: AsyncIterator[bytes], encoding: str, *, wire: int, decoded: int, ratio: int) -> bytes:
    """The decoded body of at most `wire` bytes received and `decoded` bytes made of them."""
    encoding = encoding.strip().lower()
    unpack = _unpacking(encoding)
    received, body = 0, bytearray()
    try:
        async for chunk in chunks:
            received += len(chunk)
            for part in unpack.feed(chunk) if unpack else (chunk,):
                body += part
                is_bomb = len(body) > max(_MIB, ratio * received)
                if is_bomb or len(body) > decoded or received > wire:
                    raise SourceError("the answer is too large", reason="too_large")
    except (zlib.error, brotli.error) as error:
        raise SourceError(f"broken {encoding}: {error}", reason="encoding") from error
    if unpack and received and not unpack.is_complete:
        raise SourceError("the answer ends half-way", reason="protocol")
    return bytes(body)


def _unpacking(encoding: str) -> _Gunzip | _Unbrotli | None:
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip"):
        return _Gunzip()
    if encoding == "br":
        return _Unbrotli()
    raise SourceError(f"answered in {encoding!r}, which was not asked for", reason="encoding")


class _Gunzip:
    """Decompresses in small parts. Several gzip members in a row are one body; what follows the last is ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._rest = b""  # after the end of a member: the start of the next one, or rubbish
        self.is_complete = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        chunk, self._rest = self._rest + chunk, b""
        while chunk:
            if self.is_complete:
                if len(chunk) < 2:
                    self._rest = chunk
                    return
                if chunk[:2] != b"\x1f\x8b":
                    return
                self._member, self.is_complete = zlib.decompressobj(wbits=31), False
            yield self._member.decompress(chunk, _PART)
            self.is_complete = self._member.eof
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail


class _Unbrotli:
    """Decompresses in small parts. The format has no members: what follows its end is an error of the server."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self.is_complete = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        while part := self._stream.process(chunk, output_buffer_limit=_PART):
            yield part
            chunk = b""  # it has been taken in; what is left of it comes out in the next parts
            if self._stream.is_finished():
                break
        self.is_complete = self._stream.is_finished()
