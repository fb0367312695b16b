"""What people see: every page, full and empty, in their language, escaped and honest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from listener import words
from listener.store import Store
from listener.types import IncidentState, SourceHealth, State
from tests import days
from tests.builders import at, mention
from tests.servers.dashboard import ask, served
from tests.web import app_of, dashboard, kept

PAGES = (
    "/",
    f"/incidents/{days.OPEN.id}",
    f"/incidents/{days.MAYBE.id}",
    f"/incidents/{days.OVER[0].id}",
    "/services/instagram",
    "/services/telegram",
    "/regions/TR",
    "/regions/MK",
    "/sources",
    "/methodology",
)
ALWAYS = ("/", "/services/instagram", "/regions/TR", "/sources", "/methodology")
EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
VOID = {"meta", "link", "img", "br", "hr", "input"}
SHAPES = {"path", "polyline", "line", "rect"}


class Balanced(HTMLParser):
    """Raises when tags are not nested as they were opened; keeps ids, links and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("full"), days.live_a_day) as base:
        yield base


@pytest.fixture(scope="module")
def followed() -> set[str]:
    """Links of `full` that led somewhere: pages share most of theirs."""
    return set()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("empty")) as base:
        yield base


def text_of(answer: httpx.Response) -> str:
    return " ".join(Balanced(answer.text).text.split())


@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_a_lived_day_is_whole_and_its_links_lead_somewhere(
    full: str, followed: set[str], path: str
) -> None:
    answer = ask(full, path)
    assert answer.status_code == 200
    page = Balanced(answer.text)
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith(("/", "#", "?lang="))} == set()
    inner = {link for link in page.links if link.startswith("/")} - followed
    assert [link for link in sorted(inner) if ask(full, link).status_code != 200] == []
    followed |= inner


@pytest.mark.parametrize("path", ALWAYS)
def test_every_page_of_an_empty_store_says_that_there_is_nothing(empty: str, path: str) -> None:
    answer = ask(empty, path)
    assert answer.status_code == 200
    said = text_of(answer)
    if path == "/":
        assert words.load()["en"]("all_quiet") in said
    if path != "/methodology":
        assert words.load()["en"]("nothing_heard") in said


def test_the_front_page_says_first_what_is_wrong_and_where(full: str) -> None:
    answer = ask(full, "/")
    said = text_of(answer)
    for expected in ("Instagram", "Turkey", "162 people", "outage", "Ziraat Bankası", "7 of 10 sources heard"):
        assert expected in said
    assert said.index("Instagram") < said.index("Ziraat Bankası") < said.index("SBB")
    assert re.findall(r'<path class="region (\w+)"', answer.text).count("problems") == 2
    assert 'class="region no_data"' in answer.text, "Macedonia is not heard: that is no quiet"


def test_an_incident_page_tells_what_it_rests_on_and_what_it_cannot_say(full: str) -> None:
    said = text_of(ask(full, f"/incidents/{days.OPEN.id}"))
    for expected in (
        "several countries at once",  # why we think so
        "έπεσε το instagram",  # posts
        "bluesky: 465",  # who spoke
        "press-rs",  # who was silent
        "86 %",  # the cause
        "sha256:4f4f",  # which model
        "became problems: Turkey, Bulgaria",  # what happened
        "spread to Greece",
    ):
        assert expected in said
    assert words.load()["en"]("cannot_end") in said
    assert "author-of" not in said, "authors are nobody's business, not even their hashes"


def test_a_region_that_can_hardly_be_heard_says_so(full: str) -> None:
    assert words.load()["en"]("no_data_long") in text_of(ask(full, "/regions/MK"))
    assert words.load()["en"]("no_data_long") not in text_of(ask(full, "/regions/TR"))


def test_a_region_says_from_how_many_people_an_outage_would_be_noticed(full: str) -> None:
    english = words.load()["en"]
    said = text_of(ask(full, "/regions/TR"))
    assert english("noticed_from") in said
    assert "WhatsApp about 18 people" in said
    assert "Instagram stands out already" in said, "it is in the middle of an outage"
    deaf = text_of(ask(full, "/regions/XK"))
    assert "quiet" not in deaf, "that nobody is heard is no quiet"
    assert english("noticed_deaf") in deaf
    assert english("noticed_from") not in deaf


def test_a_service_says_so_of_every_region(full: str) -> None:
    said = text_of(ask(full, "/services/whatsapp"))
    for expected in ("Turkey about 18 people", "Serbia about 6 people", "Kosovo nothing could be noticed"):
        assert expected in said


