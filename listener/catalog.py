"""What the world is like: `data/` read and checked into a `Catalog`. Forms stay as written; `text` compiles them."""

from __future__ import annotations

import csv
import hashlib
import re
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from listener.errors import ConfigError
from listener.kinds import convert, rows, toml

CONCEPTS = frozenset(
    [
        "trouble",
        "network",
        "tech",
        "question",
        "others",
        "now",
        "recovery",
        "denial",
        "own",
        "past",
        "hypothetical",
        "maintenance",
        "block",
        "relay",
        "news",
        "person_block",
        "reach",
        "money",
        "mood",
        "sport",
        "power",
        "transport",
        "politics",
        "negation",
        "swear",
        "plea",
        "feature",
    ]
)
SERVICE_KINDS = frozenset(
    [
        "social",
        "messenger",
        "video",
        "music",
        "game",
        "store",
        "mail",
        "work",
        "ai",
        "cloud",
        "isp",
        "telecom",
        "bank",
        "payments",
        "egov",
        "shop",
        "delivery",
        "travel",
        "education",
        "media",
        "forum",
    ]
)
_PLACE_COLUMNS = {"place", "kind", "population", "forms", "except", "source"}
_NUMBER = re.compile(r"[0-9]{0,12}")
PLACE_KINDS = frozenset({"country", "city", "town", "district", "region", "island", "demonym"})


@dataclass(frozen=True, slots=True)
class Phrase:
    """Ways to say one thing. A form is words; `*` ends a stem, `~` stands for up to two words in between."""

    concept: str
    forms: tuple[str, ...]
    symptom: str = ""
    excepted: tuple[str, ...] = ()
    needs: str = ""  # "service": counts only beside a service, network or tech word
    matches: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageData:
    code: str
    name: str
    english: str
    scripts: tuple[str, ...]
    source: str
    function_words: tuple[str, ...]
    frequent: tuple[str, ...]
    months: tuple[tuple[str, ...], ...]
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """An online service. `ambiguous` names count only beside a trouble phrase; `group` fails together."""

    id: str
    name: str
    kind: str
    source: str
    aliases: tuple[str, ...]
    regions: tuple[str, ...] = ()
    group: str = ""
    hosts: tuple[str, ...] = ()
    status: str = ""
    status_kind: str = ""
    appstore: int = 0
    ambiguous: tuple[str, ...] = ()
    fuzzy: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    """A region and how people post from it: shares of languages, of scripts, of local hours."""

    code: str
    name: str
    english: str
    source: str
    languages: dict[str, float]
    scripts: dict[str, float]
    hours: tuple[float, ...]
    zone: str = "UTC"
    population: int = 0
    online_share: float = 0.0
    neighbours: tuple[str, ...] = ()
    volume: float = 1.0
    demonym: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    place: str
    region: str
    kind: str
    population: int
    forms: tuple[str, ...]
    excepted: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class SourceData:
    """A default source: its kind's options stay a table, checked by the kind itself."""

    name: str
    kind: str
    options: dict[str, Any]
    enabled: bool = True
    topic: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything in `data/` but the labelled posts. `digest` names its content (sha256 over all files read)."""

    languages: Mapping[str, LanguageData]
    services: Mapping[str, Service]
    regions: Mapping[str, Region]
    places: tuple[Place, ...]
    sources: tuple[SourceData, ...]
    digest: str
    root: Path = field(default=Path())


def default_root() -> Path:
    """`data/` beside the package when run from a checkout, else where the wheel put it."""
    beside = Path(__file__).resolve().parent.parent / "data"
    return beside if beside.is_dir() else Path(sysconfig.get_path("data")) / "share" / "listener" / "data"


def load(root: Path | None = None) -> Catalog:
    """Read and check every file under `root`. Raises `ConfigError` that names the file and the key."""
    root = root or default_root()
    if not (root / "languages").is_dir():
        raise ConfigError(f"{root}: no data here (expected languages/, services/, regions/, places/, sources/)")
    digest = hashlib.sha256()
    languages = {d.code: d for d in (_language(p, t) for p, t in _tables(root / "languages", digest))}
    services = {d.id: d for d in (_service(p, t) for p, t in _tables(root / "services", digest))}
    regions = {d.code: d for d in (_region(p, t) for p, t in _tables(root / "regions", digest))}
    places = tuple(place for path in sorted((root / "places").glob("*.tsv")) for place in _places(path, digest))
    for path in sorted((root / "places").glob("*.toml")):  # read by `regions`; they decide as much as the tables
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    sources = tuple(s for p, t in _tables(root / "sources", digest) for s in _sources(p, t))
    return Catalog(languages, services, regions, places, sources, f"sha256:{digest.hexdigest()}", root)


def _tables(folder: Path, digest: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.toml")):
        raw = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + raw)
        yield path, toml(raw, str(path))


def _language(path: Path, table: dict[str, Any]) -> LanguageData:
    phrases = tuple(
        convert(_renamed(phrase), Phrase, f"{path}: phrases[{i}]")
        for i, phrase in enumerate(rows(table, "phrases", str(path)))
    )
    for i, phrase in enumerate(phrases):
        if phrase.concept not in CONCEPTS:
            raise ConfigError(
                f"{path}: phrases[{i}]: no concept {phrase.concept!r} (have: {', '.join(sorted(CONCEPTS))})"
            )
    made = convert({**table, "phrases": []}, LanguageData, str(path))
    _is_named(path, made.code)
    return LanguageData(**{**{k: getattr(made, k) for k in LanguageData.__slots__}, "phrases": phrases})


def _service(path: Path, table: dict[str, Any]) -> Service:
    made = convert(table, Service, str(path))
    _is_named(path, made.id)
    if made.kind not in SERVICE_KINDS:
        raise ConfigError(f"{path}: no service kind {made.kind!r} (have: {', '.join(sorted(SERVICE_KINDS))})")
    return made


def _region(path: Path, table: dict[str, Any]) -> Region:
    hours = table.get("hours", {})
    if not isinstance(hours, dict):
        raise ConfigError(f"{path}: hours: expected a table")
    made = convert({**table, "hours": hours.get("local", [])}, Region, str(path))
    _is_named(path, made.code)
    if len(made.hours) != 24 or not abs(sum(made.hours) - 1) <= 0.02:
        raise ConfigError(f"{path}: hours.local must be 24 numbers that sum to 1, not {sum(made.hours):.3f}")
    if not abs(sum(made.languages.values()) - 1) <= 0.02:
        raise ConfigError(f"{path}: languages must sum to 1, not {sum(made.languages.values()):.3f}")
    return made


def _places(path: Path, digest: Any) -> Iterator[Place]:
    raw = path.read_bytes()
    digest.update(path.name.encode() + b"\0" + raw)
    try:
        read = list(csv.DictReader(raw.decode().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: {error}") from error
    for number, row in enumerate(read, 2):
        where = f"{path}:{number}"
        if row.keys() != _PLACE_COLUMNS or None in row.values():
            raise ConfigError(f"{where}: expected the columns place kind population forms except source, tab-separated")
        if row["kind"] not in PLACE_KINDS:
            raise ConfigError(f"{where}: no place kind {row['kind']!r} (have: {', '.join(sorted(PLACE_KINDS))})")
        if not _NUMBER.fullmatch(row["population"]):
            raise ConfigError(f"{where}: population {row['population']!r} is not a whole number")
        yield Place(
            place=row["place"],
            region=path.stem,
            kind=row["kind"],
            population=int(row["population"] or 0),
            forms=_split(row["forms"]),
            excepted=_split(row["except"]),
            source=row["source"],
        )


def _sources(path: Path, table: dict[str, Any]) -> Iterator[SourceData]:
    for i, row in enumerate(rows(table, "source", str(path))):
        where = f"{path}: source[{i}]"
        own = {key: row.pop(key) for key in ("name", "kind", "enabled", "topic", "source") if key in row}
        yield convert({**own, "options": row}, SourceData, where)


def _renamed(table: dict[str, Any]) -> dict[str, Any]:
    """`except` is a good word in a data file and a reserved one in Python."""
    return {("excepted" if key == "except" else key): value for key, value in table.items()}


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())


def _is_named(path: Path, name: str) -> None:
    if path.stem != name:
        raise ConfigError(f"{path}: describes {name!r}; a file is named after what it describes")
