"""Bluesky posts from Jetstream, live, without an account: version 2 of its protocol, and version 1 as a second chance.

A cursor is good for one host and protocol. Elsewhere the stream is taken up by time, somewhat early; what comes twice then
has the same id. A host that fails before it delivers anything, or falls silent, is left for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Bundle, Gap, MalformedError
from listener.sources._jetstream_wire import (
    COLLECTION,
    LONGEST_EVENT,
    MICROSECOND,
    Head,
    head_of,
    instant,
    is_commit,
    microseconds,
    read,
    refusal_of,
    texts,
)
from listener.sources._jetstream_zstd import Dictionary, decompressed, dictionaries, read_dictionary
from listener.sources._json import cursor_of, encoded
from listener.sources._net import Net
from listener.sources._refusal import RefusedError
from listener.sources._socket import Socket
from listener.types import Delete, Post

__all__ = ["Options", "bundles", "parse", "posts", "texts"]

V1, V2 = "/subscribe", "/xrpc/network.bsky.jetstream.subscribeEvents"
IDS_NAME_AUTHORS = True  # at://DID/...
LONGEST_FRAME = 2**23  # what ends a connection
SHORTEST_GAP_US = 60_000_000  # version 1 says nothing about a cursor it can't serve: the first event tells
MOST_AT_ONCE = 500  # frames in one bundle
MOST_GARBLED = 10  # frames in a row that can't be decompressed; then the host is asked for uncompressed ones
REFUSED_FOR = timedelta(hours=6)  # a host that does not understand us will not do so in a minute
RETRY_FIRST, RETRY_MOST = timedelta(milliseconds=250), timedelta(seconds=30)  # the daemon's back-off, as Bluesky's own


@dataclass(frozen=True)
class Options:
    hosts: tuple[str, ...] = option(
        ("wss://jetstream.us-east.bsky.network", "wss://jetstream.us-west.bsky.network"),
        "servers that speak version 2, in order of preference",
    )
    legacy_hosts: tuple[str, ...] = option(
        ("wss://jetstream1.us-east.bsky.network", "wss://jetstream2.us-west.bsky.network"),
        "servers that speak version 1, tried after the others",
    )
    compress: bool = option(True, "ask version 2 for compressed events: half the traffic or less")
    zstd_dictionary: str = option("", "file with the dictionary of version 1; empty = its events come uncompressed")
    first_event: timedelta = option(timedelta(seconds=5), "silence after connecting that makes us leave a host")
    next_event: timedelta = option(timedelta(seconds=15), "silence between events that makes us leave a host")
    rewind: timedelta = option(timedelta(seconds=5), "how far to go back when taking up the stream by time")
    rewind_elsewhere: timedelta = option(
        timedelta(minutes=1), "the same on another host, which may have been ahead of the first"
    )
    longest_replay: timedelta = option(timedelta(hours=36), "after a longer absence go on live and record a gap")
    avoid: timedelta = option(timedelta(minutes=1), "how long to prefer other hosts after a failure")


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    host: str = ""
    protocol: str = ""
    seq: int = 0  # of the last event, for this host and version 2 only
    seq_us: int = 0  # when that event happened: a host that counts anew gives its number to another
    max_time_us: int = 0  # the largest so far: times are not in order


@dataclass(frozen=True, slots=True)
class _Start:
    """Where to take up the stream: at a sequence number, at a time in microseconds, or, with None, live."""

    host: str
    protocol: str
    position: int | None
    by_time: int | None  # the second best when the server no longer has the position

    def after_refusal(self) -> _Start:
        return replace(self, position=self.by_time if self.position != self.by_time else None)


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[bytes | Gap | None, str | None], None]:
    """Frames as they come, each with a cursor. Ends in a `SourceError`; the next call goes to a host that may be better."""
    async with aclosing(_followed(options, cursor, net, 1)) as followed:
        async for raw, new in followed:
            yield (raw[0] if isinstance(raw, tuple) else raw), new


async def bundles(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Bundle | Gap | None, str | None], None]:
    """The same frames, those that came together in one go, with the cursor behind the last of them."""
    async with aclosing(_followed(options, cursor, net, MOST_AT_ONCE)) as followed:
        async for raw, new in followed:
            yield (Bundle(raw) if isinstance(raw, tuple) else raw), new


async def _followed(
    options: Options, cursor: str | None, net: Net, most: int
) -> AsyncGenerator[tuple[tuple[bytes, ...] | Gap | None, str | None], None]:
    last = cursor_of(cursor, Cursor)
    v1_dictionary = await read_dictionary(options.zstd_dictionary) if options.zstd_dictionary else None
    start = _start(options, last, net)
    heard = False
    try:
        async with _opened(start, options, v1_dictionary, net) as stream:
            start = stream.start
            is_gap = start.position is None and last.max_time_us > 0
            if start.position != last.seq:  # taken up by time: what was heard elsewhere says nothing about numbers here
                last = msgspec.structs.replace(last, seq=0)
            while True:
                received = await stream.receive(most)
                frames: list[bytes] = []
                known = last
                for frame, head in stream.opened(received, is_followed=heard):
                    if head is None:
                        frames.append(frame)
                        continue
                    if head.type == "error" and frames:
                        yield tuple(frames), _encoded_if(last, known)
                    _check_end(head)
                    _check_numbers(last, head, is_first=not heard)
                    is_gap = is_gap or head.payload.name in ("OutdatedCursor", "FutureCursor")
                    if not head.at_us:
                        continue
                    stream.event_came()
                    if 0 < head.payload.seq <= last.seq:
                        continue  # one we had: the cursor is inclusive
                    if not heard and (is_gap or _is_clamped(start, head.at_us)):
                        yield Gap(instant(last.max_time_us), instant(head.at_us)), None
                    heard = True
                    newest = max(last.max_time_us, min(head.at_us, microseconds(net.now())))
                    last = Cursor(start.host, start.protocol, head.payload.seq, head.at_us, newest)
                    frames.append(frame)
                if frames:
                    yield tuple(frames), _encoded_if(last, known)
    except SourceError as error:
        if error.reason == "renumbered":
            yield None, encoded(msgspec.structs.replace(last, seq=0))  # the next call asks by time
        raise _after(error, start.host, options, net, heard=heard) from error


def _encoded_if(last: Cursor, known: Cursor) -> str | None:
    return encoded(last) if last is not known else None


def parse(raw: bytes | Gap, received_at: datetime) -> Post | Delete | None:
    """A post or an edit of one, or that a post or an account is gone. Other events, and adult posts, are None."""
    return None if isinstance(raw, Gap) else read(raw, received_at)


class _Stream:
    """An open connection, and how long it may go on without an event."""

    def __init__(
        self, socket: Socket, start: _Start, dictionary: Dictionary | None, options: Options, net: Net
    ) -> None:
        self.start = start
        self._socket = socket
        self._dictionary = dictionary
        self._next_event = options.next_event.total_seconds()
        self._left = options.first_event.total_seconds()
        self._garbled = 0
        self._net = net

    async def receive(self, most: int) -> list[bytes]:
        """The next messages, as many as are here. Only waiting counts as silence; messages that are no events do not break it."""
        clock = asyncio.get_running_loop().time
        asked = clock()
        if self._left <= 0:
            raise SourceError(f"{self.start.host}: messages, but no events", reason="silent")
        messages = await self._socket.receive_some(self._left, most)
        self._left -= clock() - asked
        return messages

    def event_came(self) -> None:
        self._left = self._next_event

    def opened(self, messages: Sequence[bytes], *, is_followed: bool) -> Iterator[tuple[bytes, Head | None]]:
        """Frames with their heads. None: not worth a look, since it lies between two numbers; or garbled, as `parse` tells."""
        for left, message in enumerate(messages, 1 - len(messages)):
            try:
                frame = self.decompressed(message)
                head = None if is_followed and left and is_commit(frame) else head_of(frame)
            except MalformedError:
                frame, head = message[:1000], None
            yield frame, head

    def decompressed(self, message: bytes) -> bytes:
        """Raises `MalformedError` for a bad one, and `SourceError` when that is the rule and not the exception."""
        try:
            frame = decompressed(message, self._dictionary)
        except MalformedError as error:
            self._garbled += 1
            if self._garbled < MOST_GARBLED:
                raise
            dictionaries(self._net).avoid(self.start.host, self._net.now())
            raise SourceError(f"{self.start.host}: {error}", reason="undecodable") from error
        self._garbled = 0
        return frame


def _hosts(options: Options) -> list[tuple[str, str]]:
    """Address and protocol of each host, in order of preference. `wss://` may be left out."""
    named = [*((host, "v2") for host in options.hosts), *((host, "v1") for host in options.legacy_hosts)]
    return [((host if "://" in host else f"wss://{host}").rstrip("/"), protocol) for host, protocol in named]


def _start(options: Options, last: Cursor, net: Net) -> _Start:
    """The host of the cursor, else the first that has not failed lately, and the position to ask it for."""
    hosts, before = _hosts(options), (last.host, last.protocol)
    if not hosts:
        raise SourceError("no host is named", reason="no_host", permanent=True)
    host, protocol = min(hosts, key=lambda host: (net.cooling(host[0]), host != before))
    if not last.max_time_us or net.now() - instant(last.max_time_us) > options.longest_replay:
        return _Start(host, protocol, None, None)
    is_same = (host, protocol) == before
    by_time = last.max_time_us - (options.rewind if is_same else options.rewind_elsewhere) // MICROSECOND
    return _Start(host, protocol, (is_same and last.seq) or by_time, by_time)


@asynccontextmanager
async def _opened(
    start: _Start, options: Options, v1_dictionary: Dictionary | None, net: Net
) -> AsyncIterator[_Stream]:
    """The stream from where we want it, or from what the server still has of it; compressed if both sides can."""
    known, host, is_renewed = dictionaries(net), start.host, False
    dictionary = v1_dictionary if start.protocol == "v1" else None
    if known.avoids(host, net.now()):
        dictionary = None
    elif start.protocol == "v2" and options.compress:
        dictionary = await known.get(host, net)
    async with AsyncExitStack() as stack:
        while True:
            try:
                socket = await stack.enter_async_context(_websocket(start, dictionary, net))
                break
            except RefusedError as refused:
                name = refusal_of(refused.body)
                if name == "CursorTooOld" and start.position is not None:
                    start = start.after_refusal()
                elif name == "UnknownZstdDictionary" and dictionary is not None and not is_renewed:
                    dictionary, is_renewed = await known.fetched(host, net), True
                elif refused.status == 400 and dictionary is not None:
                    known.avoid(host, net.now())
                    dictionary = None
                else:
                    raise
        yield _Stream(socket, start, dictionary, options, net)


def _websocket(start: _Start, dictionary: Dictionary | None, net: Net) -> AbstractAsyncContextManager[Socket]:
    asked: list[tuple[str, Any]] = [("maxMessageSizeBytes", LONGEST_EVENT)]
    if start.position is not None:
        asked.append(("cursor", start.position))
    if start.protocol == "v1":
        compressed = [("compress", "true")] if dictionary else []
        url = f"{start.host}{V1}?{urlencode([('wantedCollections', COLLECTION), *compressed, *asked])}"
        return net.websocket(url, max_size=LONGEST_FRAME)
    wanted = [("kinds", "commit"), ("kinds", "account"), ("collections", COLLECTION)]
    if dictionary:
        asked.append(("zstdDictionary", dictionary.number))
    url = f"{start.host}{V2}?{urlencode([*wanted, *asked])}"
    return net.websocket(url, subprotocols=["xrpc.v1.json"], max_size=LONGEST_FRAME)


def _check_end(head: Head) -> None:
    if head.type == "error":
        reason = "consumer_too_slow" if head.error == "ConsumerTooSlow" else "stream_error"
        raise SourceError(f"the server ended the stream: {head.error}", reason=reason)


def _check_numbers(last: Cursor, head: Head, *, is_first: bool) -> None:
    """A server that crashed or was set up again may give a number out twice: what lies between the two is not ours yet."""
    seq = head.payload.seq
    is_other = 0 < seq < last.seq or (0 < seq == last.seq and last.seq_us not in (0, head.at_us))
    if is_first and last.seq and (head.payload.name == "FutureCursor" or is_other):
        raise SourceError(f"{last.host} numbers its events anew", reason="renumbered")


def _is_clamped(start: _Start, first_us: int) -> bool:
    """Version 1 serves what it still has, and does not say so."""
    return start.protocol == "v1" and start.position is not None and first_us - start.position > SHORTEST_GAP_US


def _after(error: SourceError, host: str, options: Options, net: Net, *, heard: bool) -> SourceError:
    """Leave a host in trouble alone for a while. The daemon needs to wait that long only when it is so with all of them."""
    reason, asked = error.reason, error.retry_after or 0.0
    if isinstance(error, RefusedError) and refusal_of(error.body) == "InvalidRequest":
        reason, asked = "invalid_request", REFUSED_FOR.total_seconds()
    if asked or not heard or reason in ("silent", "undecodable"):
        net.cool_down(host, max(asked, options.avoid.total_seconds(), net.cooling(host)))
    soonest = min(net.cooling(other) for other, _ in _hosts(options)) if asked else None
    return SourceError(str(error), reason=reason, retry_after=soonest or None, permanent=error.permanent)
