"""Questions of Stack Exchange sites that match a search.

A day has 300 requests without a key and 10,000 with one: the interval grows so that what is left lasts until midnight UTC,
where the count starts anew. When an answer says `backoff`, nothing is asked before that time is over, restarts included.
"""

from __future__ import annotations

import html
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret, option
from listener.sources import Gap, MalformedError
from listener.sources._dates import EPOCH
from listener.sources._json import converted, cursor_of, decoded, encoded
from listener.sources._net import Net, Response
from listener.sources._text import collapse, from_html
from listener.types import Delete, Post

PAGE = 100
PAGES = 10  # of one search in one poll
LONGEST_ABSENCE = timedelta(hours=24)
LONGEST_TEXT = 4_000
THROTTLED = 600.0  # when the error does not say for how long
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ERRORS = frozenset({400, 401, 402, 403, 404, 405, 406, 500, 502, 503})  # statuses that bring an error object
OURS = frozenset({400, 401, 402, 403, 404, 405, 406})  # error ids that are about the request, not the moment
_WAIT = re.compile(r"available in (\d+) second")


@dataclass(frozen=True)
class Options:
    server: str = option("https://api.stackexchange.com", "address of the API")
    sites: tuple[str, ...] = option(("webapps", "android"), "sites, as the API calls them")
    query: str = option("instagram", "what to search for in titles and texts")
    key: Secret = option(Secret(""), "key of a registered app: 10,000 requests a day instead of 300")
    every: timedelta = option(timedelta(minutes=15), "how often to ask for each site, at best")
    overlap: timedelta = option(timedelta(hours=1), "how far to look back for what is indexed or edited late")


@dataclass(frozen=True, slots=True)
class Raw:
    """A question, and its site: numbers are given by each site anew."""

    question: dict[str, Any]
    site: str


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    polled: dict[str, int] = {}  # site -> up to when it has been read, in seconds
    seen: dict[str, tuple[int, int]] = {}  # question -> when it was asked, and last edited
    wait_until: int = 0  # we were told not to ask before


class _Answer(msgspec.Struct):
    items: list[dict[str, Any]] = []
    has_more: bool = False
    backoff: int = 0
    quota_remaining: int | None = None
    error_id: int = 0
    error_name: str = ""
    error_message: str = ""


class _Owner(msgspec.Struct, frozen=True):
    user_id: int | None = None
    display_name: str = ""


class _Question(msgspec.Struct):
    question_id: int
    title: str
    creation_date: int
    body: str = ""
    link: str = ""
    owner: _Owner = _Owner()


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Gap | None, str | None], None]:
    """New and edited questions of each site, newest first; after each site a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    if not options.sites or not options.query:
        raise SourceError("no site or nothing to search for is named", reason="no_query", permanent=True)
    while True:
        for site in options.sites:
            if (left := state.wait_until - _seconds(net.now())) > 0:
                await net.sleep(left)
            started = _seconds(net.now())
            since = max(state.polled.get(site, started), started - LONGEST_ABSENCE // SECOND)
            if since > state.polled.get(site, since):
                yield Gap(_instant(state.polled[site]), _instant(since)), None
            since -= options.overlap // SECOND
            seen, before = dict(state.seen), None
            for page in range(PAGES):
                answer = await _page(options, site, since, before, net)
                for question in answer.items:
                    key = f"{site}:{question.get('question_id')}"
                    mark = (_number(question, "creation_date"), _number(question, "last_edit_date"))
                    if seen.get(key) != mark:
                        seen[key] = mark
                        yield Raw(question, site), None
                state = msgspec.structs.replace(state, wait_until=_seconds(net.now()) + max(answer.backoff, 0))
                if not answer.items or not answer.has_more:
                    break
                before = min(_number(q, "creation_date") or since for q in answer.items)
                if page == PAGES - 1:
                    yield Gap(_instant(since), _instant(before)), None
                await net.sleep(max(answer.backoff, 0))
            state = _advanced(state, options, site, started, seen)
            yield None, encoded(state)
            _check_left(options, answer, net)
            await net.sleep(_interval(options, answer, net))


def parse(raw: Raw | Gap, received_at: datetime) -> Post | Delete | None:
    """A question's title and text."""
    if isinstance(raw, Gap):
        return None
    question = converted(raw.question, _Question, "question")
    title, body = collapse(html.unescape(question.title)), from_html(question.body)
    owner = question.owner.user_id or question.owner.display_name
    return Post(
        id=f"stackexchange:{raw.site}:{question.question_id}",
        source="stackexchange",
        text="\n".join(part for part in (title, body) if part)[:LONGEST_TEXT],
        created_at=min(_instant(question.creation_date), received_at),
        received_at=received_at,
        author=f"{owner}@{raw.site}" if owner else "",
        url=question.link,
    )


