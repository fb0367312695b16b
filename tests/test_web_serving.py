"""The server stays polite and alive: open pages hold nothing up, and who never finishes a request is hung up on."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from listener.cli import serving
from listener.config import notify_socket
from listener.store import Store
from listener.web import live
from tests import days
from tests.builders import at
from tests.conftest import ROOT
from tests.servers.dashboard import ask, served
from tests.servers.process import Process, free_port
from tests.web import app_of, dashboard, kept


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with kept(tmp_path, days.live_a_day) as made:
        yield made


def events(base: str) -> contextlib.AbstractContextManager[httpx.Response]:
    return httpx.stream("GET", f"{base}/events", timeout=20, trust_env=False)


def news(stream: httpx.Response) -> Iterator[str]:
    """The versions told, one after the other."""
    for line in stream.iter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def test_an_open_page_hears_of_a_transition_within_two_seconds(store: Store) -> None:
    with served(app_of(store)) as base, events(base) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = news(stream)
        first = next(told)
        assert f'data-version="{first}"' in ask(base, "/").text, "the page knows what it shows"
        took = []
        for minute in (94, 95, 96):  # the machine may be busy with something else once
            began = time.monotonic()
            with store.transaction() as tx:
                tx.put_transitions([days.began(at(minute))])
            second = next(told)
            took.append(time.monotonic() - began)
            assert second != first
            assert f'data-version="{second}"' in ask(base, "/").text
            first = second
        assert min(took) < 2


def test_many_open_pages_are_one_look_at_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(of: Store) -> str:
        nonlocal looks
        looks += 1
        return real(of)

    real = live.version
    with served(app_of(store)) as base, contextlib.ExitStack() as stack:
        monkeypatch.setattr(live, "version", counted)
        began = time.monotonic()
        streams = [news(stack.enter_context(events(base))) for _ in range(20)]
        assert len({next(stream) for stream in streams}) == 1
        assert looks <= 2 + (time.monotonic() - began) / (live.EVERY / 2)


def test_more_open_pages_than_there_is_room_for_are_told_to_come_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST", 2)
    with served(app_of(store)) as base, events(base) as one, events(base) as two:
        first, second = news(one), news(two)  # let go of, they would hang up
        assert next(first) == next(second)
        assert ask(base, "/events").text == "retry: 60000\n\n"
        assert ask(base, "/").status_code == 200


def test_open_pages_do_not_hold_up_the_servers_end(store: Store) -> None:
    with contextlib.ExitStack() as stack:
        with served(app_of(store)) as base:
            told = [news(stack.enter_context(events(base))) for _ in range(5)]
            assert all(next(stream) for stream in told)
            began = time.monotonic()
        assert time.monotonic() - began < serving.GRACE
        assert all(next(stream, "over") == "over" for stream in told)


HALVES = (
    b"",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow",
    b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /half",
)


def test_half_sent_requests_are_hung_up_on_however_bytes_drip_in(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 1.5)
    with served(app_of(store)) as base, contextlib.ExitStack() as stack, events(base) as stream:
        told = news(stream)
        assert next(told)
        address = ("127.0.0.1", int(base.rpartition(":")[2]))
        halves = []
        for n in range(60):
            half = stack.enter_context(socket.create_connection(address))
            half.sendall(HALVES[n % len(HALVES)])
            halves.append(half)
        began = time.monotonic()
        assert ask(base, "/healthz").status_code == 200, "others are served meanwhile"
        for n, half in enumerate(halves):
            half.settimeout(0.2)
            while not _hung_up(half, drips=n % 4 == 1):
                assert time.monotonic() - began < 12
        with store.transaction() as tx:
            tx.put_transitions([days.began(at(94))])
        assert next(told), "an answer that takes long is not a request that does"


def _hung_up(half: socket.socket, *, drips: bool) -> bool:
    try:
        if drips:
            half.sendall(b"x")
        return half.recv(65536) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


MANY = 1_000


def test_a_thousand_half_requests_and_a_thousand_streams_shut_nobody_out(store: Store) -> None:
    """All of them at once, from one address, under the limits as they are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * MANY)), hard))  # ours, who attack
    with served(app_of(store)) as base, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", int(base.rpartition(":")[2]))
        took = []
        for n in range(2 * MANY):
            line = stack.enter_context(socket.create_connection(address))
            line.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n" if n % 2 else HALVES[n // 2 % len(HALVES)])
            if n % 40 == 0:
                began = time.monotonic()
                assert ask(base, "/healthz").text == "ok\n", n
                took.append(time.monotonic() - began)
        assert ask(base, "/sources").status_code == 200
        assert statistics.median(took) < 0.5
        print(
            f"\n/healthz beside them: at most {1000 * max(took):.0f} ms, {1000 * sum(took) / len(took):.0f} ms on average"
        )


