"""Nothing that reads what others wrote is brought down by it: a spoiled input is accepted, or refused as it should be.

Some spoiled inputs a parser here. The long form, here and for the sources, each parser with so many:

    LISTENER_FUZZ=30000 nice .venv/bin/python -m pytest -q -s -n0 --timeout=0 tests/test_mutants.py tests/test_fuzz_sources.py

A failure names its seed: the same seed spoils the same input in the same way.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from listener.classify import modelfile
from listener.classify.classifier import Classifier
from listener.errors import ModelError
from listener.text.language import Identifier
from tests import days
from tests.parsers import Parser, all_parsers
from tests.small_model import small_model
from tests.spoiling import Spoiler
from tests.test_model_files import sealed
from tests.web import app_of, kept

ROUNDS = int(os.environ.get("LISTENER_FUZZ", "15"))
SLOW = 1.0  # seconds of work for one input


def tried(name: str, rounds: int, attempt: Callable[[str], Callable[[], str]]) -> None:
    """`attempt` spoils one for a seed; what it gives back says in a word what came of it."""
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    slowest = 0.0
    for i in range(rounds):
        seed = f"{name}:{i}"
        read = attempt(seed)
        worked = time.process_time()
        try:
            outcomes[read()] += 1
        except Exception as error:  # noqa: BLE001 - which one it is, the test tells
            outcomes["broken"] += 1
            broken.append(f"seed {seed!r}: {error!r:.300}")
        slowest = max(slowest, time.process_time() - worked)
    print(f"\n{name}: {rounds} inputs, the slowest {slowest * 1000:.0f} ms: {dict(outcomes)}")
    assert not broken, "\n".join(broken[:5])
    assert slowest < SLOW


@pytest.fixture(scope="module")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parser]:
    return dict(all_parsers(tmp_path_factory.mktemp("parsers")))


NAMES = [
    "config", "environment", "data: languages", "data: services", "data: regions", "data: sources", "data: places",
    "data: cues", "data: speech", "data: weights", "data: baseline", "data: interface", "events", "lines of posts",
    "archives", "texts", "labels", "labels of csv", "labels of labelstudio", "labels of doccano", "training posts", "counts",
    "OPML", "robots.txt", "parcels", "frames", "charsets",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_spoiled_input_is_accepted_or_refused(parsers: dict[str, Parser], name: str) -> None:
    parser = parsers[name]

    def attempt(seed: str) -> Callable[[], str]:
        raw = parser.spoiled(seed)

        def read() -> str:
            try:
                parser.read(raw)
            except parser.refuses:
                return "refused"
            return "accepted"

        return read

    tried(name, ROUNDS, attempt)


@pytest.mark.parametrize("name", NAMES)
def test_an_input_that_is_not_spoiled_is_accepted(parsers: dict[str, Parser], name: str) -> None:
    parser = parsers[name]
    for seed in parser.seeds:
        parser.read(seed if parser.written is None else parser.written(seed))


def test_every_parser_is_tried(parsers: dict[str, Parser]) -> None:
    assert list(parsers) == NAMES


SPOILED = ("model.json", "meta.json", "senses.json", "arrays.npz", "language.json", "language.npz")


def test_a_spoiled_model_is_refused_or_is_one(tmp_path: Path) -> None:
    """Every other one with its digests made right, as by somebody who spoils it on purpose."""
    small = small_model(tmp_path / "model", 0)
    Classifier.load(small)
    whole = {name: (small / name).read_bytes() for name in SPOILED}

    def attempt(seed: str) -> Callable[[], str]:
        spoiler = Spoiler(seed, list(whole.values()))
        name = spoiler.random.choice(SPOILED)
        for other, raw in whole.items():
            (small / other).write_bytes(raw)
        (small / name).write_bytes(spoiler.document(whole[name])[: 2**22])
        if name not in ("meta.json", "language.npz") and spoiler.random.random() < 0.5:
            sealed(small)

        def read() -> str:
            try:
                modelfile.read(small)
                Identifier.load(small)
            except ModelError:
                return "refused"
            with suppress(ModelError):  # its golden texts
                Classifier.load(small)
            return "accepted"

        return read

    tried("models", ROUNDS, attempt)


ADDRESSES = (
    "/api/v1/signals?service=instagram&region=TR&since=2026-03-02T00:00:00Z&until=2026-03-02T12:00:00Z&bin=300&format=csv",
    "/api/v1/series?since=2026-03-02T00:00:00Z&limit=10&page=2",
    "/api/v1/incidents?service=instagram&region=TR&state=firing&since=2026-03-01T00:00:00%2B03:00&format=json",
    f"/api/v1/incidents/{days.OPEN.id}/transitions",
    "/api/v1/posts?service=instagram&since=2026-03-02T00:00:00Z&texts=true&limit=20",
    "/api/v1/sources?format=csv",
    "/?lang=tr&region=TR", "/incidents.json?service=instagram", f"/incidents/{days.OPEN.id}", "/sources",
    "/services/instagram?region=TR&hours=24", "/badge/instagram/TR.svg", "/incidents.atom?service=instagram", "/methodology",
)  # fmt: skip


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with kept(tmp_path_factory.mktemp("web"), days.live_a_day) as store:
        yield app_of(store)


def test_an_address_that_is_not_spoiled_is_answered(web: Any) -> None:
    with asyncio.Runner() as runner:
        for address in ADDRESSES:
            path, _, query = address.partition("?")
            assert runner.run(status_of(web, path, query.encode())) == 200, address


async def status_of(app: Any, path: str, query: bytes) -> int:
    """Of a GET, asked without a network; the answer is read to its end."""
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": quote(path).encode(), "query_string": query, "headers": [],
        "http_version": "1.1", "scheme": "http", "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


def test_a_spoiled_address_is_answered_or_refused(web: Any) -> None:
    with asyncio.Runner() as runner:

        def attempt(seed: str) -> Callable[[], str]:
            spoiler = Spoiler(seed)
            address = spoiler.random.choice(ADDRESSES)
            parts = spoiler.random.choice((re.split(r"(?<=[=/])", address), [address]))
            for i in spoiler.random.choices(range(len(parts)), k=spoiler.random.choice((1, 1, 2, 3))):
                parts[i] = spoiler.text(parts[i])[:8000]
            path, _, query = "".join(parts).partition("?")
            raw = query.encode() if spoiler.random.random() < 0.5 else quote(query, safe="=&%").encode()

            def read() -> str:
                status = runner.run(status_of(web, "/" + unquote(path, errors="replace").lstrip("/"), raw))
                assert status < 500
                return "accepted" if status < 400 else "refused"

            return read

        tried("addresses", ROUNDS, attempt)
