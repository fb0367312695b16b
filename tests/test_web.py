"""The page and the API over a real store: what people see, escaped and honest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import httpx
import pytest

from listener.store import Store, open_store
from listener.types import Incident, IncidentState, RegionPart, SourceHealth, State, Transition
from listener.web.app import Settings, create_app
from tests.builders import at, hearing, mention, point

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def incident(state: IncidentState = IncidentState.FIRING) -> Incident:
    part = RegionPart("TR", State.PROBLEMS, at(2), at(1), at(3), 12.0, 0.4, 22.0)
    return Incident(
        id="instagram-20260302T1202Z",
        service="instagram",
        state=state,
        parts=(part,),
        started_at=at(2),
        updated_at=at(20),
        cause={"outage": 0.9, "block": 0.1},
        cause_evidence=("several countries at once",),
        observed=12.0,
        expected=0.4,
        authors=12,
        posts=15,
    )


@pytest.fixture
def store() -> Iterator[Store]:
    made = open_store("sqlite:///:memory:")
    yield made
    made.close()


@pytest.fixture
def filled(store: Store) -> Store:
    with store.transaction() as tx:
        tx.add_mentions(
            [mention(EVIL + " instagram çöktü", id="t:1", minutes=3), mention(id="t:2", author="b", minutes=4)]
        )
        tx.put_points([point(3, 2.5), point(4, 7.0)])
        tx.put_transitions([Transition("t1", at(2), incident(), None, IncidentState.FIRING)])
        tx.add_hearing([hearing(3)])
        tx.put_health([SourceHealth("feed", "rss", "TR", last_success_at=at(19), posts=10)])
        tx.put_health([SourceHealth("gone", "rss", "RS", errors_in_a_row=3, reason="unreachable", next_try_at=at(30))])
    return store


def ask(store: Store, path: str, minutes: float = 25) -> httpx.Response:
    import asyncio

    settings = Settings({"instagram": "Instagram"}, {"TR": "Turkey"}, "1.0", lambda: b"metric 1\n", lambda: at(minutes))
    app = create_app(store, settings)

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://listener.test") as client:
            return await client.get(path)

    return asyncio.run(get())


def test_an_empty_store_has_a_page_that_says_so(store: Store) -> None:
    page = ask(store, "/").text
    assert "Nothing stands out" in page
    assert "Nothing heard yet" in page


def test_the_page_shows_the_incident_its_cause_and_its_posts(filled: Store) -> None:
    page = ask(filled, "/").text
    for words in ("Instagram", "Turkey", "firing", "12 people", "outage 90 %", "several countries at once", "çöktü mü"):
        assert words in page
    assert "unreachable" in page
    assert "1 of 2 sources heard" in page


def test_the_text_of_a_post_is_never_markup(filled: Store) -> None:
    answer = ask(filled, "/")
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert "&lt;script&gt;" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_synthetic_data_is_labelled(store: Store) -> None:
    import asyncio

    app = create_app(store, replace(Settings(clock=lambda: at(0)), synthetic=True))

    async def get() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://listener.test") as client:
            return (await client.get("/")).text

    assert "every post shown here was invented" in asyncio.run(get())


def test_the_api_gives_the_signal_in_bins(filled: Store) -> None:
    made = ask(filled, "/api/v1/signals?service=instagram&region=TR&bin_seconds=600").json()
    assert [(p["time"], p["observed"]) for p in made["points"]] == [("2026-03-02T12:00:00Z", 9.5)]
    assert ask(filled, "/api/v1/signals?service=instagram&region=TR&bin_seconds=7").status_code == 422
    assert ask(filled, "/api/v1/signals?service=instagram&region=TR&since=2020-01-01T00:00:00Z").status_code == 422


def test_the_api_gives_incidents_sources_and_posts_without_authors(filled: Store) -> None:
    (one,) = ask(filled, "/api/v1/incidents?state=firing").json()
    assert (one["incident"], one["regions"], one["parts"][0]["state"]) == (
        "instagram-20260302T1202Z",
        ["TR"],
        "problems",
    )
    assert {s["source"] for s in ask(filled, "/api/v1/sources").json()} == {"feed", "gone"}
    posts = ask(filled, "/api/v1/posts?service=instagram")
    assert len(posts.json()) == 2
    assert "author" not in posts.text


def test_incidents_are_a_valid_feed(filled: Store) -> None:
    answer = ask(filled, "/incidents.atom")
    feed = ET.fromstring(answer.content)  # our own output
    atom = "{http://www.w3.org/2005/Atom}"
    assert [e.findtext(f"{atom}title") for e in feed.iter(f"{atom}entry")] == ["instagram in TR: firing"]
    assert all(feed.findtext(f"{atom}{name}") for name in ("id", "title", "updated"))


def test_operators_see_health_readiness_and_metrics(filled: Store) -> None:
    assert ask(filled, "/healthz").text == "ok\n"
    assert ask(filled, "/readyz").status_code == 200
    assert ask(filled, "/readyz", minutes=25 + timedelta(hours=1) / timedelta(minutes=1)).status_code == 503
    assert ask(filled, "/metrics").text == "metric 1\n"
