"""Every kind of source, whatever it is: its options explain themselves, and it makes of recorded payloads what is expected.

A payload `tests/data/sources/KIND/NAME.*` lies beside `NAME.expected.json`: the options, and what each thing that comes out
parses to (a post, a delete, null, or "malformed"). It is served by `tests/servers/KIND.py`, or by the plain HTTP server.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
from contextlib import aclosing
from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from listener import kinds
from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import Gap, MalformedError, Memo
from listener.types import Delete, Post
from tests.servers.driving import NOW, net

DATA = Path(__file__).parents[1] / "data" / "sources"
KINDS = kinds.names("sources")
CASES = sorted(DATA.glob("*/*.expected.json"))

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_a_docstring_options_that_explain_themselves_and_two_functions(kind: str) -> None:
    module = kinds.load("sources", kind, "here")
    assert module.__doc__
    options: Any = module.Options
    assert is_dataclass(options)
    assert getattr(options, "__dataclass_params__").frozen  # noqa: B009 - typeshed does not know it
    for spec in fields(options):
        assert spec.metadata["meaning"], spec.name
        assert (spec.default, spec.default_factory) != (MISSING, MISSING), spec.name
    assert inspect.isasyncgenfunction(module.posts)
    assert list(inspect.signature(module.posts).parameters) == ["options", "cursor", "net"]
    assert list(inspect.signature(module.parse).parameters) == ["raw", "received_at"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_brings_a_payload(kind: str) -> None:
    assert any(case.parent.name == kind for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name.partition('.')[0]}")
async def test_a_payload_gives_what_is_expected(case: Path) -> None:
    kind, expected = case.parent.name, json.loads(case.read_text())  # noqa: ASYNC240 - a small file
    module = kinds.load("sources", kind, "here")
    payload = next(p for p in case.parent.glob(f"{case.name.removesuffix('.expected.json')}.*") if p != case)
    name = kind if importlib.util.find_spec(f"tests.servers.{kind}") else "feeds"
    server = importlib.import_module(f"tests.servers.{name}").serving
    async with server(payload.read_bytes(), expected.get("content_type", "")) as url, net() as edge:
        table = json.loads(json.dumps(expected["options"]).replace("{server}", url).replace("{path}", str(payload)))
        table = {key: _secret(value) for key, value in table.items()}
        raws = await _all(module.posts(kinds.convert(table, module.Options, "case"), None, edge))
    results = [_parsed(module, raw) for raw in raws]
    wanted = [_wanted(result, kind) for result in expected["results"]]
    assert [_comparable(r, w) for r, w in zip(results, wanted, strict=False)] == wanted
    assert len(results) == len(wanted)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cursor_of_another_kind_counts_as_none(kind: str) -> None:
    module = kinds.load("sources", kind, "here")
    async with net() as edge:
        for foreign in ("not json", '{"files": 3, "seen": [], "polled_ms": 0, "max_time_us": "x"}', "[]"):
            source = module.posts(_unreachable(module), foreign, edge)
            with pytest.raises(SourceError):
                await _all(source, is_patient=False)


def _secret(value: Any) -> Any:
    """`{"secret": "..."}` in an expectation stands for a secret option."""
    return Secret(value["secret"]) if isinstance(value, dict) and value.keys() == {"secret"} else value


def _unreachable(module: Any) -> Any:
    """Options that lead nowhere, whatever the kind calls its address."""
    nowhere: dict[str, Any] = {
        "url": "http://127.0.0.1:1/",
        "server": "http://127.0.0.1:1",
        "hosts": ["ws://127.0.0.1:1"],
        "legacy_hosts": [],
        "path": "/nowhere/at/all.jsonl",
    }
    known = {spec.name for spec in fields(module.Options)}
    return kinds.convert({k: v for k, v in nowhere.items() if k in known}, module.Options, "case")


async def _all(source: Any, *, is_patient: bool = True) -> list[Any]:
    """What comes before the first heartbeat, or before the source gives up."""
    raws: list[Any] = []
    async with aclosing(source) as items:
        try:
            async for raw, _ in items:
                if raw is None:
                    break
                if not isinstance(raw, Memo):
                    raws.append(raw)
        except SourceError:
            if not is_patient:
                raise
    return raws


def _parsed(module: Any, raw: Any) -> Post | Delete | str | None:
    assert not isinstance(raw, Gap)
    try:
        made: Post | Delete | None = module.parse(raw, NOW)
    except MalformedError:
        return "malformed"
    assert module.parse(raw, NOW) == made
    if isinstance(made, Post):
        assert made.created_at.utcoffset() == timedelta(0)
    return made


def _wanted(result: Any, kind: str) -> Post | Delete | str | None:
    if not isinstance(result, dict):
        assert result in (None, "malformed")
        return "malformed" if result else None
    if "delete" in result:
        return msgspec.convert({"source": kind, **result["delete"]}, Delete)
    return msgspec.convert({"source": kind, "received_at": NOW, **result}, Post)


def _comparable(result: Any, wanted: Any) -> Any:
    """An id that ends in `?` in the expectation stands for any digest."""
    is_open = isinstance(result, Post) and isinstance(wanted, Post) and wanted.id.endswith("?")
    return replace(result, id=wanted.id) if is_open and result.id.startswith(wanted.id[:-1]) else result
