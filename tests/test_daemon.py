"""The daemon as a process: it says what it can't do, and is the only one at its store."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers.process import Process, fetch, free_port


@pytest.fixture
def port() -> int:
    return free_port()


def test_without_a_network_the_sources_say_when_they_try_again(
    tmp_path: Path, environ: dict[str, str], port: int
) -> None:
    (tmp_path / "listener.toml").write_text(
        f'default_sources = false\n[web]\nport = {port}\n[[source]]\nkind = "rss"\nname = "gone"\n'
        'url = "https://nothing.invalid/feed.xml"\n'
    )
    life = Process(tmp_path, environ, tmp_path / "listener.db")
    log = tmp_path / "daemon.log"
    deadline = time.monotonic() + 30
    while "source_failed" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    page = fetch(f"http://127.0.0.1:{port}/")
    assert life.end(signal.SIGTERM) == 0
    assert "source=gone" in log.read_text()
    assert "next_try_in=" in log.read_text()
    assert "listener" in page


def test_a_second_daemon_is_kept_out(tmp_path: Path, environ: dict[str, str], port: int) -> None:
    (tmp_path / "listener.toml").write_text(f"default_sources = false\n[web]\nport = {port}\n")
    life = Process(tmp_path, environ, tmp_path / "listener.db")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            fetch(f"http://127.0.0.1:{port}/healthz")
            break
        time.sleep(0.1)
    other = subprocess.run(
        [sys.executable, "-m", "listener", "run", "--store", f"sqlite:///{tmp_path / 'listener.db'}"],
        env={**environ, "PYTHONPATH": str(ROOT), "LISTENER_WEB_ENABLED": "false"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert other.returncode == 1
    assert str(life.process.pid) in other.stderr.strip().splitlines()[-1]
    openapi = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/openapi.json"))
    assert "/api/v1/signals" in openapi["paths"]
    assert life.end(signal.SIGTERM) == 0
