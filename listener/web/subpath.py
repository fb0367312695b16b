"""The dashboard below a path of somebody else's site, such as `https://example.org/outages`: links carry it, routes don't."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send


def prefix_of(url: str) -> str:
    """The path below which the dashboard is reached.

    >>> prefix_of("https://example.org/outages/"), prefix_of("https://example.org"), prefix_of("")
    ('/outages', '', '')
    """
    return urlsplit(url).path.rstrip("/")


def within(scope: Scope) -> str:
    """The path without what stands before ours."""
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", ""))


class Below:
    """ASGI middleware: the same whether the proxy before us takes the prefix away or leaves it, or nobody stands before us."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path != self._prefix and not path.startswith(f"{self._prefix}/"):
                path = self._prefix + path
            scope = {**scope, "root_path": self._prefix, "path": path}
        await self._app(scope, receive, send)