def test_an_answer_that_takes_longer_than_our_patience_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow() -> bytes:
        time.sleep(0.6)  # it is about slowness
        return b"slow 1\n"

    monkeypatch.setattr(serving, "PATIENCE", 0.2)
    with dashboard(tmp_path, metrics=slow) as base, httpx.Client(base_url=base, trust_env=False) as client:
        assert client.get("/metrics").text == "slow 1\n"
        assert client.get("/metrics").text == "slow 1\n"


def test_the_daemon_ends_at_once_though_pages_are_open(tmp_path: Path, environ: dict[str, str]) -> None:
    port = free_port()
    (tmp_path / "listener.toml").write_text(f"default_sources = false\n[web]\nport = {port}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        life = Process(tmp_path, {**environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}, tmp_path / "listener.db")
        assert systemd.recv(100) == b"READY=1"
        base = f"http://127.0.0.1:{port}"
        assert ask(base, "/healthz").text == "ok\n", "ready means that it can be asked"
        with events(base) as stream, events(base):
            told = news(stream)
            assert next(told)
            began = time.monotonic()
            assert life.end(signal.SIGTERM) == 0
            assert time.monotonic() - began < 5
        assert systemd.recv(100) == b"STOPPING=1"


def test_a_changed_config_is_taken_over_on_sighup_and_a_broken_one_is_refused(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    port = free_port()
    config = tmp_path / "listener.toml"
    config.write_text(f"default_sources = false\n[web]\nport = {port}\n")
    (tmp_path / "said.jsonl").write_text('{"id": "1", "text": "instagram çöktü, giremiyorum"}\n', encoding="utf-8")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        life = Process(tmp_path, {**environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}, tmp_path / "listener.db")
        assert systemd.recv(100) == b"READY=1"
        base, good = f"http://127.0.0.1:{port}", config.read_text()
        config.write_text("[web\n")
        life.process.send_signal(signal.SIGHUP)
        while b"config_refused" not in (tmp_path / "daemon.log").read_bytes():
            assert ask(base, "/healthz").text == "ok\n"
        config.write_text(f'{good}[[source]]\nkind = "jsonl"\nname = "said"\npath = "{tmp_path}/said.jsonl"\n')
        life.process.send_signal(signal.SIGHUP)
        assert systemd.recv(100) == b"RELOADING=1"
        assert systemd.recv(100) == b"READY=1"
        while not ask(base, "/api/v1/posts").json():
            assert life.process.poll() is None
        assert life.end(signal.SIGTERM) == 0


def test_without_systemd_nobody_is_told() -> None:
    assert notify_socket({}) == ""
    assert notify_socket({"NOTIFY_SOCKET": "/run/x"}) == "/run/x"
    serving.notify("READY=1")


def test_the_demo_ends_at_once_though_a_page_is_open(tmp_path: Path, environ: dict[str, str]) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", _SHORT_DEMO],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(ROOT), "LISTENER_WEB_PORT": str(port)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    assert any("dashboard:" in line for line in process.stderr)
    base = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            assert "invented" in ask(base, "/").text
            break
        time.sleep(0.05)
    with events(base) as stream:
        told = news(stream)
        assert next(told)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert time.monotonic() - began < 5
    process.stderr.close()


# The demo of a day whose archive was cut short: the rest of it is no different, and takes a quarter of a minute.
_SHORT_DEMO = """
import sys
from itertools import islice
from listener import archives, cli
import listener.replay
replay = sys.modules["listener.replay"]
whole = archives.lines
archives.lines = replay.lines = lambda path: islice(whole(path), 20)
replay.QUIET_AFTER = replay.bins.BIN
sys.argv = ["listener", "demo"]
cli.main()
"""
