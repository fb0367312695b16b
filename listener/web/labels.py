"""`/label`: posts are labelled on a page. On loopback, or by who knows the token; without JavaScript as well as with it."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, unquote, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from listener.errors import ListenerError
from listener.types import CHATTER, LABELS, SYMPTOMS
from listener.web.pages import Page

LARGEST = 16_384  # bytes of a form
NAME = "listener_labeller"
PASS = "listener_label"  # noqa: S105 - a cookie's name
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_NAME_LENGTH = 60


class Desk(Protocol):
    """Where answers go. Every method may take a while and may raise `ListenerError`; what is shown are plain values."""

    def asked(self, by: str) -> Any: ...
    def answer(self, by: str, id: str, label: str, symptom: str, services: str, note: str) -> None: ...
    def skip(self, by: str, id: str) -> None: ...
    def undo(self, by: str) -> bool: ...
    def another(self, by: str) -> None: ...
    def told(self, by: str) -> Any: ...


@dataclass(frozen=True)
class Labels:
    """The page's desk, and who may sit at it. Without a token only a browser on the same machine may."""

    desk: Desk
    meanings: tuple[tuple[str, str, str], ...]  # key, label, meaning
    symptoms: tuple[tuple[str, str], ...]  # key, symptom
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class _Door:
    """Tells who may come in. `key` is new in every process, so that a form made elsewhere is not taken."""

    token: str
    public: bool  # the dashboard is reached from elsewhere, so that loopback says nothing
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def closed(self, request: Request) -> str:
        """Why nobody comes in here, token or not; empty when somebody may."""
        if self.token or self._is_near(request):
            return ""
        return "Labelling is open on loopback only, until a label_token is set in [web]."

    def passes(self, request: Request) -> bool:
        """Whether the request is of one who has shown the token, or need not."""
        if not self.token:
            return self._is_near(request)
        return hmac.compare_digest(request.cookies.get(PASS, "").encode(), self.ticket().encode())

    def knows(self, token: str) -> bool:
        return not self.token or hmac.compare_digest(token.encode(), self.token.encode())

    def ticket(self) -> str:
        """What the cookie holds: it proves the token and does not tell it."""
        return hmac.new(self.token.encode(), b"listener /label", "sha256").hexdigest()

    def is_ours(self, request: Request, form: dict[str, str]) -> bool:
        """Whether a form was made by us, for this browser."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        return site in ("same-origin", "none") and hmac.compare_digest(form.get("key", "").encode(), self.key.encode())

    def _is_near(self, request: Request) -> bool:
        """A browser on this machine that asked for this machine, and no proxy in between."""
        if self.public or any(name in request.headers for name in _PASSED_ON):
            return False
        asked = urlsplit(f"//{request.headers.get('host', '')}").hostname
        return request.client is not None and request.client.host in _LOOPBACK and asked in _LOOPBACK


@dataclass(frozen=True)
class _Room:
    """What every answer of the page needs."""

    labels: Labels
    page: Page
    door: _Door

    def shown(self, request: Request, status: int = 200, trouble: str = "") -> Response:
        """The page as it is for whoever asks: closed, at the door, with a post to answer, or with none left."""
        by = _name(request)
        state: dict[str, Any] = {"stage": "enter", "asked": None, "told": None, "trouble": trouble}
        if closed := self.door.closed(request):
            status, state = 403, state | {"stage": "closed", "trouble": closed}
        elif by and self.door.passes(request):
            try:
                state |= {"asked": self.labels.desk.asked(by), "told": self.labels.desk.told(by)}
            except ListenerError as error:
                state["trouble"] = str(error)
            state["stage"] = "asking" if state["asked"] else "over"
        fixed = {"labels": self.labels, "key": self.door.key, "by": by, "chatter": CHATTER}
        response = self.page(request, "label.html", fixed | state, status)
        response.headers["Cache-Control"] = "no-store"
        return response

    def refused(self, request: Request, form: dict[str, str]) -> str:
        """Why nobody is let in by this form; empty when somebody is."""
        by = form.get("by", "").strip()
        if not self.door.is_ours(request, form) or self.door.closed(request):
            return _STRANGE
        if not self.door.knows(form.get("token", "")):
            return "That is not the token."
        if not by or len(by) > _NAME_LENGTH or not by.isprintable():
            return f"A name has 1 to {_NAME_LENGTH} printable characters."
        return ""


def router(labels: Labels, page: Page, url: str) -> APIRouter:
    """The page over one desk. `url` is where others reach the dashboard, empty when nobody does."""
    routes = APIRouter(include_in_schema=False)
    door = _Door(labels.token, public=bool(url))
    room = _Room(labels, page, door)

    @routes.get("/label")
    def label(request: Request) -> Response:
        return room.shown(request)

    @routes.post("/label/enter")
    async def enter(request: Request) -> Response:
        form = await _form(request)
        if why := room.refused(request, form):
            return await asyncio.to_thread(room.shown, request, 403, why)
        response = _back(request)
        how: dict[str, Any] = {
            "path": f"{request.scope.get('root_path', '')}/label",
            "httponly": True,
            "samesite": "strict",
            "secure": url.startswith("https://"),
        }
        response.set_cookie(NAME, quote(form["by"].strip()), **how)
        if door.token:
            response.set_cookie(PASS, door.ticket(), **how)
        return response

    @routes.post("/label")
    async def answer(request: Request) -> Response:
        form = await _form(request)
        by = _name(request)
        if not door.is_ours(request, form) or not door.passes(request) or not by:
            return await asyncio.to_thread(room.shown, request, 403, _STRANGE)
        try:
            await asyncio.to_thread(_done(labels.desk, by, form))
        except ListenerError as error:
            return await asyncio.to_thread(room.shown, request, 400, str(error))
        return _back(request)

    return routes


_STRANGE = "That form was not made here, or before the program began anew. Nothing was kept; please answer again."


def _done(desk: Desk, by: str, form: dict[str, str]) -> Callable[[], object]:
    """What a form asks for."""
    wish, id = form.get("do", ""), form.get("id", "")
    if wish == "skip":
        return lambda: desk.skip(by, id)
    if wish == "undo":
        return lambda: desk.undo(by)
    if wish == "another":
        return lambda: desk.another(by)
    label = form.get("label", "")
    symptom = form.get("symptom", "") if label in CHATTER else ""
    if label not in LABELS or symptom not in ("", *SYMPTOMS):
        raise ListenerError("Choose one of the nine labels.")
    return lambda: desk.answer(by, id, label, symptom, form.get("services", ""), form.get("note", ""))


def _back(request: Request) -> RedirectResponse:
    """To the next post, so that a reload sends nothing twice."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/label", 303, {"Cache-Control": "no-store"})


def _name(request: Request) -> str:
    name = unquote(request.cookies.get(NAME, ""))
    return name if len(name) <= _NAME_LENGTH and name.isprintable() else ""


async def _form(request: Request) -> dict[str, str]:
    """A form's fields, the first of each; none of a body that is too large or no form."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LARGEST:
            return {}
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    try:
        return {name: values[0] for name, values in parse_qs(raw.decode(), max_num_fields=20).items()}
    except ValueError:
        return {}
