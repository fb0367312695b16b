"""Commands that make and measure a model: train, evaluate."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption, ModelOption


class Report(StrEnum):
    table = "table"
    json = "json"


ReportOption = Annotated[Report, typer.Option("--format", help="How the figures are printed.")]


def register(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(evaluate)


def train(
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Labelled posts, a file a language; default: data/labelled."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the model goes.")] = Path("models/candidate"),
    seed: Annotated[int, typer.Option("--seed", help="The same data and seed give the same model.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Fits at once; default: the number of cores.")] = (
        os.cpu_count() or 1
    ),
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough", help="Also measure posts typed otherwise, and each language with its posts left out."
        ),
    ] = False,
    format: ReportOption = Report.table,
    config: ConfigOption = None,
) -> None:
    """Train the classifier and the language identifier from labelled posts, and say how good they are on posts not seen."""
    from listener.training.scores import VIEWS
    from listener.training.train import train as run

    _, catalog = wiring.read(config)
    scores = run(
        data or catalog.root / "labelled", out, catalog, seed=seed, thorough=thorough, workers=workers, progress=_say
    )
    if format is Report.json:
        print(show.line(scores))
        return
    columns = ("language", "posts", "chatter", "precision", "recall", "F1", "95 %", "AP", "ECE", "ASCII", "labels F1")
    parts = {**scores["languages"], "all": scores["all"]}
    rows = [_row(name, figures) for name, figures in parts.items()]
    show.console().print(show.table("on posts not trained on", columns, rows, empty="nothing"))
    if thorough:
        heads = ("language", "left out: F1", *VIEWS, "services right")
        others = [_typed(name, figures, scores["left_out"].get(name)) for name, figures in parts.items()]
        title = "F1 without its posts, and F1 lost when typed otherwise"
        show.console().print(show.table(title, heads, others, empty="nothing"))
    print(f"model written to {out}", file=sys.stderr)


def _row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    low, high = figures["f1_interval"]
    return (
        name,
        str(figures["posts"]),
        str(figures["chatter"]),
        *(f"{figures[key]:.3f}" for key in ("precision", "recall", "f1")),
        f"{low:.2f} to {high:.2f}",
        *(f"{figures[key]:.3f}" for key in ("ap", "ece")),
        f"{figures['f1_drop_ascii']:+.3f}" if "f1_drop_ascii" in figures else "",
        f"{figures['label_f1']:.3f}" if "label_f1" in figures else "",
    )


def _typed(name: str, figures: dict[str, Any], left_out: dict[str, Any] | None) -> tuple[str, ...]:

    drops = (
        f"{figures[f'f1_drop_{view}']:+.3f}" for view in ("ascii", "other_alphabet", "one_slip", "unheard_service")
    )
    return name, f"{left_out['f1']:.3f}" if left_out else "", *drops, f"{figures['services']:.3f}"


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Posts with `label` (one of nine) or `chatter` (0 or 1), one JSON object a line."
        ),
    ],
    format: ReportOption = Report.table,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the confidence intervals.")] = 0,
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Measure the model on labelled posts: as the daemon would judge them (behind its gate), and if all were judged."""
    from listener.training.evaluate import evaluate as run

    read, catalog = wiring.read(config)
    made = run(file, wiring.model_folder(read, catalog, model), catalog, seed=seed, progress=_say)
    if format is Report.json:
        print(show.line(made))
        return
    columns = ("posts", "number", "chatter", "precision", "recall", "F1", "95 %", "AP", "ECE", "", "")
    rows: list[tuple[str, ...]] = [_row("all, live", made["live"]), _row("all, judged", made["judged"])]
    rows += [_row(name, figures) for name, figures in made["languages"].items()]
    show.console().print(show.table("", columns, rows, empty="nothing"))
    if made["kinds"]:
        kinds = [(name, str(k["posts"]), f"{k['live']:.2%}", f"{k['judged']:.2%}") for name, k in made["kinds"].items()]
        heads = ("kind", "posts", "taken for chatter, live", "if all were judged")
        show.console().print(show.table("", heads, kinds, empty="nothing"))


def _say(step: str) -> None:
    """Steps of long work, on stderr while somebody looks."""
    if sys.stderr.isatty():
        print(f"  {step}", file=sys.stderr)
