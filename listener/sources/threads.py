"""Public Threads posts that have a word or a tag, through Meta's keyword search.

2,200 queries that bring something are allowed in any 24 hours. Each is counted in the cursor before it is sent, and given
back when it brought nothing; when all are used up the source waits until the oldest count no more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret, option
from listener.sources import Gap, MalformedError, Memo
from listener.sources._dates import EPOCH, iso
from listener.sources._json import converted, cursor_of, decoded, encoded
from listener.sources._net import Net, Response
from listener.sources._quota import Rolling
from listener.sources._text import collapse
from listener.types import Delete, Post, PostKind

TERMS = (
    "Keyword search needs a token with the permissions threads_basic and threads_keyword_search, and Meta's approval of "
    "your app: without it only your own posts are found. Meta's Platform Terms say what you may do with other people's "
    "posts, and ask that what was deleted on Threads be deleted here too; Threads does not tell of deletions, so keep "
    "[privacy] retention short."
)

PAGE = 100
PAGES = 10  # of one search in one poll
FIELDS = "id,text,timestamp,permalink,username,is_quote_post,is_reply,media_type"
LONGEST_ABSENCE = timedelta(hours=24)
LONGEST_TEXT = 4_000
SECOND = timedelta(seconds=1)
ERRORS = frozenset({400, 401, 403, 404, 429, 500})  # statuses that bring an error object
EXPIRED = frozenset({102, 190})
NOT_ALLOWED = frozenset({3, 10, *range(200, 300)})
LIMITED = frozenset({4, 17, 32, 613})
LIMITED_FOR = 3600.0


@dataclass(frozen=True)
class Options:
    server: str = option("https://graph.threads.net", "address of the API")
    accept_terms: bool = option(False, "you have read the terms of this source and keep to them")
    token: Secret = option(Secret(""), "access token with threads_basic and threads_keyword_search")
    queries: tuple[str, ...] = option((), "words or tags to search for, each on its own")
    mode: Literal["keyword", "tag"] = option("keyword", "search for words or for topic tags")
    quota: int = option(2200, "queries that bring something in 24 hours; less when other programs use the same account")
    every: timedelta = option(timedelta(minutes=5), "how often to ask for each query")
    overlap: timedelta = option(timedelta(minutes=10), "how far to look back for what is indexed late")


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    spent: Rolling = Rolling()
    polled: dict[str, int] = {}  # query -> up to when it has been read, in seconds
    seen: dict[str, int] = {}  # post -> when it was written


class _Error(msgspec.Struct):
    message: str = ""
    code: int = 0


class _Answer(msgspec.Struct):
    data: list[dict[str, Any]] = []
    error: _Error | None = None


class _Media(msgspec.Struct):
    id: str
    timestamp: str
    text: str | None = None
    permalink: str | None = None
    username: str | None = None
    is_quote_post: bool = False
    is_reply: bool = False
    media_type: str = ""


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[dict[str, Any] | Gap | Memo | None, str | None], None]:
    """New posts of each query, newest first; after each query a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    if not options.token:
        raise SourceError("no token is given", reason="no_token", permanent=True)
    if not options.queries:
        raise SourceError("no query is named", reason="no_query", permanent=True)
    while True:
        for query in options.queries:
            started = _seconds(net.now())
            since = max(state.polled.get(query, started), started - LONGEST_ABSENCE // SECOND)
            if since > state.polled.get(query, since):
                yield Gap(_instant(state.polled[query]), _instant(since)), None
            since -= options.overlap // SECOND
            seen, until = dict(state.seen), None
            for page in range(PAGES):
                asked_at = net.now()
                state = _counted(state, options, asked_at)
                yield Memo(), encoded(state)
                found = await _page(options, query, since, until, net)
                if not found:
                    state = msgspec.structs.replace(state, spent=state.spent.add(-1, asked_at))
                for media in found:
                    key, written = str(media.get("id")), _written(media, started)
                    if key not in seen:
                        seen[key] = written
                        yield media, None
                if len(found) < PAGE:
                    break
                until = min(*(_written(media, started) + 1 for media in found), (until or started + 1) - 1)
                if page == PAGES - 1:
                    yield Gap(_instant(since), _instant(until)), None
            state = _advanced(state, options, query, started, seen)
            yield None, encoded(state)
            await net.sleep(net.spread(options.every / len(options.queries)))


def parse(raw: dict[str, Any] | Gap | Memo, received_at: datetime) -> Post | Delete | None:
    """A post of a media object. A repost brings no text of its own and is None, as is a picture without words."""
    if isinstance(raw, Gap | Memo):
        return None
    media = converted(raw, _Media, "media")
    text = collapse(media.text or "")[:LONGEST_TEXT]
    if not text or media.media_type == "REPOST_FACADE":
        return None
    kind = PostKind.REPLY if media.is_reply else PostKind.QUOTE if media.is_quote_post else PostKind.POST
    return Post(
        id=f"threads:{media.id}",
        source="threads",
        text=text,
        created_at=min(iso(media.timestamp) or received_at, received_at),
        received_at=received_at,
        author=media.username or "",
        kind=kind,
        url=media.permalink or "",
    )


def _counted(state: Cursor, options: Options, now: datetime) -> Cursor:
    """The state with one more query counted. Raises `SourceError`: `quota`."""
    spent = state.spent.at(now)
    if wait := spent.free_in(options.quota, now):
        raise SourceError(f"all {options.quota} queries of 24 hours are used up", reason="quota", retry_after=wait)
    return msgspec.structs.replace(state, spent=spent.add(1, now))


async def _page(options: Options, query: str, since: int, until: int | None, net: Net) -> list[dict[str, Any]]:
    """The newest posts between two instants. Raises `SourceError` that says which of the API's errors it met."""
    asked: dict[str, Any] = {
        "q": query,
        "search_type": "RECENT",
        "search_mode": options.mode.upper(),
        "since": since,
        "limit": PAGE,
        "fields": FIELDS,
    }
    asked |= {"until": until} if until is not None else {}
    response = await net.get(
        f"{options.server.rstrip('/')}/v1.0/keyword_search?{urlencode(asked)}",
        headers={"Authorization": f"Bearer {options.token.reveal()}"},
        accept=ERRORS,
    )
    answer = _read(response)
    if answer.error is not None:
        raise _refused(answer.error, response, net)
    return answer.data


def _read(response: Response) -> _Answer:
    try:
        answer = decoded(response.body, _Answer, response.url)
    except MalformedError as error:
        reason = "not_threads" if response.status == 200 else f"status_{response.status}"
        raise SourceError(str(error), reason=reason) from error
    if response.status != 200 and answer.error is None:
        raise SourceError(f"{response.url}: answered {response.status}", reason=f"status_{response.status}")
    return answer


def _refused(error: _Error, response: Response, net: Net) -> SourceError:
    """The API's error object as ours."""
    message = f"Threads answered error {error.code}: {error.message[:200]}"
    if error.code in EXPIRED:
        return SourceError(message, reason="token_expired", permanent=True)
    if error.code in NOT_ALLOWED:
        return SourceError(message, reason="not_allowed", permanent=True)
    if error.code in LIMITED or response.status == 429:
        net.cool_down(response.url, LIMITED_FOR)
        return SourceError(message, reason="limited", retry_after=LIMITED_FOR)
    return SourceError(message, reason=f"error_{error.code}", permanent=error.code == 100)


def _advanced(state: Cursor, options: Options, query: str, until: int, seen: dict[str, int]) -> Cursor:
    """The query is read up to then; what no query will be asked for again is forgotten."""
    polled = {name: at for name, at in (state.polled | {query: until}).items() if name in options.queries}
    oldest = min(polled.values()) - options.overlap // SECOND - 60
    return Cursor(state.spent, polled, {key: at for key, at in seen.items() if at >= oldest})


def _written(media: dict[str, Any], otherwise: int) -> int:
    at = iso(str(media.get("timestamp")))
    return otherwise if at is None else _seconds(at)


def _instant(seconds: int) -> datetime:
    return EPOCH + seconds * SECOND


def _seconds(at: datetime) -> int:
    return (at - EPOCH) // SECOND
