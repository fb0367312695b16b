"""Nostr notes under hashtags, from several relays at once: what one relay lacks another has, and what two have counts once.

A relay is trusted with delivery only: an event whose id is not the hash of its content is malformed. Signatures are not
checked, so an author is as true as the relays one has chosen. A relay that fails is left alone for a while; only when all
of them have failed does the source give up.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Gap, MalformedError
from listener.sources._dates import EPOCH
from listener.sources._json import converted, cursor_of, decoded, encoded
from listener.sources._net import Net
from listener.sources._socket import Socket
from listener.sources._text import collapse, primary_languages
from listener.types import Delete, Post, PostKind

NOTE, DELETION = 1, 5
LIVE, PAST, GONE = "live", "past", "gone"  # our subscriptions: what is new, what is older, what was deleted
PAGE, PAGES = 200, 50  # stored notes in one answer, and answers of one relay
REMEMBERED = 5_000  # notes, so that what two relays have counts once
WATCHED = 200  # notes whose deletion is asked for
CLOSED = frozenset({"auth_required", "blocked", "error", "invalid", "pow", "rate_limited", "restricted", "unsupported"})
LATE = 900  # seconds after which a note is not expected to reach a relay any more
LONGEST_ABSENCE = 86_400  # seconds
LONGEST_TEXT = 4_000


@dataclass(frozen=True)
class Options:
    hosts: tuple[str, ...] = option(
        ("wss://relay.damus.io", "wss://nos.lol", "wss://relay.primal.net"), "relays, all of them asked at once"
    )
    tags: tuple[str, ...] = option(("instagram", "instagramdown", "outage"), "hashtags, without #")
    pulse: timedelta = option(
        timedelta(minutes=1), "how often to ask a relay for deletions; no answer means it is gone"
    )
    rewind: timedelta = option(timedelta(minutes=2), "how far to go back when taking up the stream")
    avoid: timedelta = option(timedelta(minutes=5), "how long to leave a relay alone after it failed")


@dataclass(frozen=True, slots=True)
class Raw:
    """An event, or, with `gone`, the note it asks to delete."""

    event: dict[str, Any]
    gone: str = ""


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    last: dict[str, int] = {}  # relay -> when its newest note was written, in seconds
    watched: dict[str, str] = {}  # note -> its author, who alone may delete it


class _Event(msgspec.Struct):
    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str


@dataclass
class _State:
    """What all relays share."""

    last: dict[str, int]
    watched: dict[str, str]
    seen: dict[str, None] = field(default_factory=dict)

    def remember(self, event: _Event) -> bool:
        """Whether a note is new."""
        is_new = event.id not in self.seen
        self.seen[event.id] = None
        if is_new:
            self.watched[event.id] = event.pubkey
        for kept, most in ((self.seen, REMEMBERED), (self.watched, WATCHED)):
            while len(kept) > most:
                del kept[next(iter(kept))]
        return is_new

    def reached(self, relay: str, second: int) -> None:
        self.last[relay] = max(self.last[relay], second)

    def cursor(self) -> str:
        return encoded(Cursor(self.last, self.watched))


_Heard = AsyncGenerator[tuple[dict[str, Any] | None, bool], None]


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Gap | None, str | None], None]:
    """Notes and deletions as relays bring them; a heartbeat whenever a relay has answered."""
    if not options.hosts or not options.tags:
        raise SourceError("no relay or no hashtag is named", reason="no_tags", permanent=True)
    before, now = cursor_of(cursor, Cursor), _seconds(net.now())
    oldest = now - LONGEST_ABSENCE
    if before.last and max(before.last.values()) < oldest:
        yield Gap(_instant(max(before.last.values())), _instant(oldest)), None
    last = {relay: max(before.last.get(relay, now), oldest) for relay in options.hosts}
    state, failed = _State(last, dict(before.watched)), dict[str, SourceError]()
    relays = {relay: _listen(relay, state, options, net) for relay in options.hosts}
    waiting = {asyncio.ensure_future(anext(heard)): relay for relay, heard in relays.items()}
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                relay = waiting.pop(task)
                try:
                    event, is_complete = task.result()
                except SourceError as error:
                    failed[relay] = error
                    if len(failed) == len(relays):
                        raise
                    relays[relay] = _listen(relay, state, options, net, after=options.avoid)
                else:
                    failed.pop(relay, None)
                    for raw in _made(event, state, relay, _seconds(net.now()) if is_complete else None):
                        yield raw, state.cursor() if is_complete else None
                waiting[asyncio.ensure_future(anext(relays[relay]))] = relay
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for heard in relays.values():
            await heard.aclose()


def parse(raw: Raw | Gap, received_at: datetime) -> Post | Delete | None:
    """A post of a note; a deletion of one that its author asks for."""
    if isinstance(raw, Gap):
        return None
    event = _verified(raw.event)
    at = min(_instant(max(event.created_at, 0)), received_at)
    if raw.gone:
        return Delete(source="nostr", at=at, post_id=f"nostr:{raw.gone}")
    if event.kind != NOTE:
        return None
    declared = [tag[1] for tag in event.tags if len(tag) > 2 and (tag[0], tag[2]) == ("l", "ISO-639-1")]
    return Post(
        id=f"nostr:{event.id}",
        source="nostr",
        text=collapse(event.content)[:LONGEST_TEXT],
        created_at=at,
        received_at=received_at,
        author=event.pubkey,
        kind=_kind(event),
        languages=primary_languages(declared),
    )


def _kind(event: _Event) -> PostKind:
    if any(tag[:1] == ["e"] and tag[3:4] != ["mention"] for tag in event.tags):
        return PostKind.REPLY
    return PostKind.QUOTE if any(tag[:1] == ["q"] for tag in event.tags) else PostKind.POST


def _made(event: dict[str, Any] | None, state: _State, relay: str, now: int | None) -> list[Raw | None]:
    """What is new in what a relay said. `now` moves its place in the cursor; None while older notes are outstanding."""
    if event is None:
        state.reached(relay, 0 if now is None else now - LATE)
        return [None]
    try:
        read = _verified(event)
    except MalformedError:
        return [Raw(event)]  # counted by `parse`; not remembered, so that a forger can't hide the true one
    if now is not None:
        state.reached(relay, min(read.created_at, now))
    if read.kind == DELETION:
        named = [tag[1] for tag in read.tags if tag[:1] == ["e"] and len(tag) > 1]
        gone = [note for note in dict.fromkeys(named) if state.watched.get(note) == read.pubkey]
        for note in gone:
            del state.watched[note]
        return [Raw(event, note) for note in gone]
    return [Raw(event)] if state.remember(read) else []


async def _listen(relay: str, state: _State, options: Options, net: Net, *, after: timedelta = timedelta(0)) -> _Heard:
    """Events of one relay, and None when it gave another sign of life; with each, whether it has told all it has stored."""
    if after:
        await net.sleep(net.spread(after))
    since = state.last[relay] - options.rewind // timedelta(seconds=1)
    wanted = {"kinds": [NOTE], "#t": list(options.tags), "since": since, "limit": PAGE}
    async with net.websocket(relay) as socket:
        await _request(socket, LIVE, wanted)
        ask_at, is_quiet, notice = _tick() + options.pulse.total_seconds(), True, ""
        is_complete, here, page, pages = False, set[str](), dict[str, int](), 0
        while True:
            frame = await _frame(socket, ask_at - _tick())
            if frame is None:
                if is_quiet:
                    raise SourceError(f"{relay}: no answer. {notice}".strip(), reason="silent")
                await _request(socket, GONE, _deleted(options, state))
                ask_at, is_quiet = _tick() + options.pulse.total_seconds(), True
                continue
            is_quiet = False
            match frame:
                case ["EVENT", name, dict(event)]:
                    if not is_complete and name != GONE:
                        page[str(event.get("id"))] = _written(event, since)
                    yield event, is_complete
                case ["EOSE", "live" | "past"] if not is_complete:
                    fresh, pages, page = {id: at for id, at in page.items() if id not in here}, pages + 1, {}
                    is_complete = not fresh or pages == PAGES
                    if not is_complete:  # there may be more than a relay gives at once
                        here |= fresh.keys()
                        await _request(socket, PAST, {**wanted, "until": max(min(fresh.values()), since)})
                        continue
                    await socket.send(json.dumps(["CLOSE", PAST]))
                    yield None, True
                case ["EOSE", "gone"] | ["CLOSED", "gone", *_]:
                    yield None, is_complete
                case ["CLOSED", _, *why]:
                    raise _closed(relay, str(why[0]) if why else "")
                case ["NOTICE", str(text), *_]:
                    notice = text[:200]
                case _:
                    pass


async def _frame(socket: Socket, within: float) -> list[Any] | None:
    """The next message; None when none came in time. What is no message stands for an event that is none."""
    try:
        frame = await socket.receive(max(within, 0.01))
    except SourceError as error:
        if error.reason == "silent":
            return None
        raise
    try:
        return decoded(frame, list[Any], "message")
    except MalformedError:
        return ["EVENT", GONE, {}]


async def _request(socket: Socket, name: str, wanted: dict[str, Any]) -> None:
    await socket.send(json.dumps(["REQ", name, wanted], ensure_ascii=False))


def _deleted(options: Options, state: _State) -> dict[str, Any]:
    if state.watched:
        return {"kinds": [DELETION], "#e": list(state.watched), "limit": PAGE}
    return {"kinds": [DELETION], "#t": list(options.tags), "limit": 1}  # for the answer's sake


def _closed(relay: str, why: str) -> SourceError:
    """A relay says why in a word and a colon, such as `rate-limited: slow down`."""
    prefix = why.partition(":")[0].replace("-", "_")
    reason = prefix if prefix in CLOSED else "closed"
    return SourceError(f"{relay} closed the subscription: {why[:200]}", reason=reason)


def _verified(event: dict[str, Any]) -> _Event:
    read = converted(event, _Event, "event")
    signed = [0, read.pubkey, read.created_at, read.kind, read.tags, read.content]
    text = json.dumps(signed, ensure_ascii=False, separators=(",", ":"))
    if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() != read.id:
        raise MalformedError("event: its id is not the hash of its content")
    return read


def _written(event: dict[str, Any], otherwise: int) -> int:
    at = event.get("created_at")
    return at if isinstance(at, int) else otherwise


def _tick() -> float:
    """Seconds that only grow: how long a relay is silent is no matter of the calendar."""
    return asyncio.get_running_loop().time()


def _instant(seconds: int) -> datetime:
    return EPOCH + min(seconds, 2**36) * timedelta(seconds=1)


def _seconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(seconds=1)