@pytest.mark.parametrize("code", ["bg", "el", "en", "sr", "tr"])
def test_it_is_said_in_the_viewers_language(full: str, code: str) -> None:
    said = words.load()[code]
    page = text_of(ask(full, f"/regions/TR?lang={code}"))
    assert said("noticed_about", count=18) in page
    assert said("noticed_already") in page


def test_what_was_worked_out_long_ago_is_not_shown(tmp_path: Path) -> None:
    with dashboard(tmp_path, days.live_a_day, clock=lambda: days.NOW + timedelta(hours=3)) as base:
        assert words.load()["en"]("noticed") not in text_of(ask(base, "/regions/TR"))
        assert ask(base, "/api/v1/visible").json() == []


def test_a_quiet_day_does_not_look_like_a_fresh_start(tmp_path: Path) -> None:
    def fill(store: Store) -> None:
        with store.transaction() as tx:
            tx.put_health(list(days.health()))

    english = words.load()["en"]
    with dashboard(tmp_path, fill) as base:
        for path in ("/regions/TR", "/services/instagram"):
            said = text_of(ask(base, path))
            assert english("quiet_day") in said
            assert english("nothing_heard") not in said


def test_of_an_incident_with_very_many_posts_the_first_is_still_known(tmp_path: Path) -> None:
    def fill(store: Store) -> None:
        with store.transaction() as tx:
            tx.put_transitions(days.changes(days.OPEN))
            late = [mention(f"down {n}", id=f"t:{n}", minutes=40 + n / 100) for n in range(2100)]
            tx.add_mentions([mention("the very first", id="t:first", minutes=3), *late])

    with dashboard(tmp_path, fill) as base:
        assert '<time datetime="2026-03-02T12:03:00Z">' in ask(base, f"/incidents/{days.OPEN.id}").text


@pytest.mark.parametrize(
    "path", ["/nothing", "/incidents/nothing", "/services/nothing", "/regions/XX", "/incidents/%00"]
)
def test_a_page_that_is_not_there_is_a_page_with_a_way_back(full: str, path: str) -> None:
    answer = ask(full, path)
    assert answer.status_code == 404
    assert words.load()["en"]("not_found") in text_of(answer)
    assert 'href="/"' in answer.text


def test_the_language_is_the_one_asked_for_then_kept_then_the_browsers(tmp_path: Path) -> None:
    english = words.load()["en"]
    tables = {**english.tables, "words": {**english.tables["words"], "how": "Nasıl çalışır"}}
    both = {"en": english, "tr": words.Words("tr", "Türkçe", tables)}
    with dashboard(tmp_path, words=both) as base:
        assert 'lang="en"' in ask(base, "/").text
        browser = ask(base, "/", Accept_Language="de-DE, tr-TR;q=0.8, en;q=0.5")
        assert "Nasıl çalışır" in text_of(browser)
        assert "set-cookie" not in browser.headers
        asked = ask(base, "/?lang=tr", Accept_Language="en")
        assert '<html lang="tr">' in asked.text
        assert "lang=tr" in asked.headers["set-cookie"]
        assert "HttpOnly" in asked.headers["set-cookie"]
        assert '<html lang="tr">' in ask(base, "/sources", Cookie="lang=tr", Accept_Language="en").text
        for nonsense in ("xx", '"><script>', "%00", "tr" * 500):
            assert '<html lang="en">' in ask(base, f"/?lang={nonsense}").text
        assert ask(base, "/", Accept_Language="tr").headers["vary"].lower().count("accept-language") == 1


def test_texts_from_outside_are_never_markup(tmp_path: Path) -> None:
    def fill(store: Store) -> None:
        with store.transaction() as tx:
            tx.put_transitions(days.changes(replace(days.OPEN, cause_evidence=(EVIL,))))
            tx.add_mentions([mention(EVIL, id="t:1", minutes=3, source=EVIL, url=EVIL)])
            tx.put_health(
                [SourceHealth(EVIL, EVIL, "TR", errors_in_a_row=1, reason=EVIL), SourceHealth("b", "rss", EVIL)]
            )
            tx.add_dropped(EVIL, f"{days.NOW:%Y-%m-%d}", {EVIL: 1})

    services = {**days.SERVICES, "instagram": EVIL}
    with dashboard(tmp_path, fill, services=services, regions={**days.REGIONS, "TR": EVIL}) as base:
        for path in (*ALWAYS, f"/incidents/{days.OPEN.id}", "/badge/instagram/TR.svg"):
            page = ask(base, path).text
            assert "<script>alert" not in page
            assert "<img" not in page
        assert "&lt;script&gt;" in ask(base, f"/incidents/{days.OPEN.id}").text


