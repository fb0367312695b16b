"""What programs read: the API, the feeds, the metrics."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from listener.store import Store
from listener.telemetry import Metrics
from listener.types import Expected, SeriesKey, SourceHealth
from tests import days
from tests.builders import at, mention, point
from tests.servers.dashboard import ask
from tests.web import dashboard

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("full"), days.live_a_day) as base:
        yield base


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("empty")) as base:
        yield base


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_signal_comes_in_bins_with_what_was_usual(tmp_path: Path) -> None:
    def fill(store: Store) -> None:
        with store.transaction() as tx:
            tx.put_points([point(3, 2.5), point(9, 7.0), point(10, 1.0), point(3, 4.0, region="RS")])
            tx.put_expected([Expected(SeriesKey("instagram", "TR"), at(60 * hour), 6.0, 9.0) for hour in (-1, 0)])

    with dashboard(tmp_path, fill) as base:
        signal = f"{base}/api/v1/signals?service=instagram&region=TR"
        made = ask(signal, "&bin_seconds=600").json()
        assert (made["service"], made["region"], made["bin_seconds"]) == ("instagram", "TR", 600)
        assert [(p["time"], p["observed"], p["expected"], p["posts"]) for p in made["points"]] == [
            ("2026-03-02T12:00:00Z", 9.5, 1.0, 9),
            ("2026-03-02T12:10:00Z", 1.0, 1.0, 1),
        ]
        day = ask(signal, "&bin_seconds=86400").json()["points"]
        assert [(p["observed"], p["expected"]) for p in day] == [(10.5, None)], "nobody knows of all its hours"
        assert ask(signal, "&since=2026-03-02T12:05:00Z&until=2026-03-02T12:10:00Z").json()["points"][0]["posts"] == 7
        table = rows(ask(signal, "&format=csv&bin_seconds=60").text)
        assert [row["observed"] for row in table] == ["2.5", "7.0", "1.0"]


@pytest.mark.parametrize(
    "query",
    [
        "signals",
        "signals?service=instagram",
        "signals?service=instagram&region=tr",
        "signals?service=Insta gram&region=TR",
        "signals?service=instagram&region=TR&bin_seconds=7",
        "signals?service=instagram&region=TR&bin_seconds=1e99",
        "signals?service=instagram&region=TR&since=2020-01-01T00:00:00Z",
        "signals?service=instagram&region=TR&since=yesterday",
        "signals?service=instagram&region=TR&since=0001-01-01T00:00:00%2B14:00",
        "signals?service=instagram&region=TR&until=9999-12-31T23:59:59Z",
        "incidents?state=worse",
        "incidents?limit=0",
        "incidents?limit=100000",
        "incidents?page=-1",
        "incidents?format=xml",
        "posts?since=%ED%A0%80",
        "posts?service=%00",
        f"posts?service={'a' * 81}",
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(full: str, query: str) -> None:
    answer = ask(full, f"/api/v1/{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_incidents_are_listed_newest_first_and_narrowed(full: str) -> None:
    def found(query: str) -> list[str]:
        return [one["service"] for one in ask(full, f"/api/v1/incidents{query}").json()]

    assert found("") == ["ziraat", "instagram", "sbb", "x"]
    assert found("?state=firing") == ["instagram"]
    assert found("?region=RS") == ["instagram", "sbb"]
    assert found("?service=x&region=TR") == ["x"]
    assert found("?service=x&region=GR") == []
    assert found("?since=2026-03-02T12:00:00Z") == ["ziraat", "instagram"]
    one = ask(full, f"/api/v1/incidents/{days.OPEN.id}").json()
    assert one["regions"] == ["TR", "BG", "GR", "RS", "ZZ"]
    assert one["parts"][0]["state"] == "problems"
    assert [t["to_state"] for t in ask(full, f"/api/v1/incidents/{days.OVER[0].id}/transitions").json()] == [
        "pending",
        "firing",
        "resolved",
    ]
    for path in ("nothing", "nothing/transitions", "%ED%A0%80"):
        answer = ask(full, f"/api/v1/incidents/{path}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "no such incident"})


def test_posts_come_without_authors_and_narrowed(full: str) -> None:
    answer = ask(full, "/api/v1/posts?service=instagram&region=GR&limit=5")
    assert [post["language"] for post in answer.json()] == ["el"] * 5
    assert "author" not in answer.text
    assert ask(full, "/api/v1/posts?service=x").json() == []
    some = ask(full, "/api/v1/posts?since=2026-03-02T12:10:00Z&until=2026-03-02T12:11:00Z").json()
    assert {post["at"] for post in some} == {"2026-03-02T12:10:00Z"}


@pytest.mark.parametrize("path", ["/api/v1/posts?service=instagram&texts=true&", "/api/v1/incidents?"])
def test_pages_follow_each_other_without_gap_or_repetition(full: str, path: str) -> None:
    whole = ask(full, f"{path}limit=1000")
    assert "x-next-page" not in whole.headers
    size = max(1, len(whole.json()) // 4)
    got: list[Any] = []
    page = "1"
    while page:
        answer = ask(full, f"{path}limit={size}&page={page}")
        table = ask(full, f"{path}limit={size}&page={page}&format=csv")
        got += answer.json()
        page = answer.headers.get("x-next-page", "")
        assert table.headers.get("x-next-page", "") == page
    assert got == whole.json()


@pytest.mark.parametrize("path", ["incidents", "sources", "posts", "signals"])
def test_csv_holds_the_same_as_json(full: str, path: str) -> None:
    query = "?service=instagram&region=TR&" if path == "signals" else "?"
    table = rows(ask(full, f"/api/v1/{path}{query}format=csv").text)
    plain = ask(full, f"/api/v1/{path}{query}").json()
    plain = plain["points"] if path == "signals" else plain
    assert len(table) == len(plain) > 0
    assert list(table[0]) == list(plain[0])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠x"])
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    def fill(store: Store) -> None:
        with store.transaction() as tx:
            tx.add_mentions([mention(text, id="t:1", url=text)])
            tx.put_health([SourceHealth(text, "rss", reason=text)])

    with dashboard(tmp_path, fill) as base:
        for path in ("posts?texts=true&", "sources?"):
            answer = ask(base, f"/api/v1/{path}format=csv")
            assert answer.headers["content-type"] == "text/csv; charset=utf-8"
            (row,) = rows(answer.text)
            assert f"'{text}" in row.values()
            assert text not in row.values()


def test_what_the_caller_has_already_is_not_sent_again(full: str) -> None:
    for path in ("/api/v1/incidents", "/api/v1/sources?format=csv", "/api/v1/openapi.json"):
        first = ask(full, path)
        tag = first.headers["etag"]
        again = ask(full, path, If_None_Match=f'"other", {tag}')
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert ask(full, path, If_None_Match=tag.removeprefix("W/")).status_code == 304
        assert ask(full, path, If_None_Match='"other"').content == first.content
        assert ask(full, path, If_None_Match=tag, Accept_Encoding="gzip").status_code == 304


def test_series_are_listed_those_in_trouble_first(full: str) -> None:
    found = ask(full, "/api/v1/series").json()
    assert [(one["service"], one["region"], one["state"]) for one in found[:2]] == [
        ("instagram", "TR", "problems"),
        ("instagram", "BG", "problems"),
    ]
    assert all(one["chatter_24h"] > 0 for one in found)
    assert {one["service"] for one in ask(full, "/api/v1/series?service=x").json()} == {"x"}
    assert {one["region"] for one in ask(full, "/api/v1/series?region=RO").json()} == {"RO"}


def test_the_smallest_outage_that_could_be_noticed_is_told_of_each_series(full: str) -> None:
    found = {one["region"]: one for one in ask(full, "/api/v1/visible?service=whatsapp").json()}
    assert found.keys() == days.REGIONS.keys()
    assert found["TR"] == {"service": "whatsapp", "region": "TR", "authors": 18, "at": "2026-03-02T13:15:00Z"}
    assert found["RS"]["authors"] == 6
    assert found["AL"]["authors"] == 10, "of Albania 60 % is heard since then, where it was 97 %"
    assert found["XK"]["authors"] is None, "Kosovo is not heard at all"
    assert [one["authors"] for one in ask(full, "/api/v1/visible?service=instagram&region=TR").json()] == [0]
    (row,) = rows(ask(full, "/api/v1/visible?service=whatsapp&region=XK&format=csv").text)
    assert (row["region"], row["authors"]) == ("XK", "")


def test_incidents_are_a_valid_atom_feed(full: str, empty: str) -> None:
    answer = ask(full, "/incidents.atom")
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    feed = ET.fromstring(answer.content)  # our own output
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    assert [e.findtext(f"{ATOM}title") for e in entries][1] == "instagram in TR, BG, GR, RS, ZZ: firing"
    for element in (feed, *entries):  # RFC 4287, 4.1: these are obligatory
        assert all(element.findtext(f"{ATOM}{name}") for name in ("id", "title", "updated"))
        assert datetime.fromisoformat(element.findtext(f"{ATOM}updated") or "").tzinfo is not None
    assert all(e.findtext(f"{ATOM}author/{ATOM}name") for e in entries)
    assert len({e.findtext(f"{ATOM}id") for e in entries}) == len(entries) == 4
    for entry in entries:
        link = entry.find(f"{ATOM}link")
        assert link is not None
        assert ask("", link.attrib["href"]).status_code == 200
    nothing = ET.fromstring(ask(empty, "/incidents.atom").content)
    assert nothing.findtext(f"{ATOM}updated")


def test_incidents_are_a_valid_json_feed(full: str, empty: str) -> None:
    answer = ask(full, "/incidents.json")
    assert answer.headers["content-type"] == "application/feed+json; charset=utf-8"
    feed = answer.json()
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    assert feed["title"]
    assert feed["feed_url"] == f"{full}/incidents.json"
    assert len(feed["items"]) == 4
    for item in feed["items"]:
        assert isinstance(item["id"], str)
        assert item["content_text"]
        assert all(datetime.fromisoformat(item[name]).tzinfo for name in ("date_published", "date_modified"))
        assert all(isinstance(tag, str) for tag in item["tags"])
        assert ask("", item["url"]).status_code == 200
    assert ask(empty, "/incidents.json").json()["items"] == []


def test_a_feed_keeps_its_entry_while_an_incident_changes(tmp_path: Path) -> None:
    def fill(store: Store) -> None:
        with store.transaction() as tx:
            tx.put_transitions(days.changes(days.OPEN))
            tx.put_incidents([replace(days.OPEN, updated_at=days.NOW + timedelta(minutes=1))])

    with dashboard(tmp_path, fill) as base:
        (item,) = ask(base, "/incidents.json").json()["items"]
    assert item["id"] == f"tag:listener,2026:{days.OPEN.id}"
    assert item["date_modified"] > item["date_published"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_finds_nothing_to_say_about_the_metrics(tmp_path: Path) -> None:
    metrics = Metrics("1.0")
    metrics.posts_received.labels('od"d\n\\source').inc()
    metrics.posts_dropped.labels("no_match").inc()
    metrics.mentions.labels("tr", "report").inc()
    metrics.source_lag.labels("a").set(3)
    metrics.source_success.labels("a").set(1e9)
    metrics.source_errors.labels("a", "timeout").inc()
    metrics.commit.observe(0.1)
    metrics.ratio.labels("instagram", "TR").set(3)
    metrics.incidents.labels("TR").set(1)
    metrics.transitions.labels("firing").inc()
    metrics.notifications_failed.labels("ops", "timeout").inc()
    with dashboard(tmp_path, metrics=metrics.render) as base:
        answer = ask(base, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    done = subprocess.run(["promtool", "check", "metrics"], input=answer.content, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_description_names_every_path(full: str) -> None:
    described = ask(full, "/api/v1/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    one = "incidents/{incident}"
    known = ("signals", "series", "visible", "incidents", one, f"{one}/transitions", "sources", "posts")
    assert set(described["paths"]) == {f"/api/v1/{path}" for path in known}
    assert json.dumps(described).count("description") > 20
