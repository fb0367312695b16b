"""Everything that reads what somebody else wrote, except the sources: what it is given, and how it is asked.

A `Parser` takes one spoiled input and either accepts it, or raises what it is expected to. Sources have
`tests/test_fuzz_sources.py`.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from listener import archives, catalog, config, words
from listener.backtest import events
from listener.batches import Batch
from listener.cli import archive
from listener.detectors import threshold
from listener.errors import InputError
from listener.labelling import exchange, records
from listener.regions.cues import cues
from listener.regions.speech import speech
from listener.regions.weights import weights
from listener.roles import lane
from listener.signals import baseline
from listener.signals.online import Online
from listener.sources import MalformedError, _jetstream_wire, _opml, _robots
from listener.sources._charset import decode
from listener.text.normalize import normalize, skeleton
from listener.training import dataset
from tests.builders import post
from tests.conftest import ROOT
from tests.spoiling import Spoiler

DATA = ROOT / "data"
FEEDS = ROOT / "tests" / "data" / "sources"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MARKED = (  # of each kind of post a line
    {"text": "instagram çöktü mü", "id": "a:1", "created_at": "2026-11-20T10:00:00Z", "lang": "tr", "author": "x"},
    {"text": "ne radi mi fejs", "lang": ["sr", "bs"], "region": "RS", "received_at": "2026-11-20T10:00:00.5+03:00"},
    {"text": "πεσει το ιντερνετ;", "id": 7, "source": "files", "kind": "reply", "place": "Λάρισα", "created_at": "2026-11-20"},
)  # fmt: skip
LARGEST = 300_000  # bytes of a spoiled input: what is put into itself many times grows
LIST = b"""<?xml version="1.0"?><opml version="2.0" xmlns:l="urn:listener:source"><body><outline text="Serbia">
<outline type="rss" text="A" xmlUrl="feed://a.example/rss" category="/Tech,/RS" l:every="5m"/></outline></body></opml>"""
LABEL = records.Label(
    id="1", text="instagram çöktü", label="report", symptom="down", services=("instagram",), by="a", alike=2
)


@dataclass(frozen=True)
class Parser:
    """`seeds` are sound inputs: of bytes, or a tree that `written` makes bytes of once it is spoiled."""

    seeds: tuple[Any, ...]
    read: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...] = (InputError,)
    written: Callable[[Any], bytes] | None = None

    def spoiled(self, seed: str) -> bytes:
        spoiler = Spoiler(seed, [one for one in self.seeds if isinstance(one, bytes)])
        value = spoiler.random.choice(self.seeds)
        if self.written is not None and spoiler.random.random() < 0.7:
            for _ in range(spoiler.random.choice((1, 1, 2, 3))):
                value = spoiler.tree(value)
            return self.written(value)[:LARGEST]
        data = value if self.written is None else self.written(value)
        for _ in range(spoiler.random.choice((1, 1, 2, 3))):
            data = spoiler.document(data)
        return data[:LARGEST]


# --- TOML ---------------------------------------------------------------------------------------------------------


def toml(tree: Any) -> bytes:
    """The tree as TOML, each key of its table on a line. What TOML can't say is left out."""
    table = tree if isinstance(tree, dict) else {"a": tree}
    try:
        lines = [f"{_inline(str(key))} = {_inline(value)}\n" for key, value in table.items() if value is not None]
    except RecursionError:
        return b"a = " + b"[" * 600 + b"]" * 600
    return "".join(lines).encode("utf-8", "surrogatepass")


def _inline(value: Any) -> str:
    match value:
        case dict():
            inside = (f"{_inline(str(key))} = {_inline(inner)}" for key, inner in value.items() if inner is not None)
            return "{" + ", ".join(inside) + "}"
        case list():
            return "[" + ", ".join(_inline(inner) for inner in value if inner is not None) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
    return str(value)  # a date


def tree_of(path: Path, most: int = 6) -> dict[str, Any]:
    """A data file as a tree, with the beginning of its long lists."""
    found: dict[str, Any] = _short(tomllib.loads(path.read_text(encoding="utf-8")), most)
    return found


