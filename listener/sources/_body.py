"""Reads the body of an answer with caps on both sides of the decompressor, so that a bomb is met before it goes off."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator

from listener.errors import SourceError

_PART = 2**16
_MIB = 2**20


async def bounded(chunks: AsyncIterator[bytes], encoding: str, *, wire: int, decoded: int, ratio: int) -> bytes:
    """The decoded body of at most `wire` bytes received and `decoded` bytes made of them."""
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise SourceError(f"answered in {encoding!r}, which was not asked for", reason="encoding")
    gunzip = _Gunzip() if encoding.endswith("gzip") else None
    received, body = 0, bytearray()
    try:
        async for chunk in chunks:
            received += len(chunk)
            for part in gunzip.feed(chunk) if gunzip else (chunk,):
                body += part
                is_bomb = len(body) > max(_MIB, ratio * received)
                if is_bomb or len(body) > decoded or received > wire:
                    raise SourceError("the answer is too large", reason="too_large")
    except zlib.error as error:
        raise SourceError(f"broken gzip: {error}", reason="encoding") from error
    if gunzip and received and not gunzip.is_complete:
        raise SourceError("the answer ends half-way", reason="protocol")
    return bytes(body)


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
