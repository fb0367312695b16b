"""Commands that make and measure a model: train, evaluate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption, ModelOption


def register(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(evaluate)


def train(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Labelled posts; default: data/labelled.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the model goes.")] = Path("models/candidate"),
    seed: Annotated[int, typer.Option("--seed", help="Seed; the same data and seed give the same model.")] = 0,
    config: ConfigOption = None,
) -> None:
    """Train the classifier and the language identifier from labelled posts, and say how good they are."""
    print("not wired yet", data, out, seed, config, file=sys.stderr)


def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labelled posts, one JSON object a line.")],
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Measure the model on a file of labelled posts."""
    print("not wired yet", file, config, model, show, wiring, file=sys.stderr)
