"""Compressed frames of Jetstream: each is one zstd frame, made with a dictionary that never changes under its number."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from weakref import WeakKeyDictionary

import zstandard

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources._dates import EPOCH
from listener.sources._jetstream_wire import LONGEST_EVENT
from listener.sources._net import Net
from listener.sources._refusal import RefusedError

CURRENT = "/xrpc/network.bsky.jetstream.getZstdDictionary"
V1_NUMBER = 1_612_007_021  # of the one dictionary version 1 will ever have
MAGIC = b"\x28\xb5\x2f\xfd"  # no JSON begins like this
LONGEST_DICTIONARY = 2**20
KEPT = 4
IN_TIME = 5  # seconds; without a dictionary events come all the same, only larger
UNCOMPRESSED_FOR = timedelta(hours=1)


class Dictionary:
    """Raises `MalformedError` when the bytes are no dictionary."""

    def __init__(self, data: bytes) -> None:
        if len(data) > LONGEST_DICTIONARY:
            raise MalformedError("dictionary: too large")
        content = zstandard.ZstdCompressionDict(data)
        self.number = content.dict_id()
        if not self.number:
            raise MalformedError("dictionary: has no number")
        try:
            self._decompressor = zstandard.ZstdDecompressor(dict_data=content)
            self._decompressor.decompress(zstandard.ZstdCompressor(dict_data=content).compress(b"{}"))
        except zstandard.ZstdError as error:
            raise MalformedError(f"dictionary: {error}") from error

    def decompressed(self, frame: bytes) -> bytes:
        return self._decompressor.decompress(frame, max_output_size=LONGEST_EVENT, allow_extra_data=False)


def decompressed(message: bytes, dictionary: Dictionary | None) -> bytes:
    """The event in a message, which may not be compressed at all.

    Raises `MalformedError` for a broken one, and for a large one before it grows.
    """
    if not message.startswith(MAGIC):
        return message
    if dictionary is None:
        raise MalformedError("event: compressed, which was not asked for")
    try:
        size = zstandard.get_frame_parameters(message).content_size
        if size != zstandard.CONTENTSIZE_UNKNOWN and size > LONGEST_EVENT:
            raise MalformedError(f"event: {size} bytes when decompressed")
        return dictionary.decompressed(message)
    except zstandard.ZstdError as error:
        raise MalformedError(f"event: {error}") from error


class Dictionaries:
    """Those fetched so far, which host uses which, and which hosts are better asked for uncompressed events."""

    def __init__(self) -> None:
        self._by_number: dict[int, Dictionary] = {}
        self._number_of: dict[str, int] = {}
        self._uncompressed_until: dict[str, datetime] = {}

    def avoids(self, host: str, now: datetime) -> bool:
        return now < self._uncompressed_until.get(host, EPOCH)

    def avoid(self, host: str, now: datetime) -> None:
        self._uncompressed_until[host] = now + UNCOMPRESSED_FOR

    async def get(self, host: str, net: Net) -> Dictionary | None:
        """What to offer a host: the one it used last, or any we have, or its current one. None: uncompressed events."""
        number = self._number_of.get(host) or next(reversed(self._by_number), 0)
        return self._by_number.get(number) or await self.fetched(host, net)

    async def fetched(self, host: str, net: Net) -> Dictionary | None:
        """A host's current one."""
        try:
            async with asyncio.timeout(IN_TIME):
                answer = await net.get(f"http{host.removeprefix('ws')}{CURRENT}")
            made = Dictionary(answer.body)
        except (RefusedError, MalformedError):
            self.avoid(host, net.now())
            return None
        except (SourceError, TimeoutError):
            return None
        self._number_of[host] = made.number
        self._by_number[made.number] = made
        for number in list(self._by_number)[:-KEPT]:
            del self._by_number[number]
        return made


_known: WeakKeyDictionary[Net, Dictionaries] = WeakKeyDictionary()


def dictionaries(net: Net) -> Dictionaries:
    """What this process has fetched over one network edge: kept from one connection to the next, never on disk."""
    return _known.setdefault(net, Dictionaries())


async def read_dictionary(path: str) -> Dictionary:
    """The dictionary of version 1, which no server gives out. Raises `SourceError` when the file is another."""
    try:
        made = Dictionary(await asyncio.to_thread(Path(path).read_bytes))
    except (OSError, MalformedError) as error:
        raise SourceError(f"{path}: {error}", reason="dictionary", permanent=True) from error
    if made.number != V1_NUMBER:
        message = f"{path}: dictionary {made.number}, not version 1's {V1_NUMBER}"
        raise SourceError(message, reason="dictionary", permanent=True)
    return made