def _short(value: Any, most: int) -> Any:
    if isinstance(value, dict):
        return {key: _short(inner, most) for key, inner in value.items()}
    if isinstance(value, list) and value and not isinstance(value[0], float):
        return [_short(inner, most) for inner in value[:most]]
    return value


def in_file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Reads what is given as the content of a file."""

    def of(raw: bytes) -> object:
        path.write_bytes(raw)
        return read(path)

    return of


def data_file(root: Path, folder: str, name: str) -> Callable[[bytes], object]:
    """Reads what is given as a file of an otherwise small and sound `data`."""
    for part in ("languages", "services", "regions", "places", "sources"):
        (root / part).mkdir(parents=True, exist_ok=True)
    return in_file(root / folder / name, lambda _: catalog.load(root))


def config_and_kinds(path: Path) -> None:
    """The config, and the options of the sources and the detector it names, as `listener check` reads them."""
    from listener import kinds

    made = config.load(path, {})
    for family, tables in (("sources", made.sources), ("channels", made.channels)):
        for table in tables:
            module = kinds.load(family, table.kind, table.name)
            options = {k: v for k, v in table.options.items() if family == "sources" or k in _own(module)}
            kinds.convert(options, module.Options, table.name)
    kinds.convert(made.detector.options, kinds.load("detectors", made.detector.kind, "detector").Options, "detector")


def _own(module: Any) -> set[str]:
    return set(module.Options.__dataclass_fields__)


def variables(raw: bytes) -> None:
    """`LISTENER_*`, a line each."""
    pairs = (line.partition("=") for line in raw.decode("utf-8", "surrogateescape").replace("\0", "").splitlines())
    config.load(None, {name: value for name, _, value in pairs if name and name != "LISTENER_CONFIG"})


# --- lines --------------------------------------------------------------------------------------------------------


def lines(*rows: Any) -> bytes:
    return b"\n".join(map(written, rows)) + b"\n"


def written(tree: Any) -> bytes:
    """The tree as JSON, also one that is too deep for Python's own writer."""
    try:
        return json.dumps(tree, ensure_ascii=False).encode()
    except RecursionError:
        return b"[" * 600 + b"]" * 600


def counts(path: Path) -> None:
    """A CSV of counts, as `listener detect` reads it."""
    online = Online(threshold.detect, threshold.Options())
    for _, (time, count, exposure) in archive._counts(str(path)):
        online.step(archive.instant(time), count, exposure)


def archived(path: Path) -> None:
    for number, line in enumerate(archives.lines(path), 1):
        if line.strip():
            archives.post_of(line, number)


