"""Posts of X that match a query, paid for one by one: recent search, and if wished the filtered stream.

The budget of a month (UTC) is counted in the cursor before anything is asked, and what was not delivered is given back after:
a crash can only count too much. A used-up budget ends the source until the month turns. A search reads a stretch of time
once, backwards, half a minute behind the clock, and goes on where it stopped. A stream delivers what is under way whatever
we count, so it ends one page before the budget does; what it missed while it was cut off is searched for.
"""

from __future__ import annotations

import html
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret, option
from listener.sources import Gap, Memo
from listener.sources._dates import iso
from listener.sources._json import converted, cursor_of, encoded
from listener.sources._net import Net
from listener.sources._quota import Monthly, until_next_month
from listener.sources._text import collapse, primary_languages
from listener.sources._x_api import DOUBTFUL, FIELDS, Api, id_at, time_of
from listener.types import Delete, Post, PostKind

TERMS = (
    "X's API is paid for: about 0.005 US dollars for each post read (November 2026), counted once per post and UTC day, "
    "so a budget of 10,000 posts is about 50 dollars a month. X's Developer Agreement limits what you may store and show, "
    "and asks that posts deleted there be deleted here: recheck looks each post up once more, which is counted as well. "
    "Set a spending limit in X's developer console too."
)

FEWEST = 10  # posts that a search may be asked for
LOOKUP = 100  # posts in one look-up
LONGEST_TEXT = 4_000
HELD = 2_000  # posts that wait to be looked up
LONGEST_ABSENCE = timedelta(days=6, hours=23)  # a search reaches seven days back
LAG = timedelta(seconds=30)  # until a search finds what was written
GONE = frozenset({"resource-not-found", "not-authorized-for-resource"})  # deleted; protected or suspended


@dataclass(frozen=True)
class Options:
    server: str = option("https://api.x.com", "address of the API")
    accept_terms: bool = option(False, "you have read the terms of this source and keep to them")
    token: Secret = option(Secret(""), "bearer token of your app")
    query: str = option("", "what to search for, in X's operators, such as (instagram çöktü) -is:retweet")
    budget: int = option(0, "posts that may be read in a calendar month (UTC); must be set, nothing is read without")
    page: int = option(100, "posts to read at once, 10 to 100; so many are counted too much after a crash")
    stream: bool = option(False, "read the filtered stream; search only for what it missed")
    every: timedelta = option(timedelta(minutes=2), "how often to search; a stream tells by itself")
    longest_absence: timedelta = option(timedelta(hours=6), "after a longer absence what was missed is not paid for")
    recheck: timedelta = option(timedelta(hours=12), "age at which a post is looked up once more; 0s = never")


@dataclass(frozen=True, slots=True)
class Raw:
    """A post as the API has it; with `gone`, the id of one that it no longer has."""

    post: dict[str, Any]
    gone: str = ""


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    spent: Monthly = Monthly()
    since: int = 0  # everything up to this id has been read
    top: int = 0  # a search under way began below this id,
    until: int = 0  # and has read everything from this one on; 0 = none is under way
    held: tuple[int, ...] = ()  # posts to look up once more


class _Reference(msgspec.Struct):
    type: str


class _Note(msgspec.Struct):
    text: str


class _Tweet(msgspec.Struct):
    id: str
    text: str
    created_at: str = ""
    author_id: str = ""
    lang: str = ""
    edit_history_tweet_ids: list[str] = []
    referenced_tweets: list[_Reference] = []
    note_tweet: _Note | None = None


_Item = tuple[Raw | Gap | Memo | None, str | None]
_Items = AsyncGenerator[_Item, None]


async def posts(options: Options, cursor: str | None, net: Net) -> _Items:
    """Posts, newest first in a search and as they come in a stream; a `Memo` before anything is spent."""
    for is_missing, reason in ((not options.token, "no_token"), (not options.query, "no_query")):
        if is_missing:
            raise SourceError(f"the source is not set up: {reason}", reason=reason, permanent=True)
    if options.budget < FEWEST or not FEWEST <= options.page <= LOOKUP:
        raise SourceError("no budget, or no page of 10 to 100 posts, is set", reason="no_budget", permanent=True)
    reader = _Reader(options, Api(options.server, options.token, net), net, cursor_of(cursor, Cursor))
    async with aclosing(reader.streamed() if options.stream else reader.searched()) as items:
        async for item in items:
            yield item


def parse(raw: Raw | Gap | Memo, received_at: datetime) -> Post | Delete | None:
    """A post; an edited one keeps the id it had at first. A post that is gone is a `Delete`."""
    if isinstance(raw, Gap | Memo):
        return None
    if raw.gone:
        return Delete(source="x", at=received_at, post_id=f"x:{raw.gone}")
    tweet = converted(raw.post, _Tweet, "post")
    first = _first(raw.post)
    written_at = time_of(first) if str(first) != tweet.id else iso(tweet.created_at) or received_at
    types = {reference.type for reference in tweet.referenced_tweets}
    kinds = (("retweeted", PostKind.REPOST), ("replied_to", PostKind.REPLY), ("quoted", PostKind.QUOTE))
    return Post(
        id=f"x:{first}",
        source="x",
        text=collapse(html.unescape(tweet.note_tweet.text if tweet.note_tweet else tweet.text))[:LONGEST_TEXT],
        created_at=min(written_at, received_at),
        received_at=received_at,
        author=tweet.author_id,
        kind=next((kind for name, kind in kinds if name in types), PostKind.POST),
        languages=() if tweet.lang.startswith(("q", "und", "zxx", "art")) else primary_languages([tweet.lang]),
        url=f"https://x.com/i/web/status/{tweet.id}",
    )


@dataclass
class _Reader:
    """Reads and keeps the accounts. Each generator leaves `state` as the last cursor it gave."""

    options: Options
    api: Api
    net: Net
    state: Cursor

    async def searched(self) -> _Items:
        while True:
            async for item in self._caught_up():
                yield item
            async for item in self._looked_up():
                yield item
            await self.net.sleep(self.net.spread(self.options.every))

    async def streamed(self) -> _Items:
        """One connection. What was missed before it is searched for as soon as a search can find all of it."""
        rule, is_complete, opened_at = await self.api.set_rule(self.options.query), False, None
        room = self._room(2 * self.options.page)
        yield self._claimed(room)
        try:
            async with self.api.stream() as lines:
                opened_at = self.net.now()
                async for line in lines:
                    if line is not None:
                        room -= 1
                        if line.data is None or line.matches(rule):
                            self._hold([line.data or {}])
                            yield Raw(line.data or {}), encoded(self.state)
                        if not room:
                            room = self._room(2 * self.options.page)
                            yield self._claimed(room)
                        continue
                    if not is_complete and self.net.now() - opened_at > LAG:
                        async for item in self._caught_up():
                            yield item
                        is_complete = True
                    elif is_complete:
                        self._put(since=max(self.state.since, id_at(self.net.now() - LAG)))
                    yield None, encoded(self.state)
                    async for item in self._looked_up():
                        yield item
        except SourceError as error:
            if opened_at is None and error.reason not in DOUBTFUL:  # else there may be posts that never reached us
                yield self._settled(room, 0)
            raise
        yield self._settled(room, 0)
        raise SourceError("the stream has ended", reason="disconnected")

    async def _caught_up(self) -> _Items:
        """What was written since the last search, newest first; each page is stored with the place to go on from."""
        now, state = self.net.now(), self.state
        oldest = id_at(now - min(self.options.longest_absence, LONGEST_ABSENCE))
        if state.since and state.since < oldest:
            yield Gap(time_of(state.since), time_of(oldest)), None
        if state.since < oldest or not state.until:
            since, top = max(state.since or id_at(now - LAG - self.options.every), oldest), id_at(now - LAG)
            if top <= since:
                return  # the clock was set back
            self._put(since=since, top=top, until=top)
        while self.state.until:
            room = self._room(FEWEST)
            yield self._claimed(room)
            try:
                answer = await self.api.get("/2/tweets/search/recent", self._asked(room))
            except SourceError as error:
                if error.reason not in DOUBTFUL:
                    yield self._settled(room, 0)
                raise
            for post in answer.data:
                yield Raw(post), None
            self._hold(answer.data)
            ids = [id for post in answer.data if (id := _id(post))]
            if ids and answer.meta.next_token:
                self._put(until=min(ids))
            else:
                self._put(since=self.state.top - 1, top=0, until=0)
            _, cursor = self._settled(room, len(answer.data))
            yield None, cursor
            if answer.pause:
                await self.net.sleep(answer.pause)

    async def _looked_up(self) -> _Items:
        """Of the posts that are due, those that are gone."""
        now, recheck = self.net.now(), self.options.recheck
        left = self.options.budget - self.state.spent.at(now).used
        due = [id for id in self.state.held if recheck and now - time_of(id) >= recheck][: min(LOOKUP, max(left, 0))]
        if not due:
            return
        yield self._claimed(len(due))
        try:
            answer = await self.api.get("/2/tweets", {"ids": ",".join(map(str, due)), "tweet.fields": FIELDS})
        except SourceError as error:
            if error.reason not in DOUBTFUL:
                yield self._settled(len(due), 0)
            raise
        for problem in answer.errors:
            if problem.name in GONE and problem.resource_id.isdecimal() and int(problem.resource_id) in due:
                yield Raw({}, problem.resource_id), None
        self._put(held=tuple(id for id in self.state.held if id not in due))
        _, cursor = self._settled(len(due), len(answer.data))
        yield None, cursor

    def _asked(self, room: int) -> dict[str, Any]:
        return {
            "query": self.options.query,
            "since_id": self.state.since,
            "until_id": self.state.until,
            "max_results": room,
            "tweet.fields": FIELDS,
        }

    def _room(self, least: int) -> int:
        """How many posts may be asked for. Raises `SourceError`: `budget`."""
        now = self.net.now()
        left = self.options.budget - self.state.spent.at(now).used
        if left < least:
            message = f"the budget of {self.options.budget} posts in this month is used up"
            raise SourceError(message, reason="budget", retry_after=until_next_month(now))
        return min(left, self.options.page)

    def _claimed(self, count: int) -> tuple[Memo, str]:
        self._put(spent=self.state.spent.claim(count, self.net.now()))
        return Memo(), encoded(self.state)

    def _settled(self, claimed: int, used: int) -> tuple[Memo, str]:
        self._put(spent=self.state.spent.settle(claimed, used, self.net.now()))
        return Memo(), encoded(self.state)

    def _hold(self, read: Sequence[dict[str, Any]]) -> None:
        fresh = {first for post in read if (first := _first(post))} - {*self.state.held}
        if self.options.recheck and fresh:
            self._put(held=(*self.state.held, *sorted(fresh))[-HELD:])

    def _put(self, **changes: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)


def _id(post: dict[str, Any]) -> int:
    """0 when it is none."""
    text = str(post.get("id", ""))
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _first(post: dict[str, Any]) -> int:
    """The id that the post had before it was edited."""
    history = post.get("edit_history_tweet_ids")
    return _id({"id": history[0]}) if isinstance(history, list) and history else _id(post)
