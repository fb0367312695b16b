"""The dashboard in a real browser: quiet, ours alone, live, usable by keyboard, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from listener.store import Store
from tests import days
from tests.browser.chromium import CHROMIUM, MISSING, Seen, chromium, seen
from tests.builders import at, mention
from tests.servers.dashboard import served
from tests.web import app_of, dashboard, kept

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

FULL = (
    "/",
    f"/incidents/{days.OPEN.id}",
    f"/incidents/{days.OVER[0].id}",
    "/services/instagram",
    "/regions/TR",
    "/regions/MK",
    "/sources",
    "/methodology",
    "/nothing",
)
EMPTY = ("/", "/services/instagram", "/regions/TR", "/sources", "/methodology")
Open = Callable[..., AbstractContextManager[Seen]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("full"), days.live_a_day) as base:
        yield base


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("empty")) as base:
        yield base


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with kept(tmp_path_factory.mktemp("live"), days.live_a_day) as made:
        yield made


@pytest.fixture
def opened(browser: Browser) -> Open:
    return partial(seen, browser)


def of_what_is(full: str, empty: str) -> list[str]:
    missing = {"/nothing"}  # its 404 is an error in the console, as it should be
    return [full + path for path in FULL if path not in missing] + [empty + path for path in EMPTY]


def test_no_page_complains_or_asks_anybody_else(opened: Open, full: str, empty: str) -> None:
    with opened() as it:
        for url in of_what_is(full, empty):
            it.look(url)
            assert it.troubles == [], url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_every_page(opened: Open, full: str, empty: str, scheme: str) -> None:
    with opened(color_scheme=scheme) as it:
        for url in [*of_what_is(full, empty), f"{full}/nothing"]:
            it.look(url)
            found = Axe().run(it.page).response["violations"]
            bad = [v for v in found if v["impact"] in ("serious", "critical")]
            assert bad == [], f"{url}: " + "; ".join(f"{v['id']} {v['nodes'][0]['html']}" for v in bad)


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_page_scrolls_sideways(opened: Open, full: str, empty: str, width: int) -> None:
    with opened(viewport={"width": width, "height": 800}) as it:
        for url in of_what_is(full, empty):
            page = it.look(url)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{url} is {wide} wide"


def test_a_new_transition_is_shown_without_a_reload(opened: Open, store: Store) -> None:
    with served(app_of(store)) as base, opened() as it:
        page = it.look(base)
        page.evaluate("window.mark = 1")
        assert "WhatsApp" not in page.inner_text("#open + .incident")
        with store.transaction() as tx:
            tx.put_transitions([days.began(at(94))])
        expect(page.locator(".incident h3").first).to_contain_text("WhatsApp")
        assert page.evaluate("window.mark") == 1
        assert it.troubles == []


def test_news_leave_the_reader_where_they_are(opened: Open, store: Store) -> None:
    with served(app_of(store)) as base, opened() as it:
        page = it.look(f"{base}/incidents/{days.OPEN.id}")
        page.click("summary")
        link = page.locator(".onsets a").nth(2)
        link.focus()
        with store.transaction() as tx:
            tx.put_transitions([days.began(at(94))])
            late = mention("fresh news", id="t:new", minutes=50, chatter=0.999)
            tx.add_mentions([late])
        expect(page.locator("q").first).to_have_text("fresh news")
        assert page.evaluate("document.activeElement.getAttribute('href')") == "/regions/GR"
        assert page.locator("details").get_attribute("open") is not None
        assert it.troubles == []


def test_a_page_says_when_it_is_cut_off_and_when_it_is_not(opened: Open, store: Store) -> None:
    with opened() as it:
        with served(app_of(store)) as base:
            page = it.look(base)
        expect(page.locator("#connection")).to_contain_text("not connected")


def tab_until(page: Page, selector: str, most: int = 60) -> int:
    """Press Tab until something of the selector has the focus; how often."""
    for presses in range(1, most):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return presses
    raise AssertionError(f"{selector} is out of reach")


def test_all_that_matters_is_reached_by_keyboard(opened: Open, full: str) -> None:
    with opened() as it:
        page = it.look(full)
        assert tab_until(page, ".skip") == 1
        assert page.locator(".skip").bounding_box() is not None
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        assert tab_until(page, ".map a") == 1, "the map comes first"
        assert page.evaluate("getComputedStyle(document.activeElement.querySelector('.region')).strokeWidth") == "2px"
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label.startswith("Albania: ")
        tab_until(page, '.map a[href="/regions/TR"]')
        page.keyboard.press("Enter")
        page.wait_for_url("**/regions/TR")
        tab_until(page, ".scroll")
        assert it.troubles == []


@pytest.mark.parametrize(("zone", "shown"), [("Europe/Istanbul", "15:02"), ("Europe/Belgrade", "13:02")])
def test_times_are_the_readers_with_utc_behind_them(opened: Open, full: str, zone: str, shown: str) -> None:
    with opened(timezone_id=zone) as it:
        time_ = it.look(full).locator(".incident.firing .facts time")
        assert time_.text_content() == f"2 Mar, {shown}"
        assert time_.get_attribute("title") == "2026-03-02 12:02:00 UTC"


def test_without_scripts_the_page_still_tells_all(opened: Open, full: str) -> None:
    with opened(java_script_enabled=False) as it:
        it.page.goto(full)
        said: Any = it.page.locator("main").text_content()
        assert "Instagram" in said
        assert "02 Mar 2026 12:02 UTC" in said
