"""Bluesky posts from Jetstream, live, without an account: version 2 of its protocol, and version 1 as a second chance.

A cursor is good for one host and protocol. Elsewhere the stream is taken up by time, a few seconds early; what comes twice
then has the same id. A host that fails before it delivers anything, or falls silent, is left for the next one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Gap, MalformedError
from listener.sources._dates import EPOCH, iso
from listener.sources._json import cursor_of, decoded, encoded
from listener.sources._net import Net
from listener.sources._refusal import RefusedError
from listener.sources._socket import Socket
from listener.sources._text import primary_languages
from listener.types import Delete, Post, PostKind

COLLECTION = "app.bsky.feed.post"
V1, V2 = "/subscribe", "/xrpc/network.bsky.jetstream.subscribeEvents"
LONGEST_EVENT = 2**20  # larger ones are not sent to us, or else skipped
LONGEST_FRAME = 2**23  # what ends a connection
SHORTEST_GAP_US = 60_000_000  # version 1 says nothing about a cursor it can't serve: the first event tells
ADULT = frozenset({"porn", "sexual", "nudity", "graphic-media"})
HIDDEN = frozenset({"deleted", "takendown", "suspended", "deactivated"})
MICROSECOND = timedelta(microseconds=1)


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
    first_event: timedelta = option(timedelta(seconds=5), "silence after connecting that makes us leave a host")
    next_event: timedelta = option(timedelta(seconds=15), "silence between events that makes us leave a host")
    rewind: timedelta = option(timedelta(seconds=5), "how far to go back when taking up the stream by time")
    longest_replay: timedelta = option(timedelta(hours=36), "after a longer absence go on live and record a gap")
    avoid: timedelta = option(timedelta(minutes=1), "how long to prefer other hosts after a failure")


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    host: str = ""
    protocol: str = ""
    seq: int = 0  # of the last event, for this host and version 2 only
    max_time_us: int = 0  # the largest so far: times are not in order


@dataclass(frozen=True, slots=True)
class _Start:
    """Where to take up the stream: at a sequence number, at a time in microseconds, or, with None, live."""

    host: str
    protocol: str
    position: int | None


class _PayloadHead(msgspec.Struct, frozen=True, rename={"type": "$type"}):
    type: str = ""
    seq: int = 0
    time: str = ""
    name: str = ""


class _Head(msgspec.Struct, frozen=True, rename={"type": "$type"}):
    """What both protocols say of any frame."""

    type: str = ""
    time_us: int = 0
    payload: _PayloadHead = _PayloadHead()
    error: str = ""


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[bytes | Gap, str | None], None]:
    """Frames as they come, each with a cursor. Ends in a `SourceError`; the next call goes to a host that may be better."""
    last = cursor_of(cursor, Cursor)
    start = _start(options, last, net)
    heard = False
    try:
        async with _opened(start, net) as (socket, start):
            is_gap = start.position is None and last.max_time_us > 0
            if start.position != last.seq:  # taken up by time: what was heard elsewhere says nothing about numbers here
                last = msgspec.structs.replace(last, seq=0)
            while True:
                frame = await socket.receive((options.next_event if heard else options.first_event).total_seconds())
                try:
                    head = decoded(frame, _Head, "event")
                except MalformedError:
                    yield frame[:1000], None  # counted by `parse`
                    continue
                _check_end(head)
                is_gap = is_gap or head.payload.name == "OutdatedCursor"
                time_us = head.time_us or _microseconds(iso(head.payload.time) or EPOCH)
                if not time_us or (0 < head.payload.seq <= last.seq and time_us <= last.max_time_us):
                    continue  # no event, or one we had: the cursor is inclusive
                if not heard and (is_gap or _is_clamped(start, time_us)):
                    yield Gap(_instant(last.max_time_us), _instant(time_us)), None
                heard = True
                newest = max(last.max_time_us, min(time_us, _microseconds(net.now())))
                last = Cursor(start.host, start.protocol, head.payload.seq, newest)
                yield frame, encoded(last)
    except SourceError as error:
        if error.reason == "silent" or not heard:
            net.cool_down(start.host, options.avoid.total_seconds())
        raise


class _Commit(msgspec.Struct):
    operation: str
    collection: str
    rkey: str = ""
    record: dict[str, Any] | None = None


class _Account(msgspec.Struct):
    active: bool = True
    status: str | None = None


class _Event(msgspec.Struct):
    """An event of version 1."""

    did: str
    time_us: int
    commit: _Commit | None = None
    account: _Account | None = None


class _Payload(msgspec.Struct):
    """An event of version 2: a commit is not wrapped."""

    did: str = ""
    time: str = ""
    operation: str = ""
    collection: str = ""
    rkey: str = ""
    record: dict[str, Any] | None = None
    account: _Account | None = None


class _Message(msgspec.Struct):
    payload: _Payload


def parse(raw: bytes | Gap, received_at: datetime) -> Post | Delete | None:
    """A post or an edit of one, or that a post or an account is gone. Other events, and adult posts, are None."""
    if isinstance(raw, Gap):
        return None
    if len(raw) > LONGEST_EVENT:
        raise MalformedError(f"event: larger than {LONGEST_EVENT} bytes")
    if decoded(raw, _Head, "event").type:
        payload = decoded(raw, _Message, "event").payload
        at = iso(payload.time) or received_at
        commit = _Commit(payload.operation, payload.collection, payload.rkey, payload.record)
        return _read(payload.did, at, commit, payload.account, received_at)
    event = decoded(raw, _Event, "event")
    return _read(event.did, _instant(event.time_us), event.commit, event.account, received_at)


def _read(
    did: str, at: datetime, commit: _Commit | None, account: _Account | None, received_at: datetime
) -> Post | Delete | None:
    if account is not None:
        is_gone = not account.active and account.status in HIDDEN
        return Delete(source="jetstream", at=at, author=did) if is_gone else None
    if commit is None or commit.collection != COLLECTION:
        return None
    if not did.startswith("did:") or not commit.rkey:
        raise MalformedError("event: a post without an author or a key")
    uri = f"jetstream:at://{did}/{COLLECTION}/{commit.rkey}"
    if commit.operation == "delete":
        return Delete(source="jetstream", at=at, post_id=uri)
    record = commit.record or {}
    text, embed = record.get("text"), _table(record.get("embed"))
    if not isinstance(text, str):
        raise MalformedError("event: a post without text")
    if ADULT.intersection(_labels(record)):
        return None
    declared = record.get("createdAt")
    created_at = iso(declared) if isinstance(declared, str) else None
    langs = record.get("langs")
    return Post(
        id=uri,
        source="jetstream",
        text="\n".join(part for part in (text, _card(embed, text)) if part),
        created_at=min(created_at or at, at),
        received_at=received_at,
        author=did,
        kind=_kind(record, embed),
        languages=primary_languages(langs if isinstance(langs, list) else []),
        url=f"https://bsky.app/profile/{did}/post/{commit.rkey}",
    )


def _kind(record: dict[str, Any], embed: dict[str, Any]) -> PostKind:
    if record.get("reply"):
        return PostKind.REPLY
    is_quote = embed.get("$type") in ("app.bsky.embed.record", "app.bsky.embed.recordWithMedia")
    return PostKind.QUOTE if is_quote else PostKind.POST


def _card(embed: dict[str, Any], text: str) -> str:
    """The title of the page a post links to, unless the post repeats it."""
    title = _table(embed.get("external")).get("title")
    return title[:300] if isinstance(title, str) and title not in text else ""


def _labels(record: dict[str, Any]) -> set[str]:
    values = _table(record.get("labels")).get("values")
    return {str(_table(value).get("val")) for value in (values if isinstance(values, list) else [])}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _start(options: Options, last: Cursor, net: Net) -> _Start:
    """The host of the cursor, else the first that has not failed lately, and the position to ask it for."""
    hosts = [*((h, "v2") for h in options.hosts), *((h, "v1") for h in options.legacy_hosts)]
    if not hosts:
        raise SourceError("no host is named", reason="no_host", permanent=True)
    hosts.sort(key=lambda host: (net.cooling(host[0]), host != (last.host, last.protocol)))
    host, protocol = hosts[0]
    position = None
    if last.max_time_us and net.now() - _instant(last.max_time_us) <= options.longest_replay:
        position = last.max_time_us - options.rewind // MICROSECOND
        if protocol == "v2" and (host, protocol) == (last.host, last.protocol):
            position = last.seq or position
    return _Start(host, protocol, position)


@asynccontextmanager
async def _opened(start: _Start, net: Net) -> AsyncIterator[tuple[Socket, _Start]]:
    """The stream from where we want it, or live when the server no longer has that."""
    async with AsyncExitStack() as stack:
        try:
            socket = await stack.enter_async_context(_websocket(start, net))
        except RefusedError as refused:
            if start.position is None or b"CursorTooOld" not in refused.body:
                raise
            start = replace(start, position=None)
            socket = await stack.enter_async_context(_websocket(start, net))
        yield socket, start


def _websocket(start: _Start, net: Net) -> AbstractAsyncContextManager[Socket]:
    asked: list[tuple[str, Any]] = [("maxMessageSizeBytes", LONGEST_EVENT)]
    if start.position is not None:
        asked.append(("cursor", start.position))
    if start.protocol == "v1":
        url = f"{start.host}{V1}?{urlencode([('wantedCollections', COLLECTION), *asked])}"
        return net.websocket(url, max_size=LONGEST_FRAME)
    wanted = [("kinds", "commit"), ("kinds", "account"), ("collections", COLLECTION)]
    url = f"{start.host}{V2}?{urlencode([*wanted, *asked])}"
    return net.websocket(url, subprotocols=["xrpc.v1.json"], max_size=LONGEST_FRAME)


def _check_end(head: _Head) -> None:
    if head.type == "error":
        reason = "consumer_too_slow" if head.error == "ConsumerTooSlow" else "stream_error"
        raise SourceError(f"the server ended the stream: {head.error}", reason=reason)


def _is_clamped(start: _Start, first_us: int) -> bool:
    """Version 1 serves what it still has, and does not say so."""
    return start.protocol == "v1" and start.position is not None and first_us - start.position > SHORTEST_GAP_US


def _instant(us: int) -> datetime:
    return EPOCH + us * MICROSECOND


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND
