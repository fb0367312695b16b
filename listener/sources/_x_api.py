"""Speaks with X's API: requests and what its errors mean, the rules and the lines of the filtered stream, times of ids."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import MalformedError
from listener.sources._dates import EPOCH
from listener.sources._json import decoded
from listener.sources._net import Net, Response
from listener.sources._refusal import asked_wait, refusal

T = TypeVar("T")

FIELDS = "created_at,lang,author_id,referenced_tweets,edit_history_tweet_ids,note_tweet"
RULES = "/2/tweets/search/stream/rules"
TAG = "listener"  # of our rules: those of others are left alone
KEEP_ALIVE = 45.0  # a blank line comes every 20 seconds
WINDOW = timedelta(minutes=15)  # of the rate limits
MILLISECOND = timedelta(milliseconds=1)
FIRST = EPOCH + 1_288_834_974_657 * MILLISECOND  # ids count milliseconds from here, in their upper bits
PERMANENT = {400: "bad_query", 401: "unauthorized", 402: "no_credits", 403: "forbidden"}
# After these it can't be known whether posts were delivered, and billed.
DOUBTFUL = frozenset({"disconnected", "encoding", "not_x", "protocol", "silent", "timeout", "too_large"})


class Problem(msgspec.Struct):
    type: str = ""
    title: str = ""
    detail: str = ""
    resource_id: str = ""

    @property
    def name(self) -> str:
        return self.type.rpartition("/")[2]


class _Meta(msgspec.Struct, frozen=True):
    next_token: str = ""


class Answer(msgspec.Struct):
    data: list[dict[str, Any]] = []
    meta: _Meta = _Meta()
    errors: list[Problem] = []
    pause: float = 0  # seconds until we may ask again


class Line(msgspec.Struct):
    """A line of the stream."""

    data: dict[str, Any] | None = None
    matching_rules: list[dict[str, Any]] = []
    errors: list[Problem] = []

    def matches(self, rule: str) -> bool:
        return any(str(matched.get("id")) == rule for matched in self.matching_rules)


@dataclass(frozen=True)
class Api:
    server: str
    token: Secret
    net: Net

    async def get(self, path: str, query: Mapping[str, Any]) -> Answer:
        url = self._url(path, query)
        response = await self.net.get(url, headers=self._headers(), accept={*PERMANENT, 429})
        self._check(response)
        answer = _decoded(response, Answer)
        if response.headers.get("x-rate-limit-remaining", "").strip() == "0":
            reset = asked_wait(response.headers, self.net.now()) or 0.0
            answer.pause = min(reset, WINDOW.total_seconds())
        return answer

    async def set_rule(self, wanted: str) -> str:
        """The id of the rule for what is wanted, made if there is none; rules of ours for anything else go."""
        rules = (await self.get(RULES, {})).data
        if outdated := [
            str(rule.get("id")) for rule in rules if rule.get("tag") == TAG and rule.get("value") != wanted
        ]:
            await self._change({"delete": {"ids": outdated}})
        if not (same := [rule for rule in rules if rule.get("value") == wanted]):
            same = await self._change({"add": [{"value": wanted, "tag": TAG}]})
        if not same:
            raise SourceError("X has not made the rule", reason="not_x")
        return str(same[0].get("id"))

    async def _change(self, rules: dict[str, Any]) -> list[dict[str, Any]]:
        headers = {**self._headers(), "Content-Type": "application/json"}
        response = await self.net.post(
            self._url(RULES, {}), json.dumps(rules).encode(), headers=headers, accept={*PERMANENT, 429}
        )
        self._check(response)
        answer = _decoded(response, Answer)
        if answer.errors:
            raise SourceError(f"X refuses the rule: {answer.errors[0].title}", reason="bad_query", permanent=True)
        return answer.data

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncGenerator[Line | None, None]]:
        """The filtered stream; None is a sign of life, a `Line` without data one that can't be read."""
        url = self._url("/2/tweets/search/stream", {"tweet.fields": FIELDS})
        async with self.net.stream(url, headers=self._headers(), silence=KEEP_ALIVE) as response:
            yield _lines(response.aiter_bytes())

    def _url(self, path: str, query: Mapping[str, Any]) -> str:
        return f"{self.server.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token.reveal()}"}

    def _check(self, response: Response) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        try:
            problem = decoded(response.body, Problem, "error")
        except MalformedError:
            problem = Problem()
        message = f"X answered {status} {problem.title}: {problem.detail[:200]}"
        if status == 429 and problem.name == "usage-capped":
            raise SourceError(message, reason="usage_capped", permanent=True)
        if status == 429:
            refused = refusal(response.url, status, response.headers, b"", self.net.now())
            self.net.cool_down(response.url, refused.retry_after or WINDOW.total_seconds())
            raise refused
        raise SourceError(message, reason=PERMANENT[status], permanent=True)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Line | None, None]:
    """Split at line feeds only: other characters that end lines elsewhere stand unescaped in texts."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not line.strip():
                yield None
                continue
            try:
                read = decoded(line, Line, "line")
            except MalformedError:
                read = Line()
            if read.errors and not read.data:
                name = read.errors[0].name.replace("-", "_") or "stream_error"
                raise SourceError(f"X ended the stream: {read.errors[0].detail[:200]}", reason=name)
            yield read


def id_at(at: datetime) -> int:
    """The least id that a post of this instant could have.

    >>> time_of(id_at(EPOCH + timedelta(days=20_000))).isoformat()
    '2024-10-04T00:00:00+00:00'
    """
    return max(0, (at - FIRST) // MILLISECOND) << 22


def time_of(id: int) -> datetime:
    return FIRST + (id >> 22) * MILLISECOND


def _decoded(response: Response, into: type[T]) -> T:
    try:
        return decoded(response.body, into, response.url)
    except MalformedError as error:
        raise SourceError(str(error), reason="not_x") from error
