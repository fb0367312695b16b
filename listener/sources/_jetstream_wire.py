"""What Jetstream says, in both versions of its protocol: frames into heads, posts and deletes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from listener.sources import MalformedError
from listener.sources._dates import EPOCH, iso
from listener.sources._json import decoded
from listener.sources._text import collapse, primary_languages
from listener.types import Delete, Post, PostKind

COLLECTION = "app.bsky.feed.post"
LONGEST_EVENT = 2**20  # larger ones are not sent to us, or else skipped
LONGEST_TEXT = 3_000
ADULT = frozenset({"porn", "sexual", "nudity", "graphic-media"})
HIDDEN = frozenset({"deleted", "takendown", "suspended", "deactivated"})
MICROSECOND = timedelta(microseconds=1)

_V2_COMMIT = b'{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#commit"'
_V1_COMMIT = b',"kind":"commit"'
_TEXT = b'"text":"'
_HEAD = 120  # bytes of a frame that come before any record
_V2_END = b'"}}}'  # of text, record, payload and message
_V1_CID, _V1_END = b'"},"cid":"', b'"}}'  # of text and record, with the address of the record behind

Micros = Annotated[int, Meta(ge=0, lt=2**52)]
Number = Annotated[int, Meta(ge=0, lt=10**15)]  # as a cursor, what is larger is a time


class _PayloadHead(msgspec.Struct, frozen=True, rename={"type": "$type", "witnessed": "witnessedAt"}):
    type: str = ""
    seq: Number = 0
    time: str = ""
    witnessed: str = ""  # as `time`, but for what an operator may have imported there
    name: str = ""


class Head(msgspec.Struct, frozen=True, rename={"type": "$type"}):
    """What both versions say of any frame."""

    type: str = ""
    kind: str = ""
    time_us: Micros = 0
    payload: _PayloadHead = _PayloadHead()
    error: str = ""

    @property
    def at_us(self) -> int:
        """When the server saw the event, in microseconds; 0 when the frame is none."""
        said = iso(self.payload.witnessed) or iso(self.payload.time)
        return self.time_us or (microseconds(said) if said else 0)

    @property
    def event(self) -> str:
        """`commit`, `account` and so on; versions to come may have others."""
        return self.payload.type.rpartition("#")[2] if self.type else self.kind


class Refusal(msgspec.Struct, frozen=True):
    """What version 2 says instead of shaking hands; version 1 says it in plain words."""

    error: str = ""


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
    commit: _Commit | None = None
    account: _Account | None = None


class _Payload(msgspec.Struct):
    """An event of version 2: a commit is not wrapped."""

    did: str
    operation: str = ""
    collection: str = ""
    rkey: str = ""
    record: dict[str, Any] | None = None
    account: _Account | None = None


class _Message(msgspec.Struct):
    payload: _Payload


def head_of(frame: bytes) -> Head:
    """Raises `MalformedError` for what is no frame of either version, and for one that is too large."""
    if len(frame) > LONGEST_EVENT:
        raise MalformedError(f"event: larger than {LONGEST_EVENT} bytes")
    return decoded(frame, Head, "event")


def is_commit(frame: bytes) -> bool:
    """Whether a frame is surely a post being written, edited or deleted; told by how it begins."""
    return frame.startswith(_V2_COMMIT) or (frame.startswith(b'{"did":') and frame.find(_V1_COMMIT, 0, 200) > 0)


def texts(frames: Sequence[bytes]) -> list[bytes | None]:
    """The text of each post as it stands in its frame; None for what only `read` can tell.

    A text that is the last key of its record, with nothing escaped in it and no title or tags in front that belong to it,
    is what `read` would find.
    """
    made: list[bytes | None] = []
    for frame in frames:
        begin = frame.rfind(_TEXT) + len(_TEXT)
        end = frame.find(b'"', begin)
        text = frame[begin:end]
        is_whole = begin > _HEAD and _is_end(frame, end) and b"\\" not in text and end - begin < LONGEST_TEXT
        made.append(text if is_whole and not _is_more(frame, begin) else _text_of(frame))
    return made


class _Written(msgspec.Struct, gc=False):
    record: dict[str, Any]


class _WrittenV1(msgspec.Struct, gc=False):
    commit: _Written


class _WrittenV2(msgspec.Struct, gc=False):
    payload: _Written


_of_v1, _of_v2 = msgspec.json.Decoder(_WrittenV1).decode, msgspec.json.Decoder(_WrittenV2).decode


def _text_of(frame: bytes) -> bytes | None:
    """The text of a post that has to be decoded for it, in one line; None for what is no post."""
    try:
        written = _of_v2(frame).payload if frame.startswith(_V2_COMMIT) else _of_v1(frame).commit
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    said = _said(written.record)
    return None if said is None else said.replace("\n", " ").encode("utf-8", "ignore")


def _is_end(frame: bytes, end: int) -> bool:
    """Whether a text that ends there is the last key of its record, and what else follows is the end of its frame."""
    if end == len(frame) - len(_V2_END):
        return frame.endswith(_V2_END)
    cid = end + len(_V1_CID)
    return frame.startswith(_V1_CID, end) and frame.find(b'"', cid) == len(frame) - len(_V1_END)


def _is_more(frame: bytes, begin: int) -> bool:
    """Whether something before its text may belong to it as well."""
    return frame.find(b'"title":', _HEAD, begin) > 0 or frame.find(b'"tags":', _HEAD, begin) > 0


def refusal_of(body: bytes) -> str:
    """The name of a refusal; empty when it has none."""
    try:
        return decoded(body, Refusal, "refusal").error
    except MalformedError:
        return ""


def read(frame: bytes, received_at: datetime) -> Post | Delete | None:
    """A post or an edit of one, or that a post or an account is gone. Other events, and adult posts, are None."""
    head = head_of(frame)
    at = instant(head.at_us) if head.at_us else received_at
    if head.event not in ("commit", "account"):
        return None
    if head.type:
        payload = decoded(frame, _Message, "event").payload
        commit = _Commit(payload.operation, payload.collection, payload.rkey, payload.record)
        did, account = payload.did, payload.account
    else:
        event = decoded(frame, _Event, "event")
        did, commit, account = event.did, event.commit or _Commit("", ""), event.account
    if not did.startswith("did:"):
        raise MalformedError("event: without an author")
    if head.event == "commit":
        return _of_commit(did, commit, at, received_at)
    is_gone = account is not None and not account.active and account.status in HIDDEN
    # A DID is the same person wherever it was heard, so the delete names no source.
    return Delete(source="", at=at, author=did) if is_gone else None


def _of_commit(did: str, commit: _Commit, at: datetime, received_at: datetime) -> Post | Delete | None:
    if commit.collection != COLLECTION or commit.operation not in ("create", "update", "delete"):
        return None
    if not commit.rkey:
        raise MalformedError("event: a post without a key")
    uri = f"jetstream:at://{did}/{COLLECTION}/{commit.rkey}"
    if commit.operation == "delete":
        return Delete(source="jetstream", at=at, post_id=uri)
    record = commit.record or {}
    text = _said(record)
    if text is None:
        raise MalformedError("event: a post without text")
    if ADULT.intersection(_labels(record)):
        return None
    declared = record.get("createdAt")
    created_at = iso(declared) if isinstance(declared, str) else None
    return Post(
        id=uri,
        source="jetstream",
        text=text,
        created_at=min(created_at or at, at),
        received_at=received_at,
        author=did,
        kind=_kind(record),
        languages=primary_languages(_list(record.get("langs"))),
        url=f"https://bsky.app/profile/{did}/post/{commit.rkey}",
    )


def _said(record: dict[str, Any]) -> str | None:
    """The text of a post, with what its writer put beside it; None when it has none."""
    text = record.get("text")
    if not isinstance(text, str):
        return None
    text = collapse(text[:LONGEST_TEXT])
    parts = (text, _tags(record, text), _card(_table(record.get("embed")), text))
    return "\n".join(part for part in parts if part)


def _kind(record: dict[str, Any]) -> PostKind:
    if record.get("reply"):
        return PostKind.REPLY
    is_quote = _table(record.get("embed")).get("$type") in ("app.bsky.embed.record", "app.bsky.embed.recordWithMedia")
    return PostKind.QUOTE if is_quote else PostKind.POST


def _tags(record: dict[str, Any], text: str) -> str:
    """Hashtags that some clients keep beside the text."""
    tags = [tag[:64] for tag in _list(record.get("tags"))[:8] if isinstance(tag, str)]
    return " ".join(f"#{tag}" for tag in tags if tag and tag.lower() not in text.lower())


def _card(embed: dict[str, Any], text: str) -> str:
    """The title of the page a post links to, unless the post repeats it."""
    external = embed.get("external") or _table(embed.get("media")).get("external")
    title = _table(external).get("title")
    return collapse(title[:300]) if isinstance(title, str) and title not in text else ""


def _labels(record: dict[str, Any]) -> set[str]:
    return {str(_table(value).get("val")) for value in _list(_table(record.get("labels")).get("values"))}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def instant(us: int) -> datetime:
    return EPOCH + us * MICROSECOND


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND
