"""Weeks in minutes: texts go when their time is over, and neither the store nor the process grows beyond what is counted.

The clock is compressed: the daemon's own steps, an hour's posts in a batch, watched once. The long form lives
a month and watches every quarter of an hour:

    LISTENER_TEST_DAYS=30 python -m pytest -s -p no:xdist --timeout=0 tests/scenarios/test_month.py
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from listener import minutes, telemetry
from listener.config import Privacy
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.store import Store, open_store
from listener.store.codec import instant
from listener.types import Hearing, Post
from tests.builders import at, post
from tests.conftest import ROOT
from tests.servers.nursery import count as stored

DAYS = int(os.environ.get("LISTENER_TEST_DAYS", "3"))
IS_LONG = DAYS >= 30
RETENTION = timedelta(days=max(1, DAYS // 4))
EVERY = 15 if IS_LONG else 180  # minutes between two looks
POSTS = 60 if IS_LONG else 10  # an hour
OUTAGE = 10 * POSTS  # more in one hour of each day
DAY, HOUR = 24 * 60, 60  # minutes


@dataclass
class Day:
    """What was there at its end."""

    texts: int  # posts whose text is still there
    posts: int  # that were ever stored
    size: int  # bytes of the store, its log included
    memory: float  # MB


def said(texts: list[str], hour: int, rng: Random) -> list[Post]:
    """What people wrote in an hour, each with words of their own; once a day something fails."""
    count = POSTS + (OUTAGE if hour % 24 == 19 else 0)
    return [
        post(
            f"{rng.choice(texts)} {hour}.{n}",
            id=f"bluesky:{hour}-{n}",
            author=f"author {hour}-{n}",
            url=f"https://social.example/{hour}/{n}",
            minutes=(hour + n / count) * HOUR,
        )
        for n in range(count)
    ]


def lived(recorder: Recorder, store: Store, path: Path, texts: list[str]) -> Iterator[Day]:
    """Day after day, as the daemon lives them."""
    metrics, rng, posts = telemetry.Metrics("test"), Random(7), 0
    for hour in range(24 * DAYS):
        began = hour * HOUR
        batch = said(texts, hour, rng)
        hearing = [Hearing("bluesky", at(began + n), 4, up=True) for n in range(HOUR)]
        posts += len(recorder.take(Batch(items=list(batch), hearing=hearing)).mentions)
        for minute in [n for n in range(began + 1, began + HOUR + 1) if n % EVERY == 0]:
            minutes.watch(recorder, at(minute), metrics)
            minutes.keep_house(recorder, at(minute), metrics)
        if (began + HOUR) % DAY == 0:
            yield Day(texts_in(path)[0], posts, size_of(path), memory())


def texts_in(path: Path) -> tuple[int, datetime]:
    """How many posts still have their text, author or link, and when the first of them arrived."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        query = "SELECT count(*), min(received_at) FROM mentions WHERE text <> '' OR author <> '' OR url <> ''"
        posts, first = db.execute(query).fetchone()
    return posts, instant(first)


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.timeout(0 if IS_LONG else 300)
def test_after_weeks_only_counts_have_grown(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    rows = map(json.loads, (ROOT / "data" / "labelled" / "tr.jsonl").read_text(encoding="utf-8").splitlines())
    texts = [row["text"] for row in rows if row["label"] in ("report", "question")]
    short = replace(pipeline, config=replace(pipeline.config, privacy=Privacy(retention=RETENTION)))
    with closing(open_store(f"sqlite:///{path}")) as store:
        shares = {"bluesky": dict.fromkeys(pipeline.catalog.regions, 1.0)}
        days = list(lived(Recorder(short, store, shares), store, path, texts))
        now = at(DAYS * DAY)
        assert texts_in(path)[1] >= now - RETENTION - timedelta(hours=1), "older ones are gone within an hour"
        assert stored(path) == days[-1].posts, "every post still counts"
        assert store.verify() == []
    full = days[RETENTION.days]  # as many texts as there will ever be
    last = days[-1]
    a_post = (last.size - full.size) / (last.posts - full.posts)
    print(
        f"\n{DAYS} days, {last.posts:,} posts: {full.texts:,} texts after {RETENTION.days} days, {last.texts:,} in the end; "
        f"{full.size / 1e6:.1f} -> {last.size / 1e6:.1f} MB, {a_post:.0f} bytes a post for good; "
        f"{full.memory:.0f} -> {last.memory:.0f} MB in memory",
        end="",
    )
    assert last.texts <= full.texts * 1.1
    assert a_post < 2000, "what stays of a post is small"
    assert last.memory < full.memory * 1.1 + (10 if IS_LONG else 100), "after a day much is needed for the first time"
