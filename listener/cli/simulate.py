"""The command `listener simulate`: an archive of invented posts whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listener.cli import show, wiring
from listener.cli.archive import instant
from listener.cli.wiring import ConfigOption
from listener.errors import InputError


def register(app: typer.Typer) -> None:
    app.command()(simulate)


def simulate(
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed and options give the same bytes.")] = 1,
    days: Annotated[int, typer.Option("--days", min=2, max=365, help="How many days; the first has no outage.")] = 14,
    service: Annotated[str, typer.Option("--service", help="What the posts are about.")] = "instagram",
    region: Annotated[list[str] | None, typer.Option("--region", help="Where they come from; may be repeated.")] = None,
    start: Annotated[
        str, typer.Option("--start", metavar="T", help="The first instant (RFC 3339).")
    ] = "2026-03-02T00:00:00Z",
    rate: Annotated[
        float,
        typer.Option("--rate", min=0.0, help="Authors an hour who complain in quiet times, in the loudest region."),
    ] = 6.0,
    outages: Annotated[int, typer.Option("--outages", min=0, help="Outages and blocks of many shapes.")] = 6,
    dropouts: Annotated[
        int, typer.Option("--dropouts", min=0, help="Times a source falls silent for hours and catches up.")
    ] = 4,
    events: Annotated[
        Path | None, typer.Option("--events", metavar="FILE", help="Write what really happened, as in data/events.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make an archive of invented posts, one JSON object a line, for `listener replay` and `listener backtest`.

    Everything in it is synthetic and named so: outages, blocks, sources that drop out and catch up, news the day after.
    """
    from listener.simulation.posts import Plan, archive, truth_toml

    _, catalog = wiring.read(config)
    plan = Plan.of(
        catalog,
        service,
        region or ["TR", "BG", "GR", "RS"],
        seed=seed,
        start_at=instant(start),
        days=days,
        rate=rate,
        outages=outages,
        dropouts=dropouts,
    )
    rows, truths = archive(plan)
    if events is not None:
        try:
            events.write_text(
                truth_toml(truths, f"synthetic: listener simulate --seed {seed} --days {days}"), encoding="utf-8"
            )
        except OSError as error:
            raise InputError(f"{events}: {error.strerror}") from error
    for row in rows:
        print(show.line(row))
