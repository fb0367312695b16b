"""Who is to be told is told: at least once, in order per incident, whatever state the receiver is in."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from listener import outbox as outboxes
from listener import telemetry
from listener.catalog import Catalog
from listener.channels import Message
from listener.cli import wiring
from listener.config import Config, Table
from listener.errors import SourceError
from listener.kinds import Secret
from listener.outbox import Channel, Outbox
from listener.store import Store, open_store
from listener.types import SourceHealth, Transition
from tests.builders import at
from tests.servers.process import free_port
from tests.servers.webhook import HANG, Received, Receiver
from tests.test_telling import change, incident

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SECRET = "gizli-öğe-1"
WAITS = outboxes.FIRST_WAIT, outboxes.LONGEST_WAIT


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Luck(random.Random):
    """Draws the same number always."""

    def __init__(self, drawn: float) -> None:
        super().__init__()
        self.drawn = drawn

    def random(self) -> float:
        return self.drawn


class Mailbox(ModuleType):
    """A channel's module that keeps what it is sent, and refuses the first `refusals` messages."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__("mailbox")
        self.refusals = refusals
        self.tried: list[Message] = []
        self.kept: list[Message] = []

    async def send(self, message: Message, options: Any) -> None:
        self.tried.append(message)
        if len(self.tried) <= self.refusals:
            raise SourceError("no", reason="refused")
        self.kept.append(message)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'listener.db'}")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other after hundredths of a second instead of seconds."""
    monkeypatch.setattr(outboxes, "FIRST_WAIT", timedelta(seconds=0.02))
    monkeypatch.setattr(outboxes, "LONGEST_WAIT", timedelta(seconds=0.1))


def channel(catalog: Catalog, kind: str, name: str = "ops", **options: Any) -> Channel:
    """A channel as the config makes it."""
    (made,) = wiring.channels(Config(channels=(Table(kind, name, options),)), catalog)
    return made


def mailing(catalog: Catalog, mailbox: Mailbox, **options: Any) -> Channel:
    return replace(channel(catalog, "log", **options), module=mailbox)


def outbox(
    store: Store,
    *channels: Channel,
    clock: Any = lambda: datetime.now(UTC),
    told_from: datetime = LONG_AGO,
    luck: random.Random | None = None,
    metrics: telemetry.Metrics | None = None,
) -> Outbox:
    async def write(work: Any) -> None:
        await asyncio.to_thread(work)

    return Outbox(
        store,
        channels,
        write=write,
        clock=clock,
        metrics=metrics or telemetry.Metrics("test"),
        random=luck or random.Random(1),
        told_from=told_from,
    )


@asynccontextmanager
async def running(box: Outbox) -> Any:
    tasks = [asyncio.create_task(box.run(channel)) for channel in box.channels]
    try:
        yield box
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def comes_true(question: Any, within: float = 30) -> None:
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(question):
            await asyncio.sleep(0.01)


def happens(store: Store, *changes: Transition) -> None:
    with store.transaction() as tx:
        tx.put_transitions(changes)


def course(service: str) -> list[Transition]:
    """An incident from first doubt to its end, with a region that joins."""
    first, both = incident("TR", service=service), incident("TR", "BG", service=service)
    return [
        change("pending", of=first, moment=at(1)),
        change("firing", of=first, since="pending", moment=at(2)),
        change("firing", of=both, since="firing", moment=at(5)),
        change("resolved", of=both, since="firing", moment=at(60)),
    ]


def outcomes(store: Store) -> set[tuple[str, str]]:
    return {(told.outcome, told.reason) for told in store.notifications()}


def failures(store: Store, reason: str) -> int:
    """Of how many transitions a try failed for this reason."""
    return len({told.transition_id for told in store.notifications() if told.reason == reason})


