"""What every bus promises, each promise a sentence; a new bus joins by one line in `BUSES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import timedelta

import pytest

from listener.bus import Bus, open_bus
from listener.config import Bus as Settings
from listener.errors import BusError, ConfigError
from tests.servers import nats
from tests.servers.process import free_port

# Name -> where it is, and under which name.
BUSES: dict[str, Callable[[], AbstractContextManager[tuple[str, str]]]] = {
    "in-process": lambda: nullcontext(("local:", "test")),
    "nats": nats.stream,
}
pytestmark = pytest.mark.anyio

SOON = 10.0  # seconds within which what is promised must happen
AWHILE = 0.3  # seconds in which what must not happen would have


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=list(BUSES.values()), ids=list(BUSES))
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with request.param() as place:
        yield place


def settings(place: tuple[str, str], **changes: object) -> Settings:
    given = {"url": place[0], "stream": place[1], "redeliver_after": timedelta(seconds=0.5), **changes}
    return Settings(**given)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(place: tuple[str, str], **changes: object) -> AsyncIterator[Bus]:
    bus = await open_bus(settings(place, **changes))
    try:
        yield bus
    finally:
        await bus.close()


async def taken(bus: Bus, count: int) -> list[bytes]:
    """Fetch and acknowledge so many."""
    made = []
    for _ in range(count):
        delivery = await bus.fetch(SOON)
        assert delivery is not None
        made.append(delivery.body)
        await delivery.ack()
    return made


async def test_what_is_published_comes_once_in_order_with_its_id(place: tuple[str, str]) -> None:
    async with opened(place) as bus:
        for n in range(5):
            await bus.publish(f"1-{n}-0", f"batch {n}".encode())
        first = await bus.fetch(SOON)
        assert first is not None
        assert (first.id, first.body, first.tries) == ("1-0-0", b"batch 0", 1)
        await first.ack()
        assert await taken(bus, 4) == [f"batch {n}".encode() for n in range(1, 5)]
        assert await bus.fetch(AWHILE) is None


async def test_published_twice_under_one_id_it_comes_once(place: tuple[str, str]) -> None:
    async with opened(place) as bus:
        for _ in range(3):
            await bus.publish("1-1-0", b"once")
        await bus.publish("1-2-0", b"another")
        assert await taken(bus, 2) == [b"once", b"another"]
        assert await bus.fetch(AWHILE) is None


async def test_what_nobody_acknowledges_comes_again_and_says_how_often(place: tuple[str, str]) -> None:
    async with opened(place) as bus:
        await bus.publish("1-1-0", b"batch")
        lost = await bus.fetch(SOON)  # its worker dies here
        assert lost is not None
        again = await bus.fetch(SOON)
        assert again is not None
        assert (again.body, again.tries) == (b"batch", 2)
        await again.ack()
        assert await bus.fetch(0.8) is None


async def test_what_is_worked_on_does_not_come_again(place: tuple[str, str]) -> None:
    async with opened(place) as bus:
        await bus.publish("1-1-0", b"slow")
        mine = await bus.fetch(SOON)
        assert mine is not None
        for _ in range(5):
            await mine.working()
            assert await bus.fetch(0.2) is None
        await mine.ack()
        assert await bus.fetch(0.8) is None


async def test_what_is_given_back_goes_to_somebody_else_at_once(place: tuple[str, str]) -> None:
    async with opened(place, redeliver_after=timedelta(minutes=5)) as bus:
        await bus.publish("1-1-0", b"batch")
        mine = await bus.fetch(SOON)
        assert mine is not None
        await mine.give_back()
        assert await taken(bus, 1) == [b"batch"]


async def test_two_workers_share_what_there_is(place: tuple[str, str]) -> None:
    async with opened(place) as bus:
        for n in range(20):
            await bus.publish(f"1-{n}-0", b"%d" % n)
        first, second = await asyncio.gather(taken(bus, 10), taken(bus, 10))
        assert sorted(map(int, first + second)) == list(range(20))


async def test_a_full_bus_lets_the_publisher_wait_until_there_is_room(place: tuple[str, str]) -> None:
    async with opened(place, most=3) as bus:
        for n in range(3):
            await bus.publish(f"1-{n}-0", b"%d" % n)
        waiting = asyncio.create_task(bus.publish("1-3-0", b"3"))
        await asyncio.wait([waiting], timeout=AWHILE)
        assert not waiting.done()
        assert await taken(bus, 1) == [b"0"]
        await asyncio.wait_for(waiting, SOON)
        assert await taken(bus, 3) == [b"1", b"2", b"3"]


async def test_dead_letters_are_kept_once_with_their_reason_until_they_are_removed(place: tuple[str, str]) -> None:
    async with opened(place) as bus:
        assert await bus.dead_letters() == []
        await bus.bury("1-1-0", b"poison", "ValueError: çok\nkötü")
        await bus.bury("1-1-0", b"poison", "ValueError: again")
        await bus.bury("", b"", "not a batch of ours")
        first, second = await bus.dead_letters()
        assert (first.id, first.body, second.id, second.body) == ("1-1-0", b"poison", "", b"")
        assert first.reason.startswith("ValueError: ")
        assert second.reason == "not a batch of ours"
        assert first.number < second.number
        assert await bus.fetch(AWHILE) is None
        await bus.remove(first)
        await bus.remove(first)
        assert await bus.dead_letters() == [second]


async def test_the_bell_wakes_who_waits_and_who_came_too_late_need_not_wait(place: tuple[str, str]) -> None:
    async with opened(place) as bus:
        seen = bus.rings
        waiting = asyncio.create_task(bus.rung(seen, 60))
        await asyncio.sleep(0)
        await bus.ring()
        await asyncio.wait_for(waiting, SOON)
        await asyncio.wait_for(bus.rung(seen, 60), SOON)
        await bus.rung(bus.rings, 0.01)  # nobody rings: it gives up


async def test_a_bus_nobody_serves_and_one_that_does_not_answer_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown scheme 'kafka'"):
        await open_bus(Settings(url="kafka://somewhere"))
    monkeypatch.setattr("listener.bus.nats.AT_FIRST", 0.5)
    with pytest.raises(BusError, match="is nats-server running with JetStream") as raised:
        await open_bus(Settings(url=f"nats://ana:secret@127.0.0.1:{free_port()}"))
    assert "secret" not in str(raised.value)


@pytest.fixture
def own() -> Iterator[nats.Own]:
    nats.skip_without()
    server = nats.Own()
    server.start()
    server.wait()
    yield server
    server.remove()


async def test_a_nats_server_that_is_killed_keeps_what_it_took_and_is_waited_for(own: nats.Own) -> None:
    async with opened((own.url, "test")) as bus:
        await bus.publish("1-1-0", b"before")
        await asyncio.to_thread(own.kill)
        waiting = asyncio.create_task(bus.publish("1-2-0", b"meanwhile"))
        await asyncio.sleep(0.1)
        own.start()
        await asyncio.wait_for(waiting, 2 * SOON)
        assert {await one(bus), await one(bus)} == {b"before", b"meanwhile"}


async def one(bus: Bus) -> bytes:
    """The next, however often one must ask while the server comes back."""
    async with asyncio.timeout(2 * SOON):
        while (delivery := await bus.fetch(1.0)) is None:
            pass
    await delivery.ack()
    return delivery.body
