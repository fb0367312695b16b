"""How fast the store is: run with `pytest tests/bench/test_store_bench.py --benchmark-only`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from listener.store import Store, open_store
from listener.store.sqlite import SqliteStore
from listener.types import Mention, Point
from tests.builders import at, mention, point
from tests.servers import postgres

BATCH = 500
SERVICES = [f"service-{n}" for n in range(40)]
REGIONS = ["TR", "RS", "BG", "GR", "HR", "BA", "SI", "RO", "MK", "AL", "ME"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    places: dict[str, Callable[[], AbstractContextManager[str]]] = {
        "sqlite": lambda: nullcontext(f"sqlite:///{tmp_path / 'listener.db'}"),
        "postgresql": postgres.empty_store,
    }
    with places[request.param]() as url, closing(open_store(url)) as store:
        yield store


def batch(number: int) -> tuple[list[Mention], list[Point]]:
    """What one commit of the daemon holds: mentions and the points they changed."""
    mentions = [
        mention(
            "instagram yine mi çöktü ya kimsede açılmıyor mu " + "ha" * (n % 50),
            id=f"jetstream:did:plc:{n:024x}/3k{n}",
            minutes=n / 300,
            service=SERVICES[n * 7 % 40],
            region=REGIONS[n % 11],
            url=f"https://example.org/{n}",
        )
        for n in range(number * BATCH, (number + 1) * BATCH)
    ]
    keys = {(m.services[0], m.regions[0].region, int(m.post.created_at.timestamp() // 60)) for m in mentions}
    points = [replace(point(service=s, region=r), at=at(n % 100_000)) for s, r, n in sorted(keys)]
    return mentions, points


def commit(store: Store, mentions: list[Mention], points: list[Point], number: int) -> None:
    with store.transaction() as writer:
        assert len(writer.add_mentions(mentions)) == BATCH
        writer.put_points(points)
        writer.set_cursor("jetstream", str(number))


def test_batches_of_500_mentions_are_stored_at_thousands_a_second(store: Store, benchmark: BenchmarkFixture) -> None:
    numbers = count()

    def next_batch() -> tuple[tuple[Store, list[Mention], list[Point], int], dict[str, object]]:
        number = next(numbers)
        return (store, *batch(number), number), {}

    benchmark.pedantic(commit, setup=next_batch, rounds=60, warmup_rounds=2)  # type: ignore[no-untyped-call]
    assert benchmark.stats is not None
    rate = BATCH / benchmark.stats.stats.mean
    benchmark.extra_info["mentions_per_second"] = round(rate)
    assert rate > (5_000 if isinstance(store, SqliteStore) else 2_500)


def test_the_points_of_a_day_are_read_among_a_month_of_them(store: Store, benchmark: BenchmarkFixture) -> None:
    with store.transaction() as writer:
        for service in SERVICES[:5]:
            writer.put_points([point(minute, service=service) for minute in range(30 * 24 * 60)])
    day = 24 * 60
    found = benchmark(lambda: store.points(service=SERVICES[2], region="TR", since=at(day), until=at(2 * day)))
    assert len(found) == day


def test_the_newest_mentions_of_a_service_and_region_are_read(store: Store, benchmark: BenchmarkFixture) -> None:
    for number in range(40):
        commit(store, *batch(number), number)
    found = benchmark(lambda: store.mentions(service=SERVICES[3], region="TR", limit=50))
    assert len(found) in (45, 46)
