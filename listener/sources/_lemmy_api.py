"""What a Lemmy server answers, in version 3 (Lemmy 0.19) and version 4 (1.0) of its interface."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources._dates import EPOCH, iso
from listener.sources._json import converted, decoded
from listener.sources._net import Net, Response
from listener.sources._text import primary_languages

PAGE = 50
LIMITED = 600.0  # seconds to leave a server alone that says "too often" and not for how long
NEWEST = {"v3": {"type_": "All", "sort": "New"}, "v4": {"type_": "all", "sort": "new"}}


class Site(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server says of itself. It was never asked when `asked_at` is empty."""

    asked_at: str = ""
    version: str = ""
    languages: dict[str, str] = {}  # number on this server -> code


@dataclass(frozen=True, slots=True)
class Listing:
    """The posts or comments of a community, or of all with an empty name."""

    what: str  # "post" or "comment"
    community: str

    @property
    def name(self) -> str:
        return f"{self.what}:{self.community}"


@dataclass(frozen=True, slots=True)
class Page:
    views: list[dict[str, Any]]
    onward: dict[str, Any]  # how to ask for the next one; empty at the end


@dataclass(frozen=True, slots=True)
class Api:
    """One server, asked with a `pause` between two requests."""

    address: str
    pause: timedelta
    net: Net

    async def site(self) -> Site:
        """Which version is spoken, and what the numbers of languages mean."""
        for version in NEWEST:
            response = await self._get(f"/api/{version}/site", {})
            try:
                about = decoded(response.body, dict[str, Any], response.url)
            except MalformedError:
                continue  # a page for people
            site = table(about.get("site_view"))
            if response.status != 200 or not site:
                continue
            if table(site.get("local_site")).get("private_instance"):
                raise self._closed()
            listed = about.get("all_languages")
            pairs = [table(one) for one in listed] if isinstance(listed, list) else []
            codes = {str(one.get("id")): str(one.get("code")) for one in pairs if one.get("code") != "und"}
            languages = {number: code for number, code in codes.items() if primary_languages([code])}
            return Site(self.net.now().isoformat(timespec="seconds"), version, languages)
        raise SourceError(f"{self.address} does not answer as Lemmy does", reason="not_lemmy")

    async def page(self, version: str, one: Listing, place: dict[str, Any], number: int) -> Page | None:
        """The newest first; None when the server has no such list."""
        query = {**NEWEST[version], "limit": PAGE, **place}
        if one.community:
            query["community_name"] = one.community
            if version == "v4":  # its name for it changed before 1.0 was out
                query["community_name_or_id"] = one.community
        response = await self._get(f"/api/{version}/{one.what}/list", query)
        if response.status != 200:
            return None
        try:
            page = decoded(response.body, dict[str, Any], response.url)
            views = converted(page.get("items", page.get(f"{one.what}s")), list[dict[str, Any]], response.url)
        except MalformedError as error:
            raise SourceError(str(error), reason="not_lemmy") from error
        if isinstance(onward := page.get("next_page"), str):
            return Page(views, {"page_cursor": onward})
        has_more = version == "v3" and len(views) >= PAGE  # comments, and posts before 0.19, have numbered pages
        return Page(views, {"page": number + 1} if has_more else {})

    async def _get(self, path: str, query: dict[str, Any]) -> Response:
        """An answer, or a 400 or 404, which say that there is no such thing. Some versions say 400 for everything."""
        url = f"{self.address}{path}{'?' if query else ''}{urlencode(query)}"
        response = await self.net.get(url, accept=(400, 401, 403, 404), gap=self.pause.total_seconds())
        if response.status == 200:
            return response
        error = response.body[:1000] if response.status == 400 else b""
        if b"rate_limit" in error:
            self.net.cool_down(url, LIMITED)
            raise SourceError(f"{url}: asked too often", reason="status_429", retry_after=LIMITED)
        if response.status in (401, 403) or b"instance_is_private" in error:
            raise self._closed()
        return response

    def _closed(self) -> SourceError:
        return SourceError(f"{self.address} is for its users only", reason="closed", permanent=True)


def entry_of(view: dict[str, Any]) -> dict[str, Any]:
    """A view of a comment has its post as well."""
    return table(view.get("comment")) or table(view.get("post"))


def written_ms(entry: dict[str, Any]) -> int | None:
    """When it was written, in milliseconds; None when it does not say."""
    at = iso(str(entry.get("published_at") or entry.get("published") or ""))
    return None if at is None else (at - EPOCH) // timedelta(milliseconds=1)


def is_pinned(entry: dict[str, Any]) -> bool:
    """It stands at the head of the list, however old."""
    return bool(entry.get("featured_community") or entry.get("featured_local"))


def table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
