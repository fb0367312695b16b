"""`listener sources` and `listener check` with many sources: what matters comes first, and all of it fits the terminal."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from listener.cli import check, health, plain, show
from listener.cli.configured import Configured
from listener.cli.show import Column
from listener.errors import SourceError
from listener.roster import Source
from listener.sources import MalformedError, Memo
from listener.store import open_store
from listener.types import Hearing, Post, SourceHealth
from tests.conftest import Command
from tests.servers.driving import NOW, net
from tests.servers.feeds import HttpServer, answer, drip, feed, item, rss

NARROW = {"COLUMNS": "80", "LINES": "24"}
REGIONS = ["TR", "RS", "BG", "GR", "HR", "BA", "SI", "RO", "MK", "AL", "ME", "XK"]


# --- the table ----------------------------------------------------------------------------------------------------


def source(name: str, region: str = "", module: Any = ModuleType("kind")) -> Source:  # noqa: B008 - never changed
    return Source(name, "rss", module, SimpleNamespace(), region, every=timedelta(minutes=10))


def lines(*known: SourceHealth, **sources: Source | None) -> list[health.Line]:
    every = [Configured(h.source, h.kind, h.region, sources.get(h.source, source(h.source))) for h in known]
    return health.lines(every, {h.source: h for h in known}, {}, NOW)


def known(name: str, **changes: Any) -> SourceHealth:
    table = {"last_success_at": NOW - timedelta(minutes=2), "last_item_at": NOW - timedelta(minutes=9), **changes}
    return SourceHealth(name, "rss", **table)


def places(**regions: str) -> list[Configured]:
    return [Configured(name, "rss", region, source(name, region)) for name, region in regions.items()]


def test_those_that_fail_come_first_the_longest_failing_at_the_top() -> None:
    found = lines(
        known("a-well"),
        known("n-fresh", last_success_at=None, last_item_at=None),
        known("k-fails-once", errors_in_a_row=1, reason="timeout"),
        known("b-quiet", last_item_at=NOW - timedelta(days=3)),
        known("m-fails-long", errors_in_a_row=9, reason="status_503"),
    )
    assert [(line.health.source, str(line.state)) for line in found] == [
        ("m-fails-long", "fails"),
        ("k-fails-once", "fails"),
        ("n-fresh", "never tried"),
        ("b-quiet", "silent"),
        ("a-well", "hears"),
    ]
    assert health.summary(found, NOW).plain == "5 sources: 1 hear · 2 fail · 1 silent · 1 never tried"


def test_silence_is_told_from_hearing_and_says_what_kind_it_is() -> None:
    found = lines(
        known("stopped", last_success_at=NOW - timedelta(hours=5)),
        known("empty", last_item_at=None),
        known("quiet", last_item_at=NOW - timedelta(days=3)),
    )
    assert {line.health.source: line.why for line in found} == {
        "stopped": "no answer for 5h",
        "empty": "no post yet",
        "quiet": "no post for 3d",
    }


def test_a_status_page_is_expected_to_be_quiet() -> None:
    page: Any = SimpleNamespace(CORROBORATES=True)
    (line,) = lines(known("status", last_item_at=None), status=source("status", module=page))
    assert line.state is health.State.HEARS


def test_when_nobody_has_answered_for_long_the_daemon_is_asked_after() -> None:
    said = health.summary(lines(known("a", last_success_at=NOW - timedelta(hours=5))), NOW).plain
    assert said.endswith("the last answer came 5h ago: is `listener run` running?")


def test_volume_is_measured_against_the_same_hour_of_the_days_before(tmp_path: Path) -> None:
    """A source that usually brings 60 posts in this hour and 30 of another one: the first is two thirds of the region."""
    with closing(open_store(f"sqlite:///{tmp_path / 'a.db'}")) as store:
        rows = []
        for day in range(4):
            for minute in range(1, 61):
                at = NOW - timedelta(days=day, minutes=minute)
                rows += [Hearing("loud", at, 1 if day else 0, up=True), Hearing("calm", at, minute % 2, up=True)]
                rows.append(Hearing("loud", at - timedelta(hours=3), 50, up=True))  # another hour does not count
        rows += [Hearing("short", NOW - timedelta(days=1, minutes=m), 9, up=True) for m in range(1, 40)]
        rows += [Hearing("fresh", NOW - timedelta(minutes=m), 1, up=True) for m in range(1, 61)]
        with store.transaction() as tx:
            tx.add_hearing(rows)
        volumes = health.volumes(store, places(loud="RS", calm="RS", fresh="RS", short="RS", other="TR"), NOW)
    assert volumes["loud"] == health.Volume(0, 60.0, 2 / 3)
    assert volumes["calm"] == health.Volume(30, 30.0, 1 / 3)
    assert volumes["fresh"] == health.Volume(60, None, None)  # never heard at this time before: nothing is usual
    assert volumes["short"] == health.Volume(0, None, None)  # not for long enough
    assert volumes["other"] == health.Volume(0, None, None)


def test_what_only_corroborates_has_no_share(tmp_path: Path) -> None:
    page: Any = SimpleNamespace(CORROBORATES=True)
    every = [*places(a="RS"), Configured("page", "statuspage", "RS", source("page", "RS", page))]
    with closing(open_store(f"sqlite:///{tmp_path / 'a.db'}")) as store:
        with store.transaction() as tx:
            for minute in range(1, 61):
                at = NOW - timedelta(days=1, minutes=minute)
                tx.add_hearing([Hearing("a", at, 1, up=True), Hearing("page", at, 1, up=True)])
        volumes = health.volumes(store, every, NOW)
    assert (volumes["a"].share, volumes["page"].share, volumes["page"].usual) == (1.0, None, 60.0)


def test_a_source_that_was_down_half_the_time_usually_brings_twice_what_was_heard(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'a.db'}")) as store:
        with store.transaction() as tx:
            for day in range(1, 5):
                end = NOW - timedelta(days=day)
                tx.add_hearing([Hearing("a", end - timedelta(minutes=m), 1, up=True) for m in range(1, 31)])
        assert health.volumes(store, places(a="RS"), NOW)["a"].usual == 60.0


# --- what fits ----------------------------------------------------------------------------------------------------


def drawn(made: Any, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(made)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("width", [44, 60, 80, 100, 140, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int) -> None:
    names = [
        "a",
        "portal-novosti-dana",
        "новини-24",
        "ειδησεις-σημερα",
        "新聞-台北",
        "stiri-din-toata-tara-si-de-peste-hotare",
    ]
    found = lines(
        *(
            known(
                f"{names[i % 6]}-{i}",
                region=REGIONS[i % 12],
                errors_in_a_row=i % 3 * 40,
                reason="timeout",
                lag=timedelta(seconds=i),
                next_try_at=NOW + timedelta(seconds=i * 9),
            )
            for i in range(200)
        )
    )
    rows = drawn(health.table(found, NOW, width), width)
    assert len(rows) == 201
    assert max(map(cell_len, rows)) <= width
    for i in (7, 60, 199):
        assert sum(f"-{i} " in f"{row} " for row in rows) == 1, "the end of a name tells it from the others"


def test_what_matters_stays_when_the_terminal_is_narrow() -> None:
    found = lines(known("a-source-with-a-long-name", errors_in_a_row=12, reason="timeout", lag=timedelta(1)))
    head, row = drawn(health.table(found, NOW, 60), 60)
    assert head.split() == ["source", "in", "heard", "newest", "state"]
    assert "12× no answer in time" in row
    assert "lag" not in head
    assert "lag" in drawn(health.table(found, NOW, 120), 120)[0]


def test_a_name_can_not_paint_the_terminal() -> None:
    (_, row) = drawn(
        show.fitted([Column("source", least=8, is_name=True)], [["\x1b[2Jevil[red]\u202e"]], 80, empty=""), 80
    )
    assert row == "[2Jevil[red]"


def test_every_reason_reads_as_words() -> None:
    for reason in (*plain.REASONS, *(f"status_{code}" for code in (302, 404, 503, 599)), "some_new_reason"):
        said = plain.words(reason)
        assert said
        assert "_" not in said
        assert len(said) <= 24


# --- the commands -------------------------------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[HttpServer]:
    """A server that answers while commands run as processes of their own."""
    server, loop, started = HttpServer(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        started.set()
        async with listening:
            await asyncio.Event().wait()

    task = loop.create_task(serve())

    def run() -> None:
        with closing(loop):
            asyncio.set_event_loop(loop)
            try:
                loop.run_until_complete(task)
            except asyncio.CancelledError:
                loop.run_until_complete(loop.shutdown_asyncgens())

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(10)
    yield server
    loop.call_soon_threadsafe(task.cancel)
    thread.join(10)


def config(folder: Path, *tables: str) -> None:
    head = "default_sources = false\n[http]\nallow_private = true\n"
    (folder / "listener.toml").write_text(head + "\n".join(tables))


def table(name: str, url: str, region: str = "") -> str:
    return f'[[source]]\nkind = "rss"\nname = "{name}"\nurl = "{url}"\nregion = "{region}"\n'


def test_sources_shows_all_that_is_configured_and_filters(listener: Command, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    pipe = '[[source]]\nkind = "jsonl"\nname = "pipe"\nregion = "RS"\n'
    config(tmp_path, *(table(f"s{i}", f"http://127.0.0.1:1/{i}", ["RS", "TR", ""][i % 3]) for i in range(9)), pipe)
    store = f"sqlite:///{tmp_path / 'a.db'}"
    with closing(open_store(store)) as opened, opened.transaction() as tx:
        tx.put_health(
            [
                SourceHealth("s0", "rss", "RS", now, now, posts=5, lag=timedelta(seconds=3)),
                SourceHealth("s1", "rss", "TR", None, None, 4, "status_404", now + timedelta(minutes=3)),
                SourceHealth("gone", "rss", "TR", None, None, 4, "timeout"),
            ]
        )
    done = listener("sources", "--store", store, env=NARROW)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head == "10 sources: 1 hear · 1 fail · 0 silent · 8 never tried"
    assert rows[1].split()[:3] == ["s1", "rss", "TR"]
    assert "4× 404 not there" in rows[1]
    assert "gone" not in done.stdout
    answers = listener("sources", "--store", store, "--region", "rs", "--region", "none", "--format", "jsonl")
    assert {json.loads(line)["source"] for line in answers.stdout.splitlines()} == {
        "s0",
        "s3",
        "s6",
        "s2",
        "s5",
        "s8",
        "pipe",
    }
    rows_of = list(
        csv.DictReader(io.StringIO(listener("sources", "--store", store, "--failing", "--format", "csv").stdout))
    )
    assert [(row["source"], row["reason"], row["said"]) for row in rows_of] == [("s1", "status_404", "404 not there")]
    with closing(open_store(store)) as opened, opened.transaction() as tx:
        days = [now - timedelta(days=1, minutes=minute) for minute in range(1, 61)]
        tx.add_hearing([Hearing(name, at, 1, up=True) for name in ("s0", "pipe") for at in days])
    answer = listener("sources", "--store", store, "--region", "RS", "--kind", "rss", "--format", "jsonl").stdout
    shares = {record["source"]: record["share_of_region"] for record in map(json.loads, answer.splitlines())}
    assert shares == {"s0": 0.5, "s3": None, "s6": None}
    assert "none fails" in listener("sources", "--store", store, "--failing", "--region", "RS").stdout


@pytest.mark.parametrize("command", ["import", "export"])
def test_help_of_the_lists_explains_every_option(listener: Command, command: str) -> None:
    done = listener("sources", command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert "[]" not in done.stdout, "double brackets are markup and vanish"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--region", "XY"), "--region: no region 'XY'"),
        (("--kind", "rs"), "--kind: no source kind 'rs'; did you mean 'rss'?"),
        (("--failing", "export"), "is for the table"),
        ((), "there is no store yet"),
    ],
)
def test_what_can_not_be_shown_says_why(
    listener: Command, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    config(tmp_path)
    done = listener("sources", "--store", f"sqlite:///{tmp_path / 'none.db'}", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_of_every_source_what_it_found(listener: Command, tmp_path: Path, web: HttpServer) -> None:
    hour_ago = format_datetime(datetime.now(UTC) - timedelta(minutes=61))
    web.behaviours |= {
        "/good": feed(rss(item("1", date=hour_ago), item("2"), item("3", date="Fri, 20 Nov 2020 10:00:00 GMT"))),
        "/old": feed(rss(item("1", date="Fri, 20 Nov 2020 10:00:00 GMT"))),
        "/empty": feed(rss()),
        "/sick": answer(500),
        "/slow": drip(rss(item("1")), 0.5),
    }
    names = ("good", "old", "empty", "sick", "slow", "lost")
    tables = [table(name, f"{web.url}/{name}", "RS") for name in names]
    config(tmp_path, *tables, '[[source]]\nkind = "jsonl"\nname = "pipe"\n')
    done = listener("check", "--within", "6s", env=NARROW)
    assert done.returncode == 0, done.stderr
    assert "3 of 7 sources answered" in done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.startswith("7 sources: 3 ok · 4 not: 1 ")
    assert max(map(cell_len, [head, *rows])) <= 80
    said = {row.split()[0]: row.split(maxsplit=3)[-1].strip() for row in rows[1:]}
    assert said["sick"].startswith("500 server error")
    assert said["slow"].startswith("no answer in time")
    assert said["lost"].startswith("404 not there")
    assert said["empty"] == "ok, nothing new"
    assert said["pipe"].startswith("not asked: reads stdin")
    assert [row.split()[0] for row in rows[-3:]] == ["empty", "good", "old"]
    assert rows[-2].split()[3] == "3"
    assert rows[-1].split()[3:] == ["1", rows[-1].split()[4], "ok"]
    assert list(tmp_path.glob("**/*.db")) == [], "nothing is stored"


def test_check_fails_when_nobody_answers_or_when_it_is_strict(
    listener: Command, tmp_path: Path, web: HttpServer
) -> None:
    web.behaviours["/good"] = feed(rss(item("1")))
    config(tmp_path, table("good", f"{web.url}/good", "RS"), table("lost", f"{web.url}/lost", "TR"))
    assert listener("check").returncode == 0
    strict = listener("check", "--strict")
    assert (strict.returncode, strict.stderr.splitlines()[-1]) == (1, "listener: 1 source did not answer")
    alone = listener("check", "--region", "TR", "--format", "jsonl")
    assert (alone.returncode, alone.stderr.splitlines()[-1]) == (1, "listener: no source answered")
    record = json.loads(alone.stdout)
    assert (record["source"], record["ok"], record["reason"]) == ("lost", False, "status_404")
    assert f"{web.url}/lost: answered 404" in record["detail"]


def test_check_shows_all_that_is_wrong_in_the_config_and_ends_with_2(
    listener: Command, tmp_path: Path, web: HttpServer
) -> None:
    web.behaviours["/good"] = feed(rss(item("1")))
    config(
        tmp_path,
        table("good", f"{web.url}/good"),
        '[[source]]\nkind = "rss"\nname = "typo"\nulr = "x"\n',
        '[[source]]\nkind = "threads"\nname = "opt-in"\n',
    )
    done = listener("check", env=NARROW)
    assert done.returncode == 2
    assert "terms not accepted" in done.stdout
    assert "wrong in the config" in done.stdout
    assert "ok" in done.stdout
    assert "unknown key 'ulr'; did you mean 'url'?" in done.stderr
    assert "Set accept_terms = true" in done.stderr
    store = f"sqlite:///{tmp_path / 'a.db'}"
    open_store(store).close()
    assert "terms not accepted" in listener("sources", "--store", store, env=NARROW).stdout


# --- asking -------------------------------------------------------------------------------------------------------


def kind(*raws: Any, then: Exception | None = None, forever: bool = False) -> Any:
    """A kind that brings these, then fails or goes on for ever."""

    async def posts(_options: Any, _cursor: Any, _net: Any) -> AsyncGenerator[tuple[Any, None], None]:
        for raw in raws:
            yield raw, None
        if then is not None:
            raise then
        while forever:
            await asyncio.sleep(0.01)
            yield "more", None

    def parse(raw: str, received_at: datetime) -> Post | None:
        if raw == "broken":
            raise MalformedError("no such thing")
        return None if raw == "delete" else Post(f"x:{raw}", "x", raw, received_at, received_at)

    return SimpleNamespace(posts=posts, parse=parse)


def asked(*modules: Any, limit: float = 5.0) -> list[check.Finding]:
    sources = [source(f"s{i}", module=module) for i, module in enumerate(modules)]
    return asyncio.run(check.ask_all(sources, net(), limit, lambda done: None))


def test_a_stream_is_listened_to_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LINGER", 0.2)
    (finding,) = asked(kind("a", forever=True))
    assert finding.reason == ""
    assert 2 < finding.items < 200


def test_a_kind_that_breaks_is_one_line_and_the_others_are_seen() -> None:
    broken, well = asked(kind("a", then=KeyError("text")), kind("a", "delete"))
    assert (broken.reason, broken.detail) == ("crashed", "KeyError: 'text'")
    assert (well.reason, well.items) == ("", 2)


def test_what_is_malformed_is_counted_and_is_a_failure_when_there_is_nothing_else() -> None:
    some, all_of_it = asked(kind("a", "broken", "b"), kind("broken", "broken"))
    assert (some.reason, some.items, some.malformed) == ("", 2, 1)
    assert (all_of_it.reason, all_of_it.malformed) == ("malformed", 2)


def test_a_failure_after_some_items_is_a_failure() -> None:
    (finding,) = asked(kind("a", then=SourceError("http://x/: cut", reason="disconnected")))
    assert (finding.reason, finding.items) == ("disconnected", 1)


def test_a_memo_is_no_item() -> None:
    (finding,) = asked(kind(Memo(), "a", None))
    assert finding.items == 1


def test_one_source_of_a_host_is_asked_at_a_time_and_waiting_costs_it_nothing() -> None:
    running: list[int] = []
    most: list[int] = []

    def slow() -> Any:
        async def posts(_options: Any, _cursor: Any, _net: Any) -> AsyncGenerator[tuple[Any, None], None]:
            running.append(1)
            most.append(len(running))
            await asyncio.sleep(0.1)
            running.pop()
            yield None, None

        return SimpleNamespace(posts=posts)

    same = [
        Source(f"s{i}", "x", slow(), SimpleNamespace(url=f"https://one.example/{i}"), every=timedelta(minutes=1))
        for i in range(5)
    ]
    findings = asyncio.run(check.ask_all(same, net(), 0.25, lambda done: None))
    assert [finding.reason for finding in findings] == [""] * 5
    assert max(most) == 1
