"""What strangers wrote is read in another process: whatever happens to that one, we learn of it and go on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from listener.errors import SourceError
from listener.sources import _confined
from listener.sources._confined import Call
from tests.servers import greedy

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def call(function: Any, *arguments: Any, into: Any = None, **limits: Any) -> Call[Any]:
    return Call(function, *arguments, into=into or type(None), costly="costly", broken="broken", **limits)


def echoed(text: str = "şaka") -> tuple[str, int]:
    found: tuple[str, int] = call(greedy.echo, text, into=tuple[str, int]).wait()
    return found


def test_a_call_gives_back_what_the_function_does_and_the_process_serves_again() -> None:
    text, process = echoed("Έπεσε")
    assert text == "Έπεσε"
    assert process != os.getpid()
    assert echoed()[1] == process


@pytest.mark.parametrize(
    ("function", "limits", "reason", "says"),
    [
        (greedy.spin, {"cpu": 1}, "costly", "more than 1 s of work"),
        (greedy.grow, {}, "costly", "too much memory"),
        (greedy.wait, {"wall": 0.5}, "costly", "too much time"),
        (greedy.crash, {}, "broken", "ends with code 1"),
        (greedy.fail, {}, "its_reason", "said so"),
    ],
)
def test_a_call_that_goes_wrong_has_a_reason_and_the_next_one_is_served(
    function: Any, limits: dict[str, Any], reason: str, says: str
) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        call(function, **limits).wait()
    assert caught.value.reason == reason
    assert echoed()[0] == "şaka"


def test_work_is_counted_for_each_call_and_not_for_the_process() -> None:
    processes = {call(greedy.work, 0.6, into=int, cpu=2).wait() for _ in range(5)}
    assert len(processes) == 1


def test_a_process_that_died_between_two_calls_is_replaced() -> None:
    _, process = echoed()
    os.kill(process, 9)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process}/stat").exists() and time.monotonic() < deadline:
        if ") Z " in Path(f"/proc/{process}/stat").read_text():
            break
        time.sleep(0.01)
    assert echoed()[1] != process


def test_a_process_is_replaced_after_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_confined, "CALLS", 3)
    assert len({echoed()[1] for _ in range(10)}) > 2


async def test_one_that_takes_long_does_not_hold_up_the_other() -> None:
    long = asyncio.create_task(call(greedy.wait, wall=25).aside())
    await asyncio.sleep(0)
    text, _ = await call(greedy.echo, "meanwhile", into=tuple[str, int]).aside()
    assert text == "meanwhile"
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_whoever_gives_up_waiting_ends_the_process() -> None:
    begun = time.monotonic()
    tasks = [asyncio.create_task(call(greedy.wait).aside()) for _ in range(5)]  # more than there are processes
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
    await call(greedy.echo, "next", into=tuple[str, int]).aside()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("ending", ["", "; os.kill(os.getpid(), 9)"])
def test_no_process_is_left_when_we_end_however_we_end(ending: str) -> None:
    code = (
        "import os; from listener.sources._confined import Call; from tests.servers import greedy; "
        "print(Call(greedy.echo, '', into=tuple[str, int], costly='', broken='').wait()[1], flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + ending], cwd=ROOT, capture_output=True, check=False
    )
    assert done.stderr == b""
    process = Path(f"/proc/{int(done.stdout)}")
    deadline = time.monotonic() + 10
    while process.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not process.exists()


def test_the_process_has_nothing_heavy_in_it() -> None:
    assert not {"numpy", "httpx", "sklearn"} & set(call(greedy.modules, into=list[str]).wait())
