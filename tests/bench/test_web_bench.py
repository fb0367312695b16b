"""How fast pages and the API are over a full store: run with `pytest -o addopts= tests/bench/test_web_bench.py -s`."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from listener.store import Store, open_store
from listener.types import Expected, IncidentState, Point, SeriesKey, State
from listener.web.app import Settings, create_app
from tests import days
from tests.builders import at

DAYS = 30
SERVICES = {f"service-{n:02}": f"Service {n}" for n in range(60)}
REGIONS = {code: name for code, name in days.REGIONS.items() if code != "XK"}  # twelve
A_DAY = 40_000  # minutes in which somebody complains of something, over all series; the busiest has one each minute


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path_factory.mktemp('month') / 'listener.db'}")
    rng = random.Random(1)
    keys = [SeriesKey(service, region) for service in SERVICES for region in REGIONS]
    weights = [1 / rank for rank in range(1, len(keys) + 1)]
    for day in range(-DAYS, 0):
        with made.transaction() as tx:
            tx.put_points(list(a_day(rng, keys, weights, day)))
            hours = range(24 * day, 24 * day + 24)
            tx.put_expected([Expected(key, at(60 * hour), 2.0, 6.5) for key in keys for hour in hours])
            for n in range(4):
                start = day * 1440.0 + 300 * n
                over = incident(f"service-{rng.randrange(60):02}", start, resolved=start + 90)
                tx.put_transitions(days.changes(over))
                tx.put_incidents([over])
    with made.transaction() as tx:
        for n in range(3):
            tx.put_transitions(days.changes(incident(f"service-{n:02}", -100)))
        tx.put_health([replace(one, source=f"{one.source}-{n}") for n in range(20) for one in days.health()])
        tx.set_mark("watched", at(0).isoformat())
    yield made
    made.close()


def a_day(rng: random.Random, keys: list[SeriesKey], weights: list[float], day: int) -> Iterator[Point]:
    first = {SeriesKey("service-00", "AL"): range(1440)}
    chosen: dict[SeriesKey, set[int]] = {key: set(first.get(key, ())) for key in keys}
    for key in rng.choices(keys, weights, k=A_DAY):
        chosen[key].add(rng.randrange(1440))
    for key, minutes in chosen.items():
        for minute in minutes:
            labels = (("report", 1.1), ("question", 0.4), ("symptom:login", 0.6))
            yield Point(key, at(1440 * day + minute), 1.5, 2, 2, 0.0, labels)


def incident(service: str, start: float, resolved: float | None = None) -> Any:
    parts = tuple(days.part(code, State.PROBLEMS, start + n, 20) for n, code in enumerate(REGIONS))
    state = IncidentState.FIRING if resolved is None else IncidentState.RESOLVED
    return days.incident(service, state, parts, start, resolved=resolved)


def timed(store: Store, path: str, rounds: int) -> tuple[float, float, int]:
    """Median milliseconds of processor time and on the wall, and the bytes that go over the wire.

    What counts is the processor's: on a machine that does other things besides, the wall's says how much of those.
    """
    app = create_app(store, Settings(SERVICES, REGIONS, "1.0", lambda: b"", lambda: at(0)))

    async def run() -> tuple[float, float, int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://listener.test") as client:
            took = []
            for _ in range(rounds):
                began, before = time.perf_counter(), time.process_time()
                answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
                took.append((time.process_time() - before, time.perf_counter() - began))
                assert answer.status_code == 200
            processor, wall = (1000 * statistics.median(times) for times in zip(*took, strict=True))
            return processor, wall, int(answer.headers["content-length"])

    return asyncio.run(run())


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("path", "most_ms"),
    [
        ("/", 150),
        ("/services/service-00", 150),
        ("/regions/TR", 150),
        (f"/api/v1/signals?service=service-00&region=AL&since={at(-DAYS * 1440):%Y-%m-%dT%H:%M:%SZ}", 100),
    ],
)
def test_a_month_of_sixty_services_in_twelve_regions_is_shown_quickly(store: Store, path: str, most_ms: int) -> None:
    took, wall, size = timed(store, path, 50)
    print(f"\n{path}: median of 50 {took:.0f} ms ({wall:.0f} ms on the wall), {size / 1000:.0f} kB")
    assert took < most_ms
    assert size < 300_000


@pytest.mark.timeout(600)
def test_an_open_page_costs_little(store: Store) -> None:
    """Every open page asks for the version twice a second."""
    from listener.web.live import version

    began = time.process_time()
    for _ in range(100):
        version(store)
    took = 10 * (time.process_time() - began)
    print(f"\nversion: {took:.1f} ms")
    assert took < 20
