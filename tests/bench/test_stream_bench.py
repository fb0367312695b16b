"""The whole live path beside the straightforward way and beside floors: run with `./dev bench -k stream -s`.

Processor time on one core, medians of rounds in which all ways take turns, so that whoever else is at work disturbs them
alike. The live path is all that `daemon` does with what a socket gave it: bundles in, one transaction a batch out.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from listener import telemetry
from listener.catalog import load
from listener.classify.service import services_of
from listener.cli import wiring
from listener.config import Config
from listener.intake import Intake, Item
from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.roster import Source
from listener.sources import Bundle, jetstream
from listener.store import open_store
from listener.text.normalize import normalize
from tests.bench import stream
from tests.builders import NOON

if TYPE_CHECKING:
    from listener.sources._net import Net

MODEL = stream.ROOT / "models" / "current"
AT_LEAST = {0.0005: 20, 0.01: 20, 0.25: 8, 1.0: 8}  # times the straightforward way, by the share of candidates
AT_ONCE, BATCH = 200, 4000
ROUNDS = 3


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return wiring.pipeline(Config(), load(), MODEL)


@pytest.fixture(scope="module")
def texts(pipeline: Pipeline) -> stream.Texts:
    return stream.texts_of(pipeline)


class Live:
    """A fresh store and what stands between a socket and it."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self.store = open_store(f"sqlite:///{folder / 'listener.db'}")
        self.recorder = Recorder(pipeline, self.store)
        self.source = Source("bluesky", "jetstream", jetstream, jetstream.Options())
        self.intake = Intake(
            [self.source],
            cast("Net", None),  # nothing is fetched
            author_key=b"0" * 32,
            metrics=telemetry.Metrics("bench"),
            clock=lambda: NOON,
            screen=pipeline.screen,
        )

    def take(self, frames: Sequence[bytes]) -> int:
        """Everything the daemon does with what a socket gave it; the number of mentions stored."""
        mentions = 0
        for begin in range(0, len(frames), BATCH):
            bundles = [
                Bundle(tuple(frames[at : at + AT_ONCE]))
                for at in range(begin, min(begin + BATCH, len(frames)), AT_ONCE)
            ]
            items = [Item(self.source, NOON, bundle, f"cursor-{begin}") for bundle in bundles]
            mentions += len(self.recorder.take(self.intake.batch(items)).mentions)
        return mentions


class _External(msgspec.Struct, gc=False):
    title: str = ""


class _Embed(msgspec.Struct, gc=False):
    external: _External | None = None


class _Record(msgspec.Struct, gc=False):
    text: str
    createdAt: str  # noqa: N815 - as upstream writes it
    langs: list[str] = []
    reply: msgspec.Raw = msgspec.Raw(b"")
    embed: _Embed | None = None


class _Payload(msgspec.Struct, gc=False):
    did: str
    seq: int
    time: str
    operation: str
    collection: str
    rkey: str
    record: _Record | None = None


class _Message(msgspec.Struct, gc=False):
    payload: _Payload


def decode_only(frames: Sequence[bytes]) -> int:
    """The floor: what a post is made of, decoded and thrown away."""
    decode = msgspec.json.Decoder(_Message).decode
    return sum(len([decode(raw) for raw in frames[at : at + AT_ONCE]]) for at in range(0, len(frames), AT_ONCE))


def prefilter_only(pipeline: Pipeline, frames: Sequence[bytes]) -> int:
    passed = 0
    for at in range(0, len(frames), 2000):
        found = jetstream.texts(frames[at : at + 2000])
        passed += int((pipeline.screen([text for text in found if text is not None]) == 0).sum())
    return passed


def seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


@dataclass
class Row:
    name: str
    cost: list[float]  # seconds a post, one a round

    def __str__(self) -> str:
        cost = statistics.median(self.cost)
        return f"{self.name:44} {1 / cost:12,.0f} posts/s {1e6 * cost:10.2f} us a post"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("share", AT_LEAST)
