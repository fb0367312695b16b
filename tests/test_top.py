"""`listener top` shows a running listener over its API, and says clearly when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from listener.cli import top
from listener.store import Store
from listener.types import SourceHealth
from tests import days
from tests.builders import at
from tests.conftest import Command
from tests.servers.dashboard import served
from tests.servers.process import free_port
from tests.web import app_of, dashboard, kept


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("full"), days.live_a_day) as base:
        yield base


def test_once_prints_what_is_open_what_is_said_and_what_fails(listener: Command, full: str) -> None:
    done = listener("top", "--once", "--url", full)
    assert done.returncode == 0, done.stderr
    for expected in (
        "7 of 10 sources heard",
        "outage 86%",
        "TR BG GR RS ZZ",
        "2026-03-02T12:02:00Z",
        "forum-hr",
        "status 503",
    ):
        assert expected in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["instagram", "TR", "problems"] in [line[:3] for line in lines]
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_an_empty_listener_says_so(listener: Command, tmp_path: Path) -> None:
    with dashboard(tmp_path) as base:
        done = listener("top", "--once", "--url", base)
    assert "no open incidents" in done.stdout
    assert "nothing heard yet" in done.stdout


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("http://127.0.0.1:{free}", 1, "nothing answers; is `listener run` running there?"),
        ("{full}/metrics", 1, "no listener is there (it answered 404)"),
        ("ftp://127.0.0.1", 2, "write http://HOST:PORT"),
        ("127.0.0.1:8080", 2, "write http://HOST:PORT"),
    ],
)
def test_where_nothing_answers_one_line_says_what_to_do(
    listener: Command, full: str, url: str, code: int, said: str
) -> None:
    done = listener("top", "--once", "--url", url.format(free=free_port(), full=full))
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_fits_a_narrow_terminal_and_no_name_paints_it(tmp_path: Path) -> None:
    def fill(store: Store) -> None:
        days.live_a_day(store)
        with store.transaction() as tx:
            tx.put_transitions([replace(days.began(at(94)), id="x")])
            tx.put_health([SourceHealth("\x1b[31mevil\x07" * 9, "rss", errors_in_a_row=99, reason="\x1b]0;x\x07")])

    with kept(tmp_path, fill) as store, served(app_of(store)) as base, httpx.Client(base_url=base) as client:
        seen = top.ask(client)
    for width in (40, 80, 200):
        console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
        console.print(top.screen(seen, base, width, "cut off"))
        text = console.export_text()
        console.file.close()
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text
        assert "cut off" in text
