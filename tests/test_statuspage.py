"""A company's own status page is heard update by update, says what it means, and is never taken for the people it happens to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import kinds
from listener.errors import ConfigError, SourceError
from listener.sources import MalformedError
from listener.sources import statuspage as kind
from listener.types import Post, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, running
from tests.servers.statuspage import StatusPage, component, incident, update

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, **changes: Any) -> kind.Options:
    return kind.Options(server=server.url, service="github", **changes)


def read(raw: Any, received_at: datetime = NOW) -> Post:
    made = kind.parse(raw, received_at)
    assert isinstance(made, Post)
    return made


def ids(raws: list[Any]) -> list[str]:
    return [read(raw).id.partition("127.0.0.1:")[2] for raw in raws]


def a_raw(**changes: Any) -> kind.Raw:
    return kind.Raw(update("u", **changes), incident("i"), "Acme", "status.acme.example", ("github",))


async def polls(server: StatusPage, *changes: Callable[[], None], **chosen: Any) -> list[list[Any]]:
    """What each poll brings: one at first, and one after each change of the page."""
    time, brought = Time(), []
    async with running(server), net(time) as edge:
        raws, cursor = await one_poll(kind.posts(options(server, **chosen), None, edge))
        brought.append(raws)
        for change in changes:
            change()
            time.now += 2 * MINUTE
            raws, cursor = await one_poll(kind.posts(options(server, **chosen), cursor, edge))
            brought.append(raws)
    return brought


@pytest.mark.parametrize(
    ("status", "label"),
    [
        *(("investigating", "relay"), ("identified", "relay"), ("monitoring", "relay")),
        *(("resolved", "recovered"), ("postmortem", "recovered"), ("Resolved", "recovered")),
        *(("scheduled", "not_now"), ("in_progress", "not_now"), ("completed", "not_now")),
        *(("something new", ""), (None, "")),
    ],
)
def test_an_update_says_itself_what_it_means_and_an_unknown_status_says_nothing(status: Any, label: str) -> None:
    made = read(a_raw(status=status))
    assert (made.stated, made.tier, made.services) == (label, Tier.OFFICIAL, ("github",))


def test_whatever_is_said_of_a_maintenance_is_no_outage() -> None:
    raw = kind.Raw(update("u", "investigating"), incident("m", impact="maintenance"), "Acme", "h")
    assert read(raw).stated == "not_now"


def test_a_post_tells_the_page_the_incident_how_it_stands_and_what_is_said() -> None:
    body = "Some users can't log in.<br />We&#39;re on it."
    made = read(a_raw(body=body, created_at="2026-11-20T14:08:00.000+01:00"))
    assert made.text == "Acme: Logins fail (investigating)\nSome users can't log in.\nWe're on it."
    assert made.created_at == datetime(2026, 11, 20, 13, 8, tzinfo=UTC)
    assert (made.author, made.url) == ("status.acme.example", "https://status.acme.example")


@pytest.mark.parametrize("field", ["status", "body", "created_at", "display_at", "affected_components"])
def test_any_field_of_an_update_but_its_id_may_be_null(field: str) -> None:
    assert read(a_raw(**{field: None})).id == "statuspage:status.acme.example:u"


def test_an_update_without_a_date_was_made_when_it_was_heard_and_none_is_from_the_future() -> None:
    assert read(a_raw(created_at=None)).created_at == NOW
    assert read(a_raw(created_at=None, display_at="2026-11-20T13:00:00Z")).created_at == NOW - 10 * MINUTE
    assert read(a_raw(created_at="2026-11-20T15:00:00Z")).created_at == NOW


@pytest.mark.parametrize("changes", [{"id": None}, {"id": 7}, {"body": ["x"]}, {"created_at": 1732108080}])
def test_an_update_of_another_shape_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        kind.parse(a_raw(**changes), NOW)


async def test_updates_are_heard_once_each_oldest_first_by_their_own_id() -> None:
    server = StatusPage()
    first = update("u1", at=NOW - 9 * MINUTE)
    server.incidents = [incident("i1", first)]

    def goes_on() -> None:
        second, third = update("u2", "identified"), update("u3", "monitoring")
        server.incidents = [incident("i2", update("u4")), incident("i1", third, second, first)]

    begun, more, nothing = await polls(server, goes_on, lambda: None)
    assert (ids(begun), ids(more), nothing) == (["u1"], ["u2", "u3", "u4"], [])


async def test_an_incident_opened_and_resolved_between_two_polls_is_heard() -> None:
    server = StatusPage()

    def comes_and_goes() -> None:
        server.incidents = [incident("i1", update("u2", "resolved", NOW + MINUTE), update("u1"))]

    _, raws = await polls(server, comes_and_goes)
    assert [read(raw, NOW + 2 * MINUTE).stated for raw in raws] == ["relay", "recovered"]


async def test_a_changed_text_comes_again_under_the_same_id() -> None:
    server = StatusPage(incidents=[incident("i1", update("u1"))])

    def is_reworded() -> None:
        server.incidents = [incident("i1", update("u1", body="Only logins by phone."))]

    begun, more = await polls(server, is_reworded)
    assert ids(begun) == ids(more) == ["u1"]
    assert "by phone" in read(more[0]).text


async def test_what_was_over_days_before_we_listened_is_history_and_what_is_still_open_is_not() -> None:
    old = NOW - timedelta(days=5)
    over = incident("i1", update("u2", "resolved", old), update("u1", at=old))
    still = incident("i2", update("u3", "monitoring", old))
    (raws,) = await polls(StatusPage(incidents=[still, over]))
    assert ids(raws) == ["u3"]


async def test_after_an_absence_all_that_was_written_meanwhile_is_heard() -> None:
    server, time = StatusPage(), Time()
    async with running(server), net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        written_at = NOW + timedelta(days=2)
        server.incidents = [incident("i1", update("u2", "resolved", written_at), update("u1", at=written_at))]
        time.now += timedelta(days=9)
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert ids(raws) == ["u1", "u2"]


@pytest.mark.parametrize("updates", [None, [], "?"])
async def test_an_incident_that_has_no_update_yet_stands_for_itself(updates: Any) -> None:
    begun, again = await polls(StatusPage(incidents=[incident("i1", incident_updates=updates)]), lambda: None)
    assert [(read(raw).id, read(raw).stated) for raw in begun] == [("statuspage:127.0.0.1:i1", "relay")]
    assert again == []


async def test_lists_that_are_null_are_empty() -> None:
    assert await polls(StatusPage(components=None, maintenances=None, incidents=None)) == [[]]


async def test_a_maintenance_is_announced_as_such() -> None:
    maintenance = incident("m1", update("u1", "scheduled", NOW - timedelta(days=6)), impact="maintenance")
    (raws,) = await polls(StatusPage(maintenances=[maintenance]))
    assert [(read(raw).id, read(raw).stated) for raw in raws] == [("statuspage:127.0.0.1:u1", "not_now")]


async def test_a_maintenance_that_does_not_call_itself_one_is_no_outage() -> None:
    maintenance = incident("m1", update("u1", "monitoring"), impact="none")
    (raws,) = await polls(StatusPage(maintenances=[maintenance]))
    assert [read(raw).stated for raw in raws] == ["not_now"]


async def test_a_component_that_fails_and_comes_back_is_told_while_no_incident_is_open() -> None:
    server = StatusPage(components=[component("API"), component("Web")])

    def fails() -> None:
        server.components = [component("API", "partial_outage"), component("Web")]

    def works() -> None:
        server.components = [component("API"), component("Web")]

    fine, failed, same, back = await polls(server, fails, lambda: None, works)
    assert (fine, same) == ([], [])
    assert [(read(raw).text, read(raw).stated) for raw in failed + back] == [
        ("Acme: API (partial outage)", "relay"),
        ("Acme: API (operational)", "recovered"),
    ]


async def test_a_component_is_silent_while_an_incident_speaks_and_told_when_it_outlasts_it() -> None:
    server = StatusPage(components=[component("API", "major_outage")], incidents=[incident("i1", update("u1"))])

    def is_resolved() -> None:
        server.incidents = [incident("i1", update("u2", "resolved"), update("u1"))]

    begun, resolved, after = await polls(server, is_resolved, lambda: None)
    assert (ids(begun), ids(resolved)) == (["u1"], ["u2"])
    assert [read(raw).text for raw in after] == ["Acme: API (major outage)"]


async def test_a_maintenance_in_progress_explains_its_components() -> None:
    works = incident("m1", update("u1", "in_progress"), impact="maintenance")
    down = component("API", "under_maintenance")
    (with_word,) = await polls(StatusPage(components=[down], maintenances=[works]))
    (without,) = await polls(StatusPage(components=[down]))
    assert ids(with_word) == ["u1"]
    assert [read(raw).stated for raw in without] == ["not_now"]


async def test_placeholders_and_groups_are_no_components() -> None:
    placeholder = component("Visit www.acme.example for more information", "major_outage")
    group = component("Europe", "major_outage", group=True)
    assert await polls(StatusPage(components=[placeholder, group])) == [[]]


async def test_only_what_touches_the_components_asked_for_is_heard() -> None:
    games = component("Games", group=True)
    chess, go = component("Chess", "major_outage", group_id="games"), component("Go shop", "major_outage")
    incidents = [
        incident("by group", update("u1"), components=[{"id": "chess", "name": "Chess"}]),
        incident("by update", update("u2", affected_components=[{"code": "chess", "name": "Chess"}])),
        incident("of all", update("u3")),
        incident("of another", update("u4"), components=[{"id": "go shop", "name": "Go shop"}]),
    ]
    page = StatusPage(components=[games, chess, go])

    def opens() -> None:
        page.incidents = incidents

    failed, heard = await polls(page, opens, components=("games",))
    assert [read(raw).text for raw in failed] == ["Acme: Chess (major outage)"]
    assert sorted(raw.update["id"] for raw in heard) == ["u1", "u2", "u3"]


async def test_two_services_that_share_a_page_have_posts_of_their_own() -> None:
    server = StatusPage(incidents=[incident("of all", update("u1"))])
    async with running(server), net() as edge:
        made = [
            read(
                (await one_poll(kind.posts(kind.Options(server.url, service=one, components=(one,)), None, edge)))[0][0]
            )
            for one in ("chess", "go")
        ]
    assert [(post.id, post.services) for post in made] == [
        ("statuspage:127.0.0.1/chess:u1", ("chess",)),
        ("statuspage:127.0.0.1/go:u1", ("go",)),
    ]


async def test_components_asked_for_later_are_looked_for_at_once() -> None:
    server = StatusPage(components=[component("API", "major_outage"), component("Web")])
    async with running(server), net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server, components=("web",)), None, edge))
        assert raws == []
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert len(raws) == 1


async def test_an_unchanged_page_is_asked_for_with_its_validators_and_only_heard() -> None:
    server = StatusPage(incidents=[incident("i1", update("u1"))])
    _, again = await polls(server, lambda: None)
    assert again == []
    for path in ("/api/v2/summary.json", "/api/v2/incidents.json"):
        first, second = server.asked(path)
        assert "if-none-match" not in first.headers
        assert second.headers["if-none-match"].startswith('W/"')


async def test_a_page_without_validators_gives_nothing_twice() -> None:
    server = StatusPage(incidents=[incident("i1", update("u1"))], has_validators=False)
    begun, again = await polls(server, lambda: None)
    assert (len(begun), again) == (1, [])


@pytest.mark.parametrize(
    "body",
    [b"<!DOCTYPE html><html><title>Just a moment...</title></html>", b"", b"[]", b'{"page": null}', b'{"page": {}}'],
)
async def test_an_answer_that_is_no_status_page_is_could_not_check_and_never_all_clear(body: bytes) -> None:
    server = StatusPage()
    server.behaviours["/api/v2/incidents.json"] = answer(200, body)
    async with running(server), net() as edge:
        with pytest.raises(SourceError, match="could not check") as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("not_statuspage", False)


async def test_what_is_no_incident_or_update_is_counted_as_malformed_and_the_rest_is_heard() -> None:
    sound = incident("i1", update("u1"))
    sound["incident_updates"] += ["?", {}]
    broken = [{}, {"id": ["x"], "status": ["?"]}, sound]
    daemon, server = Daemon(kind), StatusPage(incidents=broken)
    async with running(server), net() as edge:
        await daemon.run(options(server), edge, until={"statuspage:127.0.0.1:u1"})
    assert daemon.stored.keys() == {"statuspage:127.0.0.1:u1"}
    assert daemon.malformed >= 3


async def test_posts_are_passed_on_before_any_pause() -> None:
    time = Time()
    server = StatusPage(incidents=[incident("i1", update("u1"))])
    async with running(server), net(time) as edge:
        await take(kind.posts(options(server), None, edge), 1)
    assert time.slept == []


# Instatus


def listed(name: str = "c1", status: str = "INVESTIGATING", **changes: Any) -> dict[str, Any]:
    """An incident as the documented summary has it: no id, a date as a browser writes it."""
    own = {"name": "Sign-in is slow", "status": status, "impact": "MAJOROUTAGE"}
    started = "Fri Nov 20 2026 13:02:00 GMT+0000 (Coordinated Universal Time)"
    return {**own, "started": started, "url": f"https://acme.example/incident/{name}", **changes}


async def test_an_instatus_incident_is_heard_at_each_step_and_resolved_when_it_is_gone() -> None:
    server = StatusPage(instatus={"activeIncidents": [listed()]})

    def is_found() -> None:
        server.instatus = {"activeIncidents": [listed(status="IDENTIFIED", updatedAt="2026-11-20T13:07:00Z")]}

    def is_gone() -> None:
        server.instatus = {}

    brought = await polls(server, is_found, lambda: None, is_gone, lambda: None, format="instatus")
    assert [ids(raws) for raws in brought] == [["c1:investigating"], ["c1:identified"], [], ["c1:resolved"], []]
    begun, found, gone = read(brought[0][0]), read(brought[1][0]), read(brought[3][0])
    assert (begun.text, begun.stated) == ("Acme: Sign-in is slow (investigating)", "relay")
    assert (begun.created_at, found.created_at) == (NOW - 8 * MINUTE, NOW - 3 * MINUTE)
    assert (gone.text, gone.stated) == ("Acme: Sign-in is slow (resolved)", "recovered")


async def test_a_step_of_an_instatus_incident_without_a_date_is_of_when_it_was_heard() -> None:
    (raws,) = await polls(StatusPage(instatus={"activeIncidents": [listed(status="MONITORING")]}), format="instatus")
    assert [read(raw).created_at for raw in raws] == [NOW]


async def test_an_instatus_page_with_trouble_and_no_incident_says_so_itself() -> None:
    server = StatusPage(instatus={"page": {"name": "Acme", "status": "HASISSUES"}})

    def is_up() -> None:
        server.instatus = {}

    (trouble,), (up,) = await polls(server, is_up, format="instatus")
    assert [(read(raw).text, read(raw).stated) for raw in (trouble, up)] == [
        ("Acme: services (has issues)", "relay"),
        ("Acme: services (operational)", "recovered"),
    ]


async def test_an_instatus_maintenance_is_no_outage() -> None:
    planned = {"name": "Database move", "start": "2026-11-21T03:00:00Z", "status": "NOTSTARTEDYET", "url": "x/m1"}
    begun = {**planned, "url": "x/m2", "status": "INPROGRESS"}
    page = {"name": "Acme", "status": "UNDERMAINTENANCE"}
    (raws,) = await polls(
        StatusPage(instatus={"page": page, "activeMaintenances": [planned, begun]}), format="instatus"
    )
    assert [(read(raw).stated, read(raw).created_at) for raw in raws] == [("not_now", NOW)] * 2


def test_a_format_nobody_serves_is_refused_with_the_config() -> None:
    with pytest.raises(ConfigError, match="format"):
        kinds.convert({"server": "https://x.example", "format": "other"}, kind.Options, "source 'x'")


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(crashes=st.lists(st.integers(0, 8), max_size=6), lives=st.lists(st.integers(1, 4), min_size=4, max_size=4))
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], lives: list[int]) -> None:
    """An incident an hour, each with some updates, written one between two polls; the daemon is killed after any item."""

    async def life() -> None:
        time, daemon, server = Time(), Daemon(kind), StatusPage()
        script = [(i, j) for i, count in enumerate(lives) for j in range(count)]
        made: dict[int, list[dict[str, Any]]] = {}

        def goes_on() -> None:
            if script:
                i, j = script.pop(0)
                status = "resolved" if j == lives[i] - 1 else "monitoring"
                made.setdefault(i, []).insert(0, update(f"u{i}.{j}", status, time.now))
                server.incidents = [incident(f"i{i}", *updates) for i, updates in sorted(made.items(), reverse=True)]

        goes_on()
        slept: Callable[[], Awaitable[None] | None] = goes_on
        time.on_sleep = slept
        everything = {f"statuspage:127.0.0.1:u{i}.{j}" for i, count in enumerate(lives) for j in range(count)}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything
        assert daemon.malformed == 0

    asyncio.run(life())
