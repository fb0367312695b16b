"""A real browser that talks to nobody but loopback, and tells what went wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Route, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "chromium (Debian: chromium) is not installed"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Closed again before another test wants an event loop in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """A page with what went wrong in it so far."""

    page: Page
    troubles: list[str] = field(default_factory=list)

    def _routed(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.troubles.append(f"asked for {route.request.url}")
            route.abort()

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.troubles.append(said.text)

    def _asked(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def look(self, url: str) -> Page:
        """Open a page and wait until it hears of news."""
        self.page.goto(url)
        expect(self.page.locator("#connection")).to_have_text("live")
        return self.page


@contextmanager
def seen(browser: Browser, **how: Any) -> Iterator[Seen]:
    """A fresh page, as wide, dark or Turkish as asked for."""
    context = browser.new_context(**{"locale": "en-GB", "timezone_id": "UTC", **how})
    made = Seen(context.new_page())
    context.route("**/*", made._routed)
    made.page.on("console", made._said)
    made.page.on("pageerror", lambda error: made.troubles.append(str(error)))
    made.page.on("dialog", made._asked)
    try:
        yield made
    finally:
        context.close()
