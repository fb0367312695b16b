"""Where posts come from: one kind a file. Names with a leading underscore are not kinds.

A kind has a frozen `Options`, and two functions the daemon drives:

`async def posts(options, cursor, net)` yields `(raw, cursor)`. Once `raw` and everything yielded before it is stored, the
daemon commits `cursor`; None leaves the committed one as it is. A raw of None is a heartbeat (heard, nothing new), a `Gap`
says what will never be heard, a `Memo` only that its cursor must be stored before the source goes on. A source that can't
go on raises `SourceError`; the daemon backs off and calls `posts` again with the last committed cursor, so a kind neither
retries nor sleeps beyond its own interval. What was yielded and not committed comes again: ids are stable, so that is
harmless. A cursor a kind can't read (another kind's) counts as none.

A kind that brings thousands a second may also have `bundles`, which is `posts` with the raws that came together in one
`Bundle`, and `def texts(raws) -> list[bytes | None]`, the text of each raw found without parsing it (UTF-8, one line), None
where that can't be told. What a `Bundle` holds is parsed only when its text may say something.

`def parse(raw, received_at) -> Post | Delete | None` is pure. None means "not a post"; `MalformedError` means upstream broke its
own format, and is counted. `Post.author` and `Delete.author` are names as upstream writes them: the daemon hashes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from listener.errors import InputError


class MalformedError(InputError, ValueError):
    """Upstream, or a line of a file, does not keep to its format; counted and skipped, never the end of a run."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time that upstream no longer has: what was written then will never be heard."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Memo:
    """What a source must not forget whatever happens next, such as what it is about to spend; nothing was heard.

    The source is asked to go on only when the cursor beside it is stored.
    """


@dataclass(frozen=True, slots=True)
class Bundle:
    """Several raws that came together, with one cursor behind the last of them."""

    raws: tuple[Any, ...]
