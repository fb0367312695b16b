"""The command `listener sources`: how every source is doing; and, as its subcommands, lists of feeds in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from listener.cli import health, show, subscriptions, wiring
from listener.cli.configured import Configured, configured, selection
from listener.cli.look import StoreOption
from listener.cli.wiring import ConfigOption


class Listing(StrEnum):
    table = "table"
    jsonl = "jsonl"
    csv = "csv"


RegionFilter = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="CODE", help="Only of this region; 'none' = of no region. May be repeated."),
]
KindFilter = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help="Only of this kind. May be repeated.")
]
ListingOption = Annotated[Listing, typer.Option("--format", help="How they are printed.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True)
    group.callback()(sources)
    subscriptions.register(group)
    app.add_typer(group, name="sources")


def sources(
    ctx: typer.Context,
    region: RegionFilter = None,
    kind: KindFilter = None,
    failing: Annotated[bool, typer.Option("--failing", help="Only those that fail.")] = False,
    format: ListingOption = Listing.table,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Show how each source is doing, those that fail first.

    heard: how long ago it answered. newest: how old its newest post is.
    lag: how old its last post was when it came. next: when it is asked again.
    1h/usual: posts in the last hour, and what this hour of the day usually
    brings (mean of a week). share: its part of what its region usually gives.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_stray_options(ctx)
        ctx.obj = config
        return
    read, catalog = wiring.read(config)
    wanted = selection(region, kind, catalog)
    now = datetime.now(UTC)
    every = configured(read, catalog)
    names = {one.name for one in every if wanted(one)}
    lines, wanted_labels = _found(every, store or read.store_url(), now)
    found = [line for line in lines if line.health.source in names]
    labels = {name: why for name, why in wanted_labels.items() if name in names}
    shown = [line for line in found if line.state is health.State.FAILS] if failing else found
    if format is Listing.table:
        _print_table(found, shown, now, labels, failing=failing)
    else:
        made = [{**health.record(line), "labels_wanted": labels.get(line.health.source)} for line in shown]
        show.records(made, as_csv=format is Listing.csv)


def _refuse_stray_options(ctx: typer.Context) -> None:
    for name in ctx.params:
        given = ctx.get_parameter_source(name)
        if name != "config" and given is not None and given.name == "COMMANDLINE":
            raise typer.BadParameter(f"--{name} is for the table; '{ctx.invoked_subcommand}' has options of its own")


def _found(every: Sequence[Configured], url: str, now: datetime) -> tuple[list[health.Line], dict[str, str]]:
    """A line for each source, with what the store says of it, and why labels of its posts are wanted, if they are."""
    from listener.drifting import said
    from listener.store import open_store
    from listener.web.standing import labels_wanted

    with closing(open_store(url, read_only=True)) as opened:
        stored = {known.source: known for known in opened.health()}
        volumes = health.volumes(opened, every, now)
        wanted: dict[str, str] = {}
        for one in labels_wanted(opened):
            wanted[one.source] = f"{wanted[one.source]}; {said(one)}" if one.source in wanted else said(one)
    return health.lines(every, stored, volumes, now), wanted


def _print_table(
    found: Sequence[health.Line],
    shown: Sequence[health.Line],
    now: datetime,
    labels: Mapping[str, str],
    *,
    failing: bool,
) -> None:
    console = show.console()
    console.print(health.summary(found, now))
    for name, why in labels.items():
        console.print(f"[yellow]labels wanted[/] for {show.safe(name)}: {show.safe(why)}")
    empty = "none fails" if failing else "no source is configured for that"
    console.print(health.table(shown, now, console.width, empty=empty))
    if console.is_terminal and len(shown) > console.height - 3:  # the first line has gone out of sight
        console.print(health.summary(found, now))
