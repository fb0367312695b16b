"""Archives are read however they are packed, in order of arrival, by one process or several, with the same end."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from listener import replay as replaying
from listener.archives import lines
from listener.backfill import Processes
from listener.config import Config
from listener.errors import InputError
from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.replay import Archive, replay
from listener.store import open_store
from tests.conftest import ROOT

DAY = ROOT / "data" / "samples" / "day.jsonl"
HOUR = ("2026-03-12T13:40", "2026-03-12T14:30")
END = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)


def rows() -> list[dict[str, str]]:
    """Fifty minutes of the synthetic day: the beginning of the Instagram outage."""
    read = (json.loads(line) for line in DAY.read_text(encoding="utf-8").splitlines())
    return [row for row in read if HOUR[0] <= row["created_at"] < HOUR[1]]


def plain(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet(rows: list[dict[str, str]], path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[[list[dict[str, str]], Path], object]] = {
    "jsonl": lambda rows, path: path.write_bytes(plain(rows)),
    "gz": lambda rows, path: path.write_bytes(gzip.compress(plain(rows[:9])) + gzip.compress(plain(rows[9:]))),
    "zst": lambda rows, path: path.write_bytes(
        zstandard.compress(plain(rows[:9])) + zstandard.compress(plain(rows[9:]))
    ),
    "parquet": as_parquet,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_holds_the_same_posts_in_order_of_arrival(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "RUN", 20)  # sorted in several runs
    ordered, jumbled = tmp_path / "ordered.jsonl", tmp_path / f"an archive without a telling name {kind}"
    WRITERS["jsonl"](rows(), ordered)
    WRITERS[kind](random.Random(1).sample(rows(), len(rows())), jumbled)
    wanted = [(post.received_at, post.text) for post in Archive([ordered], pytest.fail).posts()]
    archive = Archive([jumbled], pytest.fail)
    found = [(post.received_at, post.text) for post in archive.posts()]
    assert [at for at, _ in found] == [at for at, _ in wanted]
    assert sorted(found) == sorted(wanted)
    assert [post.id for post in archive.posts(5)] == [post.id for post in archive.posts()][5:]
    assert len(archive) == len(wanted) > 40


@pytest.mark.parametrize("kind", ["gz", "zst", "parquet"])
@pytest.mark.parametrize("harm", ["cut", "garbled"])
def test_a_damaged_file_is_one_clear_error(kind: str, harm: str, tmp_path: Path) -> None:
    path = tmp_path / f"archive.{kind}"
    WRITERS[kind](rows() * 20, path)
    raw = bytearray(path.read_bytes())
    middle = len(raw) * 2 // 3
    if harm == "cut":
        del raw[middle:]
    else:
        raw[middle : middle + 40] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(InputError) as told:
        list(lines(path))
    name = {"gz": "gzip", "zst": "zstd", "parquet": "Parquet"}[kind]
    assert f"{path}: damaged {name} file, readable up to" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_table_without_a_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.parquet"
    parquet.write_table(pa.table({"time": ["2026-03-12T14:00:00Z"], "count": [3]}), path)
    with pytest.raises(InputError, match="no column text among time, count"):
        list(lines(path))


def test_the_command_reads_a_damaged_archive_with_one_line_and_status_2(tmp_path: Path) -> None:
    path = tmp_path / "archive.jsonl.gz"
    path.write_bytes(gzip.compress(plain(rows()))[:-30])
    done = subprocess.run(
        [sys.executable, "-m", "listener", "replay", str(path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "damaged gzip file" in done.stderr


def replayed(path: Path, pipeline: Pipeline, database: Path, jobs: int, stop_after: int | None = None) -> list[str]:
    """The transitions as text. `stop_after` leaves the replay in the middle after so many."""
    store = open_store(f"sqlite:///{database}")
    made = []
    try:
        with Processes(jobs, data=None, model=ROOT / "models" / "current", config=Config()) as crew:
            archive = Archive([path], pytest.fail)
            run = replay(archive, Recorder(pipeline, store), store, until=END, crew=crew if jobs > 1 else None)
            for transition in run:
                made.append(repr(transition))
                if len(made) == stop_after:
                    break
    finally:
        store.close()
    return made


def test_two_processes_say_what_one_says_also_when_stopped_in_the_middle(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "afternoon.jsonl.zst"
    WRITERS["zst"](rows(), path)
    alone = replayed(path, pipeline, tmp_path / "alone.db", 1)
    assert len(alone) >= 2
    assert replayed(path, pipeline, tmp_path / "crew.db", 2) == alone
    stopped = tmp_path / "stopped.db"
    assert replayed(path, pipeline, stopped, 2, stop_after=1) == alone[:1]
    assert replayed(path, pipeline, stopped, 2) == alone
    dumps = [dump(tmp_path / name) for name in ("alone.db", "crew.db", "stopped.db")]
    assert dumps[0] == dumps[1] == dumps[2]


def dump(database: Path) -> list[str]:
    """Everything that was stored of posts, and how many were dropped and why."""
    store = open_store(f"sqlite:///{database}")
    try:
        mentions = sorted(repr(mention) for mention in store.mentions(limit=10_000))
        points = sorted(repr(point) for point in store.points(since=datetime(2026, 3, 1, tzinfo=UTC)))
        return [*mentions, *points, repr(sorted(store.dropped().items()))]
    finally:
        store.close()
