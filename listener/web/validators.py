"""Answers of the API carry an `ETag`; one that the caller has already comes back as 304 without a body (RFC 9110, 13.1.2)."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from listener.web.subpath import within


class Validators:
    """ASGI middleware over paths that begin with `prefix`; it holds back the body of GETs to name it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not within(scope).startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match", "")
        start: Message = {}
        body = bytearray()

        async def held(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False):
                return
            if start["status"] == 200:
                await _named(start, bytes(body), known, send)
            else:
                await send(start)
                await send({"type": "http.response.body", "body": bytes(body)})

        await self._app(scope, receive, held)


async def _named(start: Message, body: bytes, known: str, send: Send) -> None:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'  # said to be weak: compressed or not, it is the same
    headers = MutableHeaders(raw=start["headers"])
    headers["etag"] = f"W/{tag}"
    headers["cache-control"] = "no-cache"
    if tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        del headers["content-length"]
        start, body = {**start, "status": 304}, b""
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})
