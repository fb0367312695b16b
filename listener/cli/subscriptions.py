"""Commands that take feeds from other programs and hand them on: sources import, sources export."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from listener.catalog import Catalog, SourceData
from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption
from listener.config import Config, Table
from listener.errors import ConfigError, InputError
from listener.types import UNKNOWN_REGION

if TYPE_CHECKING:
    from listener.sources._opml import Bad, Feed

NAMED = 10  # bad entries told one by one; the rest are counted
LONGEST_NAME = 40
KEPT = (
    "fallback_encoding",
    "zone",
    "every",
)  # a feed's options that travel with it; month names come with the language


class ListFormat(StrEnum):
    opml = "opml"


def register(group: typer.Typer) -> None:
    group.command("import")(import_)
    group.command("export")(export)


@dataclass(frozen=True)
class Taken:
    """The tables made of a list, and what became of the rest."""

    tables: list[dict[str, str]]
    twice: int  # in the list itself
    known: int  # in the config or among the defaults
    bad: list[Bad]


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.opml|-", help="A subscription list; - reads stdin.")],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FILE.toml", help="Append to this config instead of printing; made if missing."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Turn a subscription list (OPML) into source tables of a config.

    A folder or category that is a region (RS, Serbia) becomes the region,
    another one the topic. Feeds listened to already are skipped.
    """
    from listener.sources import MalformedError
    from listener.sources._opml import read_opml

    config = config or ctx.obj
    before = b"" if into is None or not into.exists() else _bytes(str(into))
    read, catalog = wiring.read(into if before else config)
    data = _bytes(file)
    try:
        found = read_opml(data)
    except MalformedError as error:
        raise InputError(f"{file}: {error}") from error
    taken = take(found, read, catalog)
    for bad in taken.bad[:NAMED]:
        print(
            f"listener: {file}: {show.printable(bad.title)[:60] or 'an entry without a name'}: {bad.why}",
            file=sys.stderr,
        )
    if not found or len(taken.bad) == len(found):
        raise InputError(f"{file}: no feed in it")
    text = "\n".join(_toml(table) for table in taken.tables)
    if into is None:
        print(text, end="")
    elif text:
        _append(into, before, text)
    print(_told(taken, str(into) if into else ""), file=sys.stderr)


def take(found: Sequence[Feed | Bad], read: Config, catalog: Catalog) -> Taken:
    """Tables for what is new. Names are those of the list, made unique; a name of a default source would replace it."""
    from listener.sources._opml import Bad, same_address

    tables_now: list[Table | SourceData] = [*read.sources, *(catalog.sources if read.default_sources else ())]
    known = {same_address(str(t.options.get("url", ""))) for t in tables_now if t.kind == "rss"}
    names = {t.name for t in tables_now}
    regions = _regions(catalog)
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    tables, bad = [], []
    for feed in found:
        if isinstance(feed, Bad):
            bad.append(feed)
            continue
        address = same_address(feed.url)
        if address in seen or address in known:
            counts["twice" if address in seen else "known"] += 1
            continue
        table = _table(feed, _unique(feed.title, names), regions, catalog)
        try:
            wiring.source(table["name"], "rss", _options(table), "source", catalog)
        except ConfigError as error:
            bad.append(Bad(feed.title, str(error).removeprefix("source: ")))
            continue
        seen.add(address)
        names.add(table["name"])
        tables.append(table)
    return Taken(tables, counts["twice"], counts["known"], bad)


def _options(table: Mapping[str, str]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in ("kind", "name", "topic")}


def _table(feed: Feed, name: str, regions: Mapping[str, str], catalog: Catalog) -> dict[str, str]:
    from listener.sources._opml import placed
    from listener.sources._text import primary_languages

    region, topic = placed(feed, regions)
    language = next(iter(primary_languages([feed.language])), "")
    table = {
        "kind": "rss",
        "name": name,
        "url": feed.url,
        "region": region,
        "language": language if language in catalog.languages else "",
        "topic": topic,
        **{key: feed.options.get(key, "") for key in KEPT},
    }
    return {key: value for key, value in table.items() if value}


def _regions(catalog: Catalog) -> dict[str, str]:
    """Codes and names of the regions, in lower case."""
    made: dict[str, str] = {}
    for region in catalog.regions.values():
        if region.code != UNKNOWN_REGION:
            made |= {word.casefold(): region.code for word in (region.code, region.name, region.english)}
    return made


def _unique(title: str, taken: Collection[str]) -> str:
    """A name for metrics and tables: letters and digits of any script, joined by hyphens.

    >>> _unique("N1 – Srbija (vesti)", {"n1-srbija-vesti"})
    'n1-srbija-vesti-2'
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", title.casefold()) if not unicodedata.combining(c))
    base = re.sub(r"[\W_]+", "-", plain)[:LONGEST_NAME].strip("-") or "feed"
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name


def _toml(table: Mapping[str, str]) -> str:
    """A `[[source]]` table. A TOML string is a JSON string in which DEL is escaped too, and there is none here."""
    rows = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in table.items()]
    return "\n".join(["[[source]]", *rows, ""])


def _append(path: Path, before: bytes, text: str) -> None:
    """Behind what is there; if the disk is full in the middle of it, the file stays as it was."""
    lead = "" if not before else "\n" if before.endswith(b"\n") else "\n\n"
    try:
        with path.open("ab") as handle:
            try:
                handle.write((lead + text).encode())
                handle.flush()
            except OSError:
                os.truncate(path, len(before))
                raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _told(taken: Taken, into: str) -> str:
    parts = [f"{show.counted(len(taken.tables), 'feed')} {f'appended to {into}' if into else 'imported'}"]
    parts += [f"{taken.known} skipped: listened to already"] if taken.known else []
    parts += [f"{taken.twice} skipped: twice in the list"] if taken.twice else []
    reasons = Counter(bad.why for bad in taken.bad)
    if reasons:
        parts.append(f"{len(taken.bad)} bad: " + ", ".join(f"{why} ({n})" for why, n in reasons.most_common()))
    return " · ".join(parts)


def _bytes(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error


def export(
    ctx: typer.Context,
    format: Annotated[ListFormat, typer.Option("--format", help="How the list is written.")] = ListFormat.opml,
    config: ConfigOption = None,
) -> None:
    """Print every enabled feed (kind rss) as a subscription list that feed readers, and `sources import`, take."""
    from listener.sources._opml import write_opml

    read, catalog = wiring.read(config or ctx.obj)
    feeds = list(_feeds(read, catalog))
    print(write_opml("listener", feeds, datetime.now(UTC)), end="")
    print(show.counted(len(feeds), "feed"), file=sys.stderr)


def _feeds(read: Config, catalog: Catalog) -> Iterator[Feed]:
    from listener.sources._opml import Feed

    own = {table.name for table in read.sources}
    defaults = [d for d in catalog.sources if d.name not in own] if read.default_sources else []
    every: list[Table | SourceData] = [*read.sources, *defaults]
    for table in every:
        if table.kind != "rss" or not table.enabled:
            continue
        said = {key: str(value) for key, value in table.options.items()}
        topic = getattr(table, "topic", "") or said.get("topic", "")
        yield Feed(
            title=table.name,
            url=said.get("url", ""),
            language=said.get("language", ""),
            folders=(said["region"],) if said.get("region") else (),
            categories=(topic,) if topic else (),
            options={key: said[key] for key in KEPT if key in said},
        )