def test_the_live_path_beside_the_straightforward_way_and_floors(
    pipeline: Pipeline, texts: stream.Texts, share: float, tmp_path: Path
) -> None:
    posts, slow = (20_000, 2_000) if share < 0.1 else (4_000, 200) if share < 1 else (4_000, 40)
    usual = {"300 phrases": stream.straightforward(pipeline, texts, 300)}
    usual["all phrases"] = stream.straightforward(pipeline, texts, None)
    rows = {name: Row(name, []) for name in ("decode only", "prefilter only", "live path")}
    rows |= {name: Row(f"straightforward, {name}", []) for name in usual}
    for n in range(ROUNDS + 1):
        frames = stream.frames(pipeline, texts, posts, share, seed=n)
        (folder := tmp_path / str(n)).mkdir()
        live = Live(pipeline, folder)
        with closing(live.store):
            took = {
                "decode only": seconds(lambda frames=frames: decode_only(frames)) / posts,  # type: ignore[misc]
                "prefilter only": seconds(lambda frames=frames: prefilter_only(pipeline, frames)) / posts,  # type: ignore[misc]
                "live path": seconds(lambda frames=frames, live=live: live.take(frames)) / posts,  # type: ignore[misc]
            }
        part = _part(frames, slow, share)
        for name, run in usual.items():
            few = part if name == "300 phrases" or share == 1 else part[: slow // 5]
            took[name] = seconds(lambda run=run, few=few: list(run(few))) / len(few)  # type: ignore[misc]
        if n:  # the first round warms memos, as in a daemon
            for name, cost in took.items():
                rows[name].cost.append(cost)
    print(f"\n{share:.2%} candidates, {sum(map(len, frames)) / posts:.0f} bytes an event")
    median = {name: statistics.median(row.cost) for name, row in rows.items()}
    for name, row in rows.items():
        print(f"{row}  {median[name] / median['live path']:8.2f} x the live path's")
    assert median["all phrases"] > AT_LEAST[share] * median["live path"]


def _part(frames: Sequence[bytes], posts: int, share: float) -> list[bytes]:
    """A stretch with as many candidates as its length should have: they are what costs the straightforward way most."""
    if share == 1:
        return list(frames[:posts])
    marked = [n for n, raw in enumerate(frames) if b'"candidate"' in raw]
    wanted = round(posts * share)
    begin = next(n for n in range(len(frames)) if sum(n <= m < n + posts for m in marked) == wanted)
    return list(frames[begin : begin + posts])


@pytest.mark.timeout(600)
def test_what_each_stage_costs_a_candidate(pipeline: Pipeline, texts: stream.Texts, tmp_path: Path) -> None:
    cost: dict[str, list[float]] = {}
    live = Live(pipeline, tmp_path)
    with closing(live.store):
        for n in range(ROUNDS + 1):
            frames = stream.frames(pipeline, texts, 2000, 1.0, seed=50 + n)
            for name, spent in _stages(pipeline, live, frames):
                cost.setdefault(name, []).append(spent / len(frames))
    print("\nmicroseconds a candidate, by stage")
    for name, costs in cost.items():
        print(f"{name:12} {1e6 * statistics.median(costs[1:]):8.1f}")


def _stages(pipeline: Pipeline, live: Live, frames: Sequence[bytes]) -> Iterator[tuple[str, float]]:
    made: dict[str, Any] = {}

    def stage(name: str, work: Callable[[], Any]) -> tuple[str, float]:
        begin = time.process_time()
        made[name] = work()
        return name, time.process_time() - begin

    yield stage("decode", lambda: [jetstream.parse(raw, NOON) for raw in frames])
    posts = made["decode"]
    yield stage("normalize", lambda: [normalize(post.text) for post in posts])
    clean = made["normalize"]
    yield stage("match", lambda: [pipeline.matcher.find(text.skeleton) for text in clean])
    found = made["match"]
    yield stage("gate", lambda: pipeline.classifier.gate.passes([text.skeleton for text in clean], found))
    yield stage("language", lambda: pipeline.read(posts, clean, found))
    readings = made["language"]
    yield stage("score", lambda: pipeline.classifier.score(readings))
    yield stage("regions", lambda: pipeline.attributor.attribute(readings, ()))
    judged = list(zip(readings, made["score"], made["regions"], strict=True))
    yield stage("services", lambda: [services_of(r, s.chatter, where, pipeline.catalog) for r, s, where in judged])
    bundle = Item(live.source, NOON, Bundle(tuple(frames)), "cursor")
    understood = live.recorder.understood(live.intake.batch([bundle]))
    yield stage("store", lambda: live.recorder.keep(understood))


@pytest.mark.timeout(600)
def test_memory_and_start_of_a_fresh_process(pipeline: Pipeline, texts: stream.Texts, tmp_path: Path) -> None:
    """Memory is VmHWM of its own process, before and after 100,000 posts of which one in a hundred is a candidate."""
    path = tmp_path / "frames"
    path.write_bytes(b"\n".join(stream.frames(pipeline, texts, 20_000, 0.01, seed=90)))
    code = f"""
import time
start = time.perf_counter()
from pathlib import Path
from listener.catalog import load
from listener.cli import wiring
from listener.config import Config
from tests.builders import post
made = wiring.pipeline(Config(), load(), Path({str(MODEL)!r}))
made.understand([post("instagram ne radi")])
first = time.perf_counter() - start, time.process_time()
peak = lambda: int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
loaded = peak()
from tests.bench.test_stream_bench import Live
live = Live(made, Path({str(tmp_path)!r}))
frames = Path({str(path)!r}).read_bytes().split(b"\\n")
held = peak()
for n in range(5):
    live.take(frames)
print(*first, loaded, peak() - held + loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=stream.ROOT)
    wall, processor, loaded, peak = map(float, done.stdout.split())
    print(f"\nfirst post understood after {wall:.2f} s ({processor:.2f} s of processor time), {loaded:.0f} MB")
    print(f"after 100,000 posts of a stream {peak:.0f} MB")
    assert processor < 3
    assert peak < 250
