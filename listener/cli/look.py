"""Commands that look at a store: signal, incidents. They open it read-only, also while the daemon writes."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption
from listener.errors import InputError
from listener.instants import bin_of, moment
from listener.types import Incident, IncidentState

StoreOption = Annotated[
    str | None, typer.Option("--store", metavar="URL", help="Store to look at; default: the one of the config.")
]


class Output(StrEnum):
    table = "table"
    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"


class Listing(StrEnum):
    table = "table"
    jsonl = "jsonl"


def register(app: typer.Typer) -> None:
    app.command()(signal)
    app.command()(incidents)


def signal(
    service: Annotated[str, typer.Option("--service", metavar="ID", help="Service, such as instagram.")],
    region: Annotated[str, typer.Option("--region", metavar="CODE", help="Region, such as TR.")],
    since: Annotated[
        str, typer.Option("--since", metavar="T", help="From this instant (RFC 3339), or a length of time back.")
    ] = "24h",
    bin: Annotated[str, typer.Option("--bin", metavar="LENGTH", help="Length of a bin.")] = "5m",
    format: Annotated[
        Output, typer.Option("--format", help="table, csv, jsonl, or parquet (to --out).")
    ] = Output.table,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write here instead of stdout.")] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Print the outage-chatter signal of one service in one region."""
    from listener.store import open_store
    from listener.store.noticed import noticed

    read, catalog = wiring.read(config)
    for kind, code, known in (("service", service, catalog.services), ("region", region, catalog.regions)):
        if code not in known and code != "unnamed":
            raise InputError(f"--{kind}: no {kind} {code!r} in the data")
    now = datetime.now(UTC)
    start, length = moment(since, now), bin_of(bin)
    with closing(open_store(store or read.store_url(), read_only=True)) as opened:
        found = opened.binned(length, service=service, region=region, since=start, until=now)
        visible = noticed(opened, now, service=service, region=region)
    records = [
        {
            "time": show.when(point.at),
            "observed": round(point.observed, 3),
            "posts": point.posts,
            "authors": point.authors,
            "recovered": round(point.recovered, 3),
        }
        for point in found
    ]
    title = f"{service} in {region}"
    if visible and visible[0].authors is None:
        title += ": nothing could be noticed now"
    elif visible and visible[0].authors:
        title += f": an outage would be noticed from about {visible[0].authors} people within 15 minutes"
    _write(records, format, out, title)


def _write(records: list[dict[str, Any]], format: Output, out: Path | None, title: str) -> None:
    columns = ("time", "observed", "posts", "authors", "recovered")
    if format is Output.parquet:
        _parquet(records, columns, out)
        return
    if format is Output.table and out is None:
        rows = [[str(record[c]) for c in columns] for record in records]
        show.console().print(show.table(title, columns, rows, empty="no chatter"))
        return
    if format is Output.jsonl:
        text = "".join(show.line(record) + "\n" for record in records)
    else:
        text = show.csv_of(columns, [[record[c] for c in columns] for record in records])
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def _parquet(records: list[dict[str, Any]], columns: tuple[str, ...], out: Path | None) -> None:
    if out is None:
        raise InputError("--format parquet needs --out FILE")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError("parquet needs pyarrow: pip install 'outage-listener[parquet]'") from error
    table = pa.table({c: [record[c] for record in records] for c in columns})
    pq.write_table(table, out)


def incidents(
    since: Annotated[
        str, typer.Option("--since", metavar="T", help="Changed since this instant, or a length of time back.")
    ] = "7d",
    service: Annotated[str, typer.Option("--service", metavar="ID", help="Only this service.")] = "",
    open: Annotated[bool, typer.Option("--open", help="Only those that are not resolved.")] = False,
    format: Annotated[Listing, typer.Option("--format", help="How they are printed.")] = Listing.table,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """List incidents, the newest first."""
    from listener.store import open_store

    read, _ = wiring.read(config)
    now = datetime.now(UTC)
    states = (IncidentState.PENDING, IncidentState.FIRING) if open else ()
    with closing(open_store(store or read.store_url(), read_only=True)) as opened:
        found = opened.incidents(states=states, service=service, since=moment(since, now), limit=1000)
    if format is Listing.jsonl:
        for incident in found:
            print(show.line(incident_record(incident)))
        return
    show.console().print(incident_table(found))


def incident_table(found: list[Incident]) -> Any:
    columns = ("service", "regions", "state", "since", "until", "likely", "authors")
    return show.table("", columns, map(_incident_row, found), empty="no incidents")


def incident_record(incident: Incident) -> dict[str, Any]:
    return {
        "incident": incident.id,
        "service": incident.service,
        "regions": list(incident.regions),
        "state": incident.state,
        "started_at": show.when(incident.started_at),
        "updated_at": show.when(incident.updated_at),
        "resolved_at": show.when(incident.resolved_at) or None,
        "cause": {name: round(p, 3) for name, p in incident.cause.items()},
        "evidence": list(incident.cause_evidence),
        "observed": round(incident.observed, 2),
        "expected": round(incident.expected, 2),
        "authors": incident.authors,
        "posts": incident.posts,
    }


def _incident_row(incident: Incident) -> tuple[str, ...]:
    likely = max(incident.cause, key=incident.cause.__getitem__) if incident.cause else ""
    return (
        incident.service,
        " ".join(incident.regions),
        str(incident.state),
        show.when(incident.started_at),
        show.when(incident.resolved_at),
        f"{likely} {incident.cause[likely]:.0%}" if likely else "",
        str(incident.authors),
    )
