"""Posts a second through the roles, with one worker and with two, beside one process on the same archive and store.

    python -m pytest -s -p no:xdist tests/bench/test_roles_bench.py

The archive is all candidates (the judging is what workers share) or one post in a hundred. The time runs from the first batch
stored to the last; CPU seconds are those of all our processes, without starting. On a machine that does other work the
ratios of CPU hold, those of time don't.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.replay import Archive, replay
from listener.store import open_store
from listener.types import Dropped
from tests.builders import post
from tests.conftest import ROOT
from tests.servers import nats, postgres
from tests.servers.roles import Theatre

TEXTS = ROOT / "tests" / "scenarios" / "first_day"
NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)
MINUTES = 5
END = NOON + timedelta(minutes=MINUTES + 1)


def archive(path: Path, posts: int, candidates: float, pipeline: Pipeline) -> None:
    """Evenly over a few minutes, each post by another author, no text twice."""
    rng = Random(1)
    evening, trouble = [(TEXTS / f"{n}.txt").read_text("utf-8").splitlines() for n in ("evening", "outage")]
    answers = pipeline.understand([post(id=str(n), text=text) for n, text in enumerate(evening)], {})
    calm = [text for text, answer in zip(evening, answers, strict=True) if isinstance(answer, Dropped)]
    with path.open("w", encoding="utf-8") as file:
        for n in range(posts):
            text = rng.choice(trouble if rng.random() < candidates else calm)
            at = NOON + n / posts * timedelta(minutes=MINUTES)
            row = {"id": str(n), "text": f"{text} {rng.choice(calm)[:40]} {n}", "author": f"a{n}", "lang": "tr"}
            file.write(json.dumps({**row, "created_at": at.isoformat()}, ensure_ascii=False) + "\n")


def cpu_of(pid: int) -> float:
    with contextlib.suppress(OSError):
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def alone(path: Path, pipeline: Pipeline, url: str) -> tuple[float, float]:
    """Seconds, and seconds of CPU."""
    with contextlib.closing(open_store(url)) as store:
        began, cpu = time.perf_counter(), time.process_time()
        list(replay(Archive([path], print), Recorder(pipeline, store), store, until=END))
        return time.perf_counter() - began, time.process_time() - cpu


def shared(folder: Path, environ: dict[str, str], path: Path, workers: int) -> tuple[float, float]:
    folder.mkdir()
    with nats.stream() as (bus, stream), postgres.empty_store() as url:
        theatre = Theatre(folder, environ, bus, stream, url)
        try:
            theatre.plays("watch", "--roles", "watch")
            for n in range(workers):
                theatre.plays(f"worker{n}", "--roles", "understand")
            while not all("worker_ready" in theatre.log(f"worker{n}") for n in range(workers)):
                time.sleep(0.1)
            theatre.plays("ingest", "--roles", "ingest", "--archive", str(path), "--until", END.isoformat())
            began, cpu = 0.0, {}
            pids = {name: player.process.pid for name, player in theatre.players.items() if player.process}
            while theatre.look() != 0:
                if not began and theatre.lane().done:
                    began, cpu = time.perf_counter(), {name: cpu_of(pid) for name, pid in pids.items()}
                used = {name: cpu_of(pid) - cpu.get(name, 0.0) for name, pid in pids.items() if cpu_of(pid)}
                time.sleep(0.02)
            return time.perf_counter() - began, sum(used.values())
        finally:
            theatre.end()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("posts", "candidates"), [(20_000, 0.01), (20_000, 1.0)])
def test_posts_a_second(
    posts: int, candidates: float, pipeline: Pipeline, tmp_path: Path, environ: dict[str, str]
) -> None:
    path = tmp_path / "archive.jsonl"
    archive(path, posts, candidates, pipeline)
    print(f"\n{posts} posts, {candidates:.0%} candidates, load {os.getloadavg()[0]:.1f}")
    with postgres.empty_store() as url:
        base, base_cpu = alone(path, pipeline, f"sqlite:///{tmp_path / 'alone.db'}")
        rows = [("one process, SQLite", base, base_cpu), ("one process, PostgreSQL", *alone(path, pipeline, url))]
    rows += [(f"roles, {n} worker(s)", *shared(tmp_path / f"w{n}", environ, path, n)) for n in (1, 2)]
    for name, seconds, cpu in rows:
        print(
            f"{name:26} {posts / seconds:8.0f} posts/s {base / seconds:5.2f} times   "
            f"{1e6 * cpu / posts:6.0f} us of CPU a post"
        )