def test_invented_data_is_labelled_on_every_page(tmp_path: Path) -> None:
    with dashboard(tmp_path, synthetic=True) as base:
        assert all(words.load()["en"]("synthetic") in text_of(ask(base, path)) for path in ALWAYS)


@pytest.mark.parametrize("path", [*ALWAYS, "/nothing", "/api/v1/incidents", "/static/page.js", "/metrics"])
def test_a_browser_may_load_nothing_but_ours_and_frame_nothing(full: str, path: str) -> None:
    headers = ask(full, path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("style", "script", "img", "connect")} == {"'self'"}
    assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_a_badge_shows_the_state_and_may_stand_in_other_peoples_pages(tmp_path: Path) -> None:
    over = replace(days.OPEN, id="over", service="youtube", state=IncidentState.RESOLVED, resolved_at=days.NOW)

    def fill(store: Store) -> None:
        days.live_a_day(store)
        with store.transaction() as tx:
            tx.put_transitions(days.changes(over))

    with dashboard(tmp_path, fill) as base:
        states = {}
        for place in ("instagram/TR", "instagram/RS", "instagram/GR", "youtube/TR", "youtube/MK"):
            answer = ask(base, f"/badge/{place}.svg")
            assert answer.headers["content-type"] == "image/svg+xml"
            assert "frame-ancestors *" in answer.headers["content-security-policy"]
            states[place] = re.findall(r"<title>.*: (.*)</title>", answer.text)[0]
        said = [str(state).replace("_", " ") for state in State]
        assert set(states.values()) <= set(said)
        assert list(states.values()) == ["problems", "possible", "recovering", "quiet", "no data"]
        assert ask(base, "/badge/nothing/TR.svg").status_code == 404
        assert ask(base, "/badge/instagram/XX.svg").status_code == 404


@pytest.mark.parametrize("strips", [True, False], ids=["the proxy strips it", "the proxy leaves it"])
def test_the_dashboard_runs_below_a_path_of_another_site(tmp_path: Path, strips: bool) -> None:
    with dashboard(tmp_path, days.live_a_day, url="https://example.org/outages/") as base:
        before = "" if strips else "/outages"
        followed: set[str] = set()
        for path in PAGES:
            page = Balanced(ask(base, before + path).text)
            inner = [link for link in page.links if link.startswith("/")]
            assert inner
            assert all(link.startswith("/outages/") for link in inner)
            ends = {link.removeprefix("/outages") if strips else link for link in inner} - followed
            assert [link for link in sorted(ends) if ask(base, link).status_code != 200] == []
            followed |= ends
        feed = ask(base, f"{before}/incidents.atom").text
        assert f'href="https://example.org/outages/incidents/{days.OPEN.id}"' in feed
        assert ask(base, f"{before}/badge/instagram/TR.svg").headers["content-security-policy"].endswith("ancestors *")
        assert ask(base, f"{before}/api/v1/incidents").headers["etag"]
        assert ask(base, f"{before}/nothing").status_code == 404


def test_what_is_long_is_compressed(full: str) -> None:
    assert ask(full, "/", Accept_Encoding="gzip").headers["content-encoding"] == "gzip"
    assert "content-encoding" not in ask(full, "/", Accept_Encoding="identity").headers


def test_a_dashboard_is_ready_while_some_source_is_heard(tmp_path: Path) -> None:
    now = [days.NOW]
    with kept(tmp_path, days.live_a_day) as store, served(app_of(store, clock=lambda: now[0])) as base:
        assert ask(base, "/healthz").text == "ok\n"
        assert ask(base, "/readyz").status_code == 200
        now[0] += timedelta(hours=1)
        assert ask(base, "/readyz").status_code == 503
        with store.transaction() as tx:
            tx.put_health([SourceHealth("press-mk", "rss", "MK", last_success_at=at(150))])
        assert ask(base, "/readyz").status_code == 200
        for late, code in ((1, 200), (6, 503)):
            with store.transaction() as tx:
                tx.set_mark("lane", json.dumps({"watched": (now[0] - timedelta(minutes=late)).isoformat()}))
            assert ask(base, "/readyz").status_code == code
        assert "does a process play the role watch?" in ask(base, "/readyz").text