def folded(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    normalize(text)


def robots(raw: bytes) -> None:
    _robots.rules_of(raw.decode("utf-8-sig", "replace")).permit("/feeds/news.xml?a=b*$")


def _taken(form: str) -> Callable[[bytes], object]:
    return lambda raw: exchange.taken(raw, form, "labels", by="a", at="")


def framed(raw: bytes) -> None:
    _jetstream_wire.texts([raw])
    _jetstream_wire.head_of(raw)


def all_parsers(folder: Path) -> Iterator[tuple[str, Parser]]:
    """Name and parser; their files are kept in the folder."""
    tree = tree_of(ROOT / "listener.example.toml") | {
        "source": [{"kind": "rss", "name": "a", "url": "https://a.example/rss", "every": "5m"}],
        "channel": [{"kind": "webhook", "name": "ops", "url": "https://a.example/", "quiet": "23:00-07:00"}],
        "signal": {"lateness": "30m", "chatter_floor": 0.3, "regions": ["TR", "RS"]},
        "detector": {"kind": "scan", "options": {"threshold": 9.0, "windows": [5, 10]}},
        "web": {"port": 8080, "host": "127.0.0.1"},
    }  # fmt: skip
    yield "config", Parser((tree,), in_file(folder / "listener.toml", config_and_kinds), written=toml)
    said = (
        b'LISTENER_WEB_PORT=9000\nLISTENER_SIGNAL_REGIONS=["TR"]\nLISTENER_PRIVACY_RETENTION=30d\nLISTENER_WEB_TOKEN=x'
    )
    yield "environment", Parser((said,), variables)
    for part, name in (("languages", "sl"), ("services", "sbb"), ("regions", "ME"), ("sources", "ME")):
        seed = tree_of(DATA / part / f"{name}.toml")
        yield f"data: {part}", Parser((seed,), data_file(folder / part, part, f"{name}.toml"), written=toml)
    rows = b"\n".join((DATA / "places" / "ME.tsv").read_bytes().splitlines()[:6])
    yield "data: places", Parser((rows,), data_file(folder / "places", "places", "ME.tsv"))
    for kind, read in (
        ("cues", lambda p: cues(p, skeleton)),
        ("speech", lambda p: speech(p, skeleton)),
        ("weights", weights),
    ):
        seed = tree_of(DATA / "places" / f"{kind}.toml")
        yield f"data: {kind}", Parser((seed,), in_file(folder / f"{kind}.toml", read), written=toml)
    yield (
        "data: baseline",
        Parser((tree_of(DATA / "baseline.toml"),), in_file(folder / "b.toml", baseline.numbers), written=toml),
    )
    (folder / "words" / "interface").mkdir(parents=True)
    spoken = in_file(folder / "words" / "interface" / "en.toml", lambda p: words.load.__wrapped__(p.parent.parent))
    yield "data: interface", Parser((tree_of(DATA / "interface" / "en.toml"),), spoken, written=toml)
    known = tree_of(DATA / "events" / "blocks.toml", 2)
    yield "events", Parser((known,), in_file(folder / "events.toml", lambda p: events.catalogue([p])), written=toml)

    bad_line = (InputError, ValueError)  # `score` and `replay` count the line with what the error says
    yield "lines of posts", Parser(MARKED, lambda raw: archives.post_of(raw, 1), bad_line, written=lines)
    whole = lines(*MARKED)
    packed = (whole, gzip.compress(whole, mtime=0), zstandard.compress(whole))
    yield "archives", Parser(packed, in_file(folder / "archive", archived), bad_line)
    yield "texts", Parser(tuple(str(row["text"]).encode() for row in MARKED), folded)
    yield (
        "labels",
        Parser((json.loads(records.encoded([LABEL])),), lambda raw: records.parsed(raw, "labels"), written=lines),
    )
    yield "labels of csv", Parser((exchange.written([LABEL, LABEL], "csv"),), _taken("csv"))
    tasks = json.loads(exchange.written([LABEL, LABEL], "labelstudio"))
    yield (
        "labels of labelstudio",
        Parser((tasks,), _taken("labelstudio"), written=written),
    )
    line = json.loads(exchange.written([LABEL], "doccano"))
    yield "labels of doccano", Parser((line,), _taken("doccano"), written=lines)
    row = json.loads((DATA / "labelled" / "tr.jsonl").read_bytes().splitlines()[0])
    yield "training posts", Parser((row,), in_file(folder / "tr.jsonl", dataset.load_file), written=lines)
    series = b"time,count,exposure\n2026-11-20T10:00:00Z,4,1\n2026-11-20T13:05:00+03:00,,0.5\n2026-11-20T10:10:00,7,\n"
    yield "counts", Parser((series,), in_file(folder / "counts.csv", counts))

    yield "OPML", Parser((LIST,), _opml.read_opml, (MalformedError,))
    yield (
        "robots.txt",
        Parser((b"User-agent: *\nDisallow: /a*b$\nAllow: /\n\nUser-agent: listener\nDisallow: /x\n",), robots),
    )
    batch = Batch(items=[post("instagram çöktü mü", id="bluesky:1", minutes=1)], cursors={"bluesky": "7"})
    (parcel,) = lane.packed(batch, AT, 10**6)
    yield "parcels", Parser((parcel,), lambda raw: lane.opened(raw).batch(), (msgspec.MsgspecError, UnicodeError))
    frames = tuple(
        line
        for p in sorted(FEEDS.glob("jetstream/*.jsonl"))
        for line in p.read_bytes().splitlines()
        if line.endswith(b"}")
    )
    yield "frames", Parser(frames, framed, (MalformedError,))
    pages = tuple(p.read_bytes() for p in sorted(FEEDS.glob("rss/*.xml"))[:6])
    yield "charsets", Parser(pages, lambda raw: decode(raw[:4000], "text/xml; charset=" + raw[-9:].decode("latin-1")))
