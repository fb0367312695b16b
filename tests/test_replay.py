"""An archive through the live code path: the same bytes every time, killed half-way or not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listener.errors import InputError
from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.replay import Archive, replay
from listener.store import open_store
from tests.conftest import ROOT, Command

DAY = ROOT / "data" / "samples" / "day.jsonl"
END = datetime(2026, 3, 12, 14, 40, tzinfo=UTC)  # ten minutes after the last post of the afternoon
UNTIL = ("--until", "2026-03-12T14:40:00Z")


@pytest.fixture(scope="module")
def afternoon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty minutes of the synthetic day: quiet ones, and the beginning of the Instagram outage."""
    path = tmp_path_factory.mktemp("archive") / "afternoon.jsonl"
    lines = [
        line
        for line in DAY.read_text(encoding="utf-8").splitlines()
        if "2026-03-12T13:40" <= json.loads(line)["created_at"] < "2026-03-12T14:30"
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def transitions(path: Path, pipeline: Pipeline) -> list[tuple[str, str, str]]:
    store = open_store("sqlite:///:memory:")
    archive = Archive([path], pytest.fail)
    made = list(replay(archive, Recorder(pipeline, store), store, until=END))
    store.close()
    return [(f"{t.at:%H:%M}", t.incident.service, t.to_state) for t in made]


def test_the_outage_of_the_synthetic_day_is_noticed_within_minutes(afternoon: Path, pipeline: Pipeline) -> None:
    firing = [
        at for at, service, state in transitions(afternoon, pipeline) if (service, state) == ("instagram", "firing")
    ]
    assert "14:02" <= firing[0] <= "14:15"


def test_the_order_of_the_lines_does_not_matter(afternoon: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    lines = afternoon.read_text(encoding="utf-8").splitlines()
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("\n".join(random.Random(1).sample(lines, len(lines))), encoding="utf-8")
    assert transitions(shuffled, pipeline) == transitions(afternoon, pipeline)


def test_twice_the_same_bytes_and_a_killed_run_goes_on_where_it_was(
    afternoon: Path, listener: Command, environ: dict[str, str], tmp_path: Path
) -> None:
    clean = listener("replay", str(afternoon), *UNTIL)
    assert clean.returncode == 0, clean.stderr
    assert clean.stdout.count("\n") >= 2
    assert listener("replay", str(afternoon), *UNTIL).stdout == clean.stdout

    database = tmp_path / "replay.db"
    command = [sys.executable, "-m", "listener", "replay", str(afternoon), "--store", f"sqlite:///{database}", *UNTIL]
    running = subprocess.Popen(
        command, env={**environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    first = running.stdout.readline()  # killed right after the first transition was told
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert clean.stdout.startswith(first)
    resumed = listener("replay", str(afternoon), "--store", f"sqlite:///{database}", *UNTIL)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == clean.stdout


def test_a_store_of_another_archive_is_refused(afternoon: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    store = open_store("sqlite:///:memory:")
    list(replay(Archive([afternoon], print), Recorder(pipeline, store), store, until=END))
    with pytest.raises(InputError, match="another archive"):
        list(replay(Archive([DAY], print), Recorder(pipeline, store), store))
    store.close()


def test_a_malformed_line_is_reported_with_its_number_and_skipped(
    afternoon: Path, listener: Command, tmp_path: Path
) -> None:
    lines = afternoon.read_text(encoding="utf-8").splitlines()
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([*lines[:3], "{not json", '{"id": "x"}', *lines[3:]]), encoding="utf-8")
    done = listener("replay", str(broken), "--until", "2026-03-12T13:50:00Z")
    assert done.returncode == 0
    assert f"{broken}:4:" in done.stderr
    assert f"{broken}:5:" in done.stderr
    assert "2 malformed lines skipped" in done.stderr
    assert listener("replay", str(broken), "--until", "2026-03-12T13:50:00Z", "--strict").returncode == 2


def test_the_whole_synthetic_day_has_its_incidents_and_no_football(pipeline: Pipeline) -> None:
    store = open_store("sqlite:///:memory:")
    began = time.process_time()  # the machine may do other things meanwhile
    list(replay(Archive([DAY], print), Recorder(pipeline, store, shown=False), store))
    took = timedelta(seconds=time.process_time() - began)
    found = {incident.service: incident for incident in store.incidents()}
    store.close()
    assert {"instagram", "x"} <= found.keys()
    assert found.keys() <= {"instagram", "x", "sbb", "internet", "unnamed"}
    assert {"TR", "BG", "GR", "RS"} <= set(found["instagram"].regions)
    assert found["x"].regions == ("TR",)
    assert found["instagram"].resolved_at is not None
    assert max(found["x"].cause, key=found["x"].cause.__getitem__) == "block"
    assert max(found["instagram"].cause, key=found["instagram"].cause.__getitem__) == "outage"
    assert took < timedelta(minutes=1)
