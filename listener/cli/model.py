"""Commands that make and measure a model: train, evaluate."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.compare import Report, ReportOption, printed
from listener.cli.show import Column
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import InputError
from listener.types import LABELS

NUMBERS = (
    Column("posts", right=True),
    Column("chatter", right=True),
    Column("precision", right=True, drop=3),
    Column("recall", right=True, drop=2),
    Column("F1", right=True),
    Column("95 %"),
    Column("AP", right=True),
    Column("ECE", right=True),
    Column("ASCII", right=True),
    Column("labels F1", right=True, drop=1),
)


def register(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(evaluate)


def train(
    *,
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
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="DIR", help="Then set it beside this model: what got better or worse."),
    ] = None,
    confusion: Annotated[bool, typer.Option("--confusion", help="Also print which label was taken for which.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also find the words, meanings and findings that help most, by language.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export-joblib", metavar="FILE", help="Also write scikit-learn estimators, for notebooks only."),
    ] = None,
    format: ReportOption = Report.table,
    config: ConfigOption = None,
) -> None:
    """Train the classifier and the language identifier from labelled posts, and say how good they are on posts not seen.

    Near-duplicates, and the posts of one author where the posts say so, stay together in cross-validation. The folder also gets
    a model card (README.md).

    Example: listener train --data data/labelled --compare models/current
    """
    from listener.training import compare as sides
    from listener.training import export as exports
    from listener.training.train import steps
    from listener.training.train import train as run

    _, catalog = wiring.read(config)
    if compare is not None:
        if compare.resolve() == out.resolve():
            raise InputError(f"--compare {compare}: training will replace that model; choose another --out")
        sides.comparable(compare)
    if export is not None and not export.parent.is_dir():
        raise InputError(f"{export}: there is no folder {export.parent}")
    with _bar(steps(thorough=thorough, explained=explain)) as progress:
        scores = run(
            data or catalog.root / "labelled",
            out,
            catalog,
            seed=seed,
            thorough=thorough,
            explained=explain,
            workers=workers,
            progress=progress,
        )
    compared = sides.compare(compare, out, catalog, seed=seed) if compare else None
    if format is Report.json:
        print(show.line(scores | {"compared": compared} if compared else scores))
    else:
        _scores(scores, confusion=confusion)
        if compared:
            printed(compared)
    print(f"model written to {out}, with its card in {out / 'README.md'}", file=sys.stderr)
    if export is not None:
        print(f"estimators written to {export} ({exports.dump(out, export)})", file=sys.stderr)


def _scores(scores: dict[str, Any], *, confusion: bool) -> None:
    out = show.console()
    parts = {**scores["languages"], "all": scores["all"]}
    rows = [_row(name, figures) for name, figures in parts.items()]
    out.print("on posts not trained on")
    out.print(show.fitted((Column("language"), *NUMBERS), rows, out.width, empty="nothing"))
    if "left_out" in scores:
        heads = ("language", "left out: F1", "ascii", "other_alphabet", "one_slip", "unheard_service", "services right")
        others = [_typed(name, figures, scores["left_out"].get(name)) for name, figures in parts.items()]
        title = "F1 without its posts, and F1 lost when typed otherwise"
        out.print(show.table(title, heads, others, empty="nothing"))
    if confusion:
        columns = (Column("label"), *(Column(label, right=True) for label in LABELS))
        taken = [(label, *map(str, row)) for label, row in zip(LABELS, scores["confusion"], strict=True)]
        out.print("posts of each label, by the label they were taken for")
        out.print(show.fitted(columns, taken, out.width, empty="nothing"))
    if "useful" in scores:
        sides = ("for", "against", "findings")
        told = [
            (code, *(", ".join(n for n, _ in each[side]) for side in sides)) for code, each in scores["useful"].items()
        ]
        out.print(
            show.table("what helps most", ("language", "for chatter", "against", "findings"), told, empty="nothing")
        )


def _row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    low, high = figures["f1_interval"]
    return (
        name,
        f"{figures['posts']:,}",
        f"{figures['chatter']:,}",
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
    rows: list[tuple[str, ...]] = [_row("all, live", made["live"]), _row("all, judged", made["judged"])]
    rows += [_row(name, figures) for name, figures in made["languages"].items()]
    out = show.console()
    out.print(show.fitted((Column("which"), *NUMBERS), rows, out.width, empty="nothing"))
    if made["kinds"]:
        kinds = [(name, str(k["posts"]), f"{k['live']:.2%}", f"{k['judged']:.2%}") for name, k in made["kinds"].items()]
        heads = ("kind", "posts", "taken for chatter, live", "if all were judged")
        show.console().print(show.table("", heads, kinds, empty="nothing"))


def _say(step: str) -> None:
    """Steps of long work, on stderr while somebody looks."""
    if sys.stderr.isatty():
        print(f"  {step}", file=sys.stderr)


@contextmanager
def _bar(steps: Mapping[str, float]) -> Iterator[Callable[[str], None]]:
    """A bar on stderr that names the step in hand; nothing at all when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    before = dict(zip(steps, (sum(list(steps.values())[:n]) for n in range(len(steps))), strict=True))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("posts", total=sum(steps.values()))
        yield lambda step: bar.update(task, description=step, completed=before[step])