async def _page(options: Options, site: str, since: int, before: int | None, net: Net) -> _Answer:
    """The newest questions asked between two instants, both included."""
    key = options.key.reveal()
    asked: dict[str, Any] = {
        "site": site,
        "q": options.query,
        "fromdate": since,
        "order": "desc",
        "sort": "creation",
        "pagesize": PAGE,
        "filter": "withbody",
    }
    asked |= {"todate": before} if before is not None else {}
    asked |= {"key": key} if key else {}
    url = f"{options.server.rstrip('/')}/2.3/search/advanced?{urlencode(asked)}"
    try:
        answer = _read(await net.get(url, accept=ERRORS))
    except SourceError as error:  # the address is in the message, and the key in the address
        message = str(error).replace(key, "...") if key else str(error)
        raise SourceError(
            message, reason=error.reason, retry_after=error.retry_after, permanent=error.permanent
        ) from None
    if answer.error_id:
        raise _refused(answer, url, net)
    if answer.backoff > 0:
        net.cool_down(url, answer.backoff)
    return answer


def _read(response: Response) -> _Answer:
    try:
        answer = decoded(response.body, _Answer, response.url)
    except MalformedError as error:
        reason = "not_stackexchange" if response.status == 200 else f"status_{response.status}"
        raise SourceError(str(error), reason=reason) from error
    if response.status != 200 and not answer.error_id:
        raise SourceError(f"{response.url}: answered {response.status}", reason=f"status_{response.status}")
    return answer


def _refused(answer: _Answer, url: str, net: Net) -> SourceError:
    """An error object as ours. Throttling is about our address, whatever site or method is asked."""
    message = f"Stack Exchange answered {answer.error_name}: {answer.error_message}"
    if answer.error_name != "throttle_violation":
        return SourceError(message, reason=answer.error_name or "error", permanent=answer.error_id in OURS)
    told = _WAIT.search(answer.error_message)
    wait = min(float(told.group(1)), DAY.total_seconds()) if told else THROTTLED
    net.cool_down(url, wait)
    return SourceError(message, reason="throttled", retry_after=wait)


def _check_left(options: Options, answer: _Answer, net: Net) -> None:
    if answer.quota_remaining is not None and answer.quota_remaining <= 0:
        wait = _until_midnight(net.now())
        net.cool_down(options.server, wait)
        raise SourceError("the requests of this day are used up", reason="quota", retry_after=wait)


def _interval(options: Options, answer: _Answer, net: Net) -> float:
    """As often as wished, or as what is left of the day's requests allows."""
    wished = net.spread(options.every / len(options.sites))
    left = answer.quota_remaining
    return wished if left is None else max(wished, _until_midnight(net.now()) / max(left, 1))


def _advanced(state: Cursor, options: Options, site: str, until: int, seen: dict[str, tuple[int, int]]) -> Cursor:
    """The site is read up to then; what no site will be asked for again is forgotten."""
    polled = {name: at for name, at in (state.polled | {site: until}).items() if name in options.sites}
    oldest = min(polled.values()) - options.overlap // SECOND - 60
    return Cursor(polled, {key: mark for key, mark in seen.items() if mark[0] >= oldest}, state.wait_until)


def _until_midnight(now: datetime) -> float:
    return (DAY - (now - EPOCH) % DAY).total_seconds()


def _number(question: dict[str, Any], name: str) -> int:
    value = question.get(name)
    return value if isinstance(value, int) else 0


def _instant(seconds: int) -> datetime:
    """What can be no date becomes the nearest that can: 1970 is never news, and the far future is now."""
    return EPOCH + max(0, min(seconds, 2**36)) * SECOND


def _seconds(at: datetime) -> int:
    return (at - EPOCH) // SECOND
