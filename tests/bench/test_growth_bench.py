"""How cost grows: with names to look for, and with what the store remembers. Run with `./dev bench -k growth -s`."""

from __future__ import annotations

import random
import statistics
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from listener.catalog import Catalog, Service, load
from listener.cli import wiring
from listener.config import Config
from listener.pipeline import Pipeline
from listener.recorder import WINDOW, Batch, Recorder
from listener.store import Store, open_store
from listener.types import Hearing, Point, SeriesKey
from tests.bench import stream
from tests.bench.test_stream_bench import MODEL, Live
from tests.builders import NOON, at

DAYS = (30, 730)
ROUNDS = 7


def with_names(catalog: Catalog, most: int) -> Catalog:
    """The first hundred services, then invented ones with one invented name each, `most` in all."""
    rng = random.Random(3)
    kept = dict(sorted(catalog.services.items())[:100])
    while len(kept) < most:
        name = "".join(rng.choice("bdfgkmprtvz") + rng.choice("aeiou") for _ in range(rng.randint(3, 5)))
        kept.setdefault(name, Service(name, name, "app", "invented", (f"{name}*",)))
    return replace(catalog, services=kept)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("share", [0.0005, 0.01])
def test_a_post_costs_the_same_however_many_names_are_looked_for(share: float, tmp_path: Path) -> None:
    catalog = load()
    ways = {n: wiring.pipeline(Config(), with_names(catalog, n), MODEL) for n in (100, 10_000)}
    texts = stream.texts_of(ways[100])
    cost: dict[int, list[float]] = {n: [] for n in ways}
    for turn in range(ROUNDS + 1):
        frames = stream.frames(ways[100], texts, 20_000, share, seed=200 + turn)
        for n, pipeline in ways.items():
            (folder := tmp_path / f"{turn}-{n}").mkdir()
            live = Live(pipeline, folder)
            with closing(live.store):
                began = time.process_time()
                live.take(frames)
                cost[n].append((time.process_time() - began) / len(frames))
    median = {n: 1e6 * statistics.median(spent[1:]) for n, spent in cost.items()}
    ratio = statistics.median(many / few for few, many in zip(cost[100][1:], cost[10_000][1:], strict=True))
    print(
        f"\n{share:.2%}: {median[100]:.1f} us a post with 100 services, {median[10_000]:.1f} with 10,000: {ratio:.2f}"
    )
    assert ratio < 1.3


def remembered(path: Path, pipeline: Pipeline, days: int) -> tuple[Store, Recorder]:
    store = open_store(f"sqlite:///{path / f'{days}.db'}")
    rng = np.random.default_rng(8)
    services, regions = sorted(pipeline.catalog.services)[:10], sorted(pipeline.catalog.regions)[:4]
    for begin in range(0, days, 30):
        with store.transaction() as writer:
            for service in services:
                for region in regions:
                    minutes = rng.choice(30 * 1440, 30 * 18, replace=False) + begin * 1440
                    key = SeriesKey(service, region)
                    writer.put_points([Point(key, at(-1 - int(m)), 0.9, 1, 1) for m in minutes])
    recorder = Recorder(pipeline, store, {"bluesky": dict.fromkeys(pipeline.catalog.regions, 1.0)})
    bins = int(WINDOW / timedelta(minutes=1))
    recorder.take(Batch(hearing=[Hearing("bluesky", at(m), 5, up=True) for m in range(-bins, 60)]))
    return store, recorder


@pytest.mark.timeout(1200)
def test_a_tick_costs_the_same_however_long_the_history_is(pipeline: Pipeline, tmp_path: Path) -> None:
    made = {days: remembered(tmp_path, pipeline, days) for days in DAYS}
    cost: dict[int, list[float]] = {days: [] for days in DAYS}
    for minute in range(24):
        for days, (_, recorder) in made.items():
            began = time.process_time()
            recorder.tick(NOON + timedelta(minutes=minute))
            cost[days].append(time.process_time() - began)
    for store, _ in made.values():
        store.close()
    first = {days: 1000 * spent[0] for days, spent in cost.items()}
    ratio = statistics.median(long / short for short, long in zip(cost[30][2:], cost[730][2:], strict=True))
    median = {days: 1000 * statistics.median(spent[2:]) for days, spent in cost.items()}
    print(
        f"\na tick: {median[30]:.1f} ms after 30 days, {median[730]:.1f} ms after two years: {ratio:.2f}; the first {first}"
    )
    assert ratio < 1.2