def by_incident(received: Sequence[Received]) -> dict[str, list[str]]:
    """The ids that arrived, each once, in the order of their first arrival."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in received:
        if one.key not in found[one.body["incident"]]:
            found[one.body["incident"]].append(one.key)
    return dict(found)


def test_a_receiver_that_is_down_then_slow_then_cross_then_well_is_told_everything_in_order(
    store: Store, catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    services = [f"service-{n}" for n in range(12)]
    receiver = Receiver(free_port(), answer=lambda body: HANG)
    options: dict[str, Any] = {"url": receiver.url, "secret": Secret(SECRET), "timeout": "300ms"}

    async def scenario() -> float:
        async with running(outbox(store, channel(catalog, "webhook", **options))) as box:
            for changes in zip(*map(course, services), strict=True):
                happens(store, *changes)
            box.wake()
            await comes_true(lambda: failures(store, "unreachable") == 12)
            async with receiver.up():
                await comes_true(lambda: failures(store, "timeout") == 12)
                receiver.answer = lambda body: 500
                await comes_true(lambda: failures(store, "status_500") == 12)
                began = time.monotonic()
                receiver.answer = lambda body: 200
                await receiver.until(lambda r: len({one.key for one in r.taken}) == 3 * len(services))
                took = time.monotonic() - began
                await comes_true(lambda: not store.untold("ops"))
                return took

    took = asyncio.run(scenario())
    wanted = {f"{service}-1": [t.id for t in course(service)[1:]] for service in services}
    assert by_incident(receiver.taken) == wanted
    assert all(one.is_signed_with(SECRET) for one in receiver.received)
    assert not any(one.is_signed_with("another") for one in receiver.received)
    bodies = {one.key: {**one.body} for one in receiver.received}
    assert all(one.body == bodies[one.key] for one in receiver.received), "what comes twice says the same"
    told = store.notifications()
    assert {t.reason for t in told if t.outcome == "skipped"} == {"not_yet"}
    assert {t.reason for t in told if t.outcome == "failed"} == {"unreachable", "timeout", "status_500"}
    sent = [t for t in told if t.outcome == "sent"]
    assert len(sent) == len({t.transition_id for t in sent}) == 36
    assert max(t.attempts for t in sent) > 3
    with capsys.disabled():
        more = len(receiver.received) - 36
        print(
            f"\n36 transitions of 12 incidents told, {more} came more than once, {took:.1f} s after it was well again"
        )


def test_an_incident_that_gets_stuck_holds_up_neither_another_nor_another_channel(
    store: Store, catalog: Catalog
) -> None:
    receiver = Receiver(free_port(), answer=lambda body: HANG if body["service"] == "sbb" else 200)
    well = Receiver(free_port())

    async def scenario() -> None:
        slow = channel(catalog, "webhook", "slow", url=receiver.url, timeout="60s")
        other = channel(catalog, "webhook", "other", url=well.url)
        async with receiver.up(), well.up(), running(outbox(store, slow, other)) as box:
            happens(store, course("sbb")[1])
            box.wake()
            await receiver.until(lambda r: len(r.received) == 1)
            happens(store, *course("viber")[1:], course("sbb")[2])
            box.wake()
            await receiver.until(lambda r: len(r.taken) == 3)
            await well.until(lambda r: len(r.taken) == 5)
            await comes_true(lambda: len(store.untold("slow")) == 2)
            assert [one.body["service"] for one in receiver.received].count("sbb") == 1, (
                "the second waits for the first"
            )

    asyncio.run(scenario())


def test_what_was_not_told_before_a_restart_is_told_after_it(store: Store, catalog: Catalog) -> None:
    receiver = Receiver(free_port())
    told = channel(catalog, "webhook", url=receiver.url)
    happens(store, *course("viber"))

    async def first_life() -> None:
        async with running(outbox(store, told)):
            await comes_true(lambda: ("failed", "unreachable") in outcomes(store))

    async def second_life() -> None:
        async with receiver.up():
            await outbox(store, told).tell(told)

    asyncio.run(first_life())
    asyncio.run(second_life())
    assert [one.key for one in receiver.taken] == [t.id for t in course("viber")[1:]]
    assert store.untold("ops") == []


def test_a_channel_is_told_what_happened_since_it_is_there_and_nothing_older(store: Store, catalog: Catalog) -> None:
    receiver = Receiver(free_port())
    fresh = channel(catalog, "webhook", url=receiver.url)
    happens(store, *course("viber"))

    async def scenario() -> None:
        async with receiver.up():
            await outbox(store, fresh, told_from=at(5)).tell(fresh)

    asyncio.run(scenario())
    assert [one.body["to"] for one in receiver.taken] == ["firing", "resolved"]
    assert len(store.untold("ops")) == 2


def test_in_quiet_hours_all_wait_and_only_the_newest_word_is_told_after_them(store: Store, catalog: Catalog) -> None:
    receiver = Receiver(free_port())
    night = channel(catalog, "webhook", url=receiver.url, quiet="11:00-13:00")
    happens(store, *course("viber"))
    clock = Clock(at(30))

    async def scenario() -> None:
        async with receiver.up():
            box = outbox(store, night, clock=clock)
            await box.tell(night)
            assert receiver.received == []
            clock.now = at(70)
            await box.tell(night)

    asyncio.run(scenario())
    assert [one.body["to"] for one in receiver.taken] == ["resolved"]
    assert outcomes(store) == {("skipped", "not_yet"), ("skipped", "superseded"), ("sent", "")}


def test_a_failure_before_quiet_hours_does_not_keep_the_machine_busy_through_them(
    store: Store, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = channel(catalog, "webhook", url=f"http://127.0.0.1:{free_port()}/", quiet="12:59-13:59")
    happens(store, course("viber")[1])
    clock = Clock(at(58))
    looks = 0

    def untold(name: str) -> list[Transition]:
        nonlocal looks
        looks += 1
        return real(name)

    async def scenario() -> None:
        box = outbox(store, night, clock=clock)
        async with running(box):
            await comes_true(lambda: ("failed", "unreachable") in outcomes(store))
            clock.now = at(61)
            box.wake()
            before = looks
            await asyncio.sleep(0.5)  # nothing is to happen, for which there is no event
            assert looks - before <= 2

    real = store.untold
    monkeypatch.setattr(store, "untold", untold)
    asyncio.run(scenario())


def test_an_incident_that_goes_on_is_told_again_until_it_is_over_also_after_a_restart(
    store: Store, catalog: Catalog
) -> None:
    receiver = Receiver(free_port())
    nagging = channel(catalog, "webhook", url=receiver.url, repeat="1h")
    clock = Clock(at(3))
    happens(store, course("viber")[1])

    async def scenario() -> None:
        async with receiver.up():
            box = outbox(store, nagging, clock=clock)
            for minutes in (3, 30, 62, 63, 100):
                clock.now = at(minutes)
                await box.tell(nagging)
            restarted = outbox(store, nagging, clock=clock)
            for minutes in (101, 140, 160, 161):
                clock.now = at(minutes)
                await restarted.tell(nagging)
            happens(store, change("resolved", of=incident(service="viber"), since="firing", moment=at(170)))
            for minutes in (170, 240):
                clock.now = at(minutes)
                await restarted.tell(nagging)

    asyncio.run(scenario())
    first, over = course("viber")[1].id, change("resolved", of=incident(service="viber"), moment=at(170)).id
    repeated = [f"viber-1/repeat/20260302T{clock}Z" for clock in ("1303", "1441")]
    assert [one.key for one in receiver.taken] == [first, *repeated, over]


def test_a_heartbeat_comes_as_often_as_it_is_asked_for(store: Store, catalog: Catalog) -> None:
    receiver = Receiver(free_port())
    alive = channel(catalog, "webhook", url=receiver.url, heartbeat="1h")
    clock = Clock(at(0))

    async def scenario() -> None:
        async with receiver.up():
            box = outbox(store, alive, clock=clock)
            for minutes in (0, 30, 59, 60):
                clock.now = at(minutes)
                await box.tell(alive)

    asyncio.run(scenario())
    assert [(one.body["type"], one.key) for one in receiver.taken] == [
        ("heartbeat", "heartbeat/20260302T1200Z"),
        ("heartbeat", "heartbeat/20260302T1300Z"),
    ]
    assert store.notifications() == []


@pytest.mark.parametrize(("drawn", "share"), [(1.0, 1.0), (0.0, 0.5)])
def test_waits_double_from_five_seconds_to_ten_minutes_or_are_half_as_long_by_chance(
    store: Store, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, drawn: float, share: float
) -> None:
    monkeypatch.setattr(outboxes, "FIRST_WAIT", WAITS[0])
    monkeypatch.setattr(outboxes, "LONGEST_WAIT", WAITS[1])
    mailbox, clock = Mailbox(refusals=100), Clock(at(10))
    told = mailing(catalog, mailbox)
    happens(store, course("viber")[1])

    async def scenario() -> None:
        box = outbox(store, told, clock=clock, luck=Luck(drawn))
        await box.tell(told)
        for tries, seconds in enumerate((5, 10, 20, 40, 80, 160, 320, 600, 600), start=1):
            clock.now += timedelta(seconds=seconds * share - 0.001)
            await box.tell(told)
            assert len(mailbox.tried) == tries, f"{seconds} s are not over"
            clock.now += timedelta(seconds=0.001)
            await box.tell(told)
            assert len(mailbox.tried) == tries + 1, f"{seconds} s are over"

    asyncio.run(scenario())


def test_a_clock_that_is_put_back_makes_nobody_wait_for_the_moment_it_showed(store: Store, catalog: Catalog) -> None:
    mailbox, clock = Mailbox(refusals=1), Clock(at(70))
    told = mailing(catalog, mailbox)
    happens(store, course("viber")[1])

    async def scenario() -> None:
        box = outbox(store, told, clock=clock)
        await box.tell(told)
        clock.now = at(10)
        await box.tell(told)

    asyncio.run(scenario())
    assert len(mailbox.kept) == 1


def test_every_try_is_recorded_with_its_number_and_counted(store: Store, catalog: Catalog) -> None:
    mailbox, clock, metrics = Mailbox(refusals=2), Clock(at(10)), telemetry.Metrics("test")
    told = mailing(catalog, mailbox)
    first, second, both = course("viber")[:3]
    happens(store, first, second)

    async def scenario() -> None:
        box = outbox(store, told, clock=clock, metrics=metrics)
        for _ in range(3):
            await box.tell(told)
            clock.now += timedelta(seconds=1)
        happens(store, both)
        await box.tell(told)

    asyncio.run(scenario())
    assert [(one.transition_id, one.outcome, one.reason, one.attempts) for one in store.notifications()] == [
        (first.id, "skipped", "not_yet", 1),
        (second.id, "failed", "refused", 1),
        (second.id, "failed", "refused", 2),
        (second.id, "sent", "", 3),
        (both.id, "sent", "", 1),
    ]
    counted = metrics.registry.get_sample_value
    assert counted("listener_notifications_total", {"channel": "ops"}) == 2
    assert counted("listener_notifications_failed_total", {"channel": "ops", "reason": "refused"}) == 2


def test_what_failed_is_tried_again_though_nothing_else_happens(store: Store, catalog: Catalog) -> None:
    mailbox = Mailbox(refusals=2)
    happens(store, course("viber")[1])

    async def scenario() -> None:
        async with running(outbox(store, mailing(catalog, mailbox))):
            await comes_true(lambda: mailbox.kept, within=10)

    asyncio.run(scenario())


def test_quiet_hours_end_though_nothing_else_happens(
    store: Store, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "LOOK", 0.02)
    mailbox, clock = Mailbox(), Clock(at(30))
    happens(store, course("viber")[1])
    looks = []

    def untold(name: str) -> list[Transition]:
        looks.append(name)
        return real(name)

    async def scenario() -> None:
        async with running(outbox(store, mailing(catalog, mailbox, quiet="11:00-13:00"), clock=clock)):
            await comes_true(lambda: len(looks) > 1)
            assert mailbox.kept == []
            clock.now = at(60)
            await comes_true(lambda: mailbox.kept, within=10)

    real = store.untold
    monkeypatch.setattr(store, "untold", untold)
    asyncio.run(scenario())


def test_eight_incidents_are_told_at_once_and_the_others_after_them(store: Store, catalog: Catalog) -> None:
    begun, most = 0, 0

    class Slow(Mailbox):
        async def send(self, message: Message, options: Any) -> None:
            nonlocal begun, most
            begun += 1
            most = max(most, begun - len(self.kept))
            await free.wait()
            await super().send(message, options)

    mailbox, free = Slow(), asyncio.Event()
    told = mailing(catalog, mailbox)
    happens(store, *(course(f"service-{n}")[1] for n in range(12)))

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(outbox(store, told).tell(told))
            await comes_true(lambda: begun >= 8)
            free.set()

    asyncio.run(scenario())
    assert (most, len(mailbox.kept)) == (8, 12)


def test_reminders_wait_for_the_end_of_quiet_hours(store: Store, catalog: Catalog) -> None:
    mailbox, clock = Mailbox(), Clock(at(3))
    nagging = mailing(catalog, mailbox, repeat="1h", quiet="13:00-14:00")
    happens(store, course("viber")[1])

    async def scenario() -> None:
        box = outbox(store, nagging, clock=clock)
        for minutes in (3, 70, 119, 120):
            clock.now = at(minutes)
            await box.tell(nagging)

    asyncio.run(scenario())
    assert [one.at for one in mailbox.kept[1:]] == [at(120)]


def test_a_heartbeat_tells_how_many_sources_are_heard_and_how_many_incidents_are_open(
    store: Store, catalog: Catalog
) -> None:
    """Heard is one that answered, and whose last try did not fail."""
    mailbox = Mailbox()
    alive = mailing(catalog, mailbox, heartbeat="1h")
    health = [
        SourceHealth("well", "rss", last_success_at=at(0)),
        SourceHealth("failing", "rss", last_success_at=at(-9), errors_in_a_row=2),
        SourceHealth("never", "rss"),
    ]
    with store.transaction() as tx:
        tx.put_health(health)
    happens(store, course("viber")[1], *course("sbb")[1:])
    asyncio.run(outbox(store, alive, clock=Clock(at(70)), told_from=at(100)).tell(alive))
    assert [one.title for one in mailbox.kept] == ["● listener listens: 1 of 3 sources heard, 1 open incidents"]
