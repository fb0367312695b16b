"""What a tick costs: 100 services in 12 regions, minute bins, a day and a half of them. Run it alone on a quiet machine."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from listener.catalog import Catalog
from listener.pipeline import Pipeline
from listener.recorder import WINDOW, Batch, Recorder
from listener.signals.baseline import Baselines
from listener.store import Store, open_store
from listener.types import Baseline, Hearing, Panel, Point, SeriesKey, Signal
from tests.builders import MINUTE, NOON, at

pytestmark = pytest.mark.benchmark(timer=time.process_time)  # on one core, whoever else is at work
BINS = WINDOW // MINUTE
Watched = tuple[dict[str, Panel], dict[str, dict[str, Baseline]]]


def watched(catalog: Catalog, services: int, regions: int = 12) -> Watched:
    """Panels of everyday talk, one service in ten in the middle of an outage; baselines as on the first day."""
    rng = np.random.default_rng(5)
    baselines = Baselines(catalog, lambda service, since, until: ({}, {}))
    panels = {}
    for n, service in enumerate(sorted(catalog.services)[:services]):
        signals = {}
        for region in sorted(catalog.regions)[:regions]:
            counts = rng.poisson(0.02, BINS).astype(np.float64)
            if n % 10 == 0:
                counts[-20:] += rng.poisson(2.0, 20)
            one, key = np.ones(BINS), SeriesKey(service, region)
            signals[region] = Signal(key, NOON - WINDOW, MINUTE, counts, one, 0 * one, counts, counts)
        panels[service] = Panel(service, signals)
    return panels, {service: baselines.of(panel, NOON) for service, panel in panels.items()}


def test_watching_100_services_in_12_regions_costs_less_than_200_milliseconds(
    benchmark: BenchmarkFixture, pipeline: Pipeline
) -> None:
    panels, usual = watched(pipeline.catalog, 100)
    transitions, _ = benchmark.pedantic(pipeline.watch, (panels, usual, [], NOON), rounds=20, warmup_rounds=2)  # type: ignore[no-untyped-call]
    assert {t.incident.service for t in transitions} >= {s for n, s in enumerate(panels) if n % 10 == 0}
    assert benchmark.stats is not None
    assert benchmark.stats.stats.min < 0.2  # the others are the machine's doing


def test_the_cost_grows_no_faster_than_the_number_of_series(pipeline: Pipeline) -> None:
    took, memory = {}, {}
    for services, regions in ((25, 12), (50, 12), (100, 12), (100, 6), (100, 3)):
        panels, usual = watched(pipeline.catalog, services, regions)
        times = []
        for _ in range(7):
            began = time.process_time()
            pipeline.watch(panels, usual, [], NOON)
            times.append(time.process_time() - began)
        took[services, regions] = min(times)
        tracemalloc.start()
        held = watched(pipeline.catalog, services, regions)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        pipeline.watch(*held, [], NOON)
        needed = tracemalloc.get_traced_memory()[1] - kept
        tracemalloc.stop()
        print(
            f"{services:4} services x {regions:2} regions: {1000 * min(times):6.1f} ms a tick, "
            f"panels {kept / 2**20:6.1f} MB, at work {needed / 2**20:5.1f} MB more"
        )
        memory[services, regions] = kept + needed
    assert memory[100, 12] < 1.1 * 2 * memory[50, 12]
    assert took[100, 12] < 1.3 * 2 * took[50, 12] < 1.3**2 * 4 * took[25, 12]
    assert took[100, 12] < 1.3 * 2 * took[100, 6]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}")) as store:
        yield store


@pytest.mark.parametrize("stirring", [10, 100])
def test_a_whole_tick_with_its_store(
    benchmark: BenchmarkFixture, pipeline: Pipeline, store: Store, stirring: int
) -> None:
    """Points in the store, exposure from sources, panels, baselines, verdicts, incidents written. `stirring`: with talk."""
    services = sorted(pipeline.catalog.services)[:stirring]
    regions = sorted(pipeline.catalog.regions)[:12]
    rng = np.random.default_rng(6)
    with store.transaction() as writer:
        for service in services:
            for region in regions:
                minutes = np.flatnonzero(rng.poisson(0.02, 300)) - 300
                points = [Point(SeriesKey(service, region), at(int(m)), 0.9, 1, 1) for m in minutes]
                writer.put_points([*points, Point(SeriesKey(service, region), at(-1), 0.9, 1, 1)])
    recorder = Recorder(pipeline, store, {"bluesky": dict.fromkeys(pipeline.catalog.regions, 1.0)})
    recorder.take(Batch(hearing=[Hearing("bluesky", at(m), 5, up=True) for m in range(-BINS, 60)]))
    minute = iter(range(60))
    benchmark.pedantic(lambda: recorder.tick(at(next(minute))), rounds=20, warmup_rounds=2)  # type: ignore[no-untyped-call]
    assert benchmark.stats is not None
    print(f"{stirring} services stirring: {1000 * benchmark.stats.stats.median:.0f} ms a tick")
