"""Commands that set models side by side and describe them: compare, card."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.show import Column
from listener.cli.wiring import ConfigOption
from listener.errors import InputError


class Report(StrEnum):
    table = "table"
    json = "json"


ReportOption = Annotated[Report, typer.Option("--format", help="How the figures are printed.")]


def register(app: typer.Typer) -> None:
    app.command()(compare)
    app.command()(card)


def compare(
    first: Annotated[Path, typer.Argument(metavar="BEFORE", help="A model's folder.")],
    second: Annotated[Path, typer.Argument(metavar="AFTER", help="The folder of the one that may take its place.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Labelled posts that neither was trained on, a file or folder; default: the training posts both have,"
            " each judged as in cross-validation, unseen.",
        ),
    ] = None,
    posts: Annotated[
        bool, typer.Option("--posts", help="Also list the ids of the posts mended and broken, on stdout.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of intervals and tests.")] = 0,
    format: ReportOption = Report.table,
    config: ConfigOption = None,
) -> None:
    """Two models side by side on posts that neither was trained on: what got better or worse, and whether it is chance.

    A change is called better or worse only when chance makes one as large in less than 5 % of cases, corrected for the number
    of rows. A comparison that would not be fair is refused.

    Example: listener compare models/current models/candidate --data heldout/
    """
    from listener.training.compare import compare as run

    _, catalog = wiring.read(config)
    made = run(first, second, catalog, data=data, seed=seed)
    if format is Report.json:
        print(show.line(made))
        return
    printed(made)
    if posts:
        for name in ("mended", "broken"):
            print(f"{name}: {' '.join(made[name]) or 'none'}")


def printed(made: dict[str, Any]) -> None:
    """The comparison as tables."""
    before, after = (each["folder"] for each in made["models"])
    aside = [
        f"{made[key]:,} {told}"
        for key, told in (
            ("only_in_one", "only one of them has"),
            ("changed_since", "with another text or label"),
            ("trained_on", "that one of them was trained on"),
        )
        if made[key]
    ]
    out = show.console()
    out.print(
        f"{before} (before) and {after} (after) on {made['posts']:,} posts, judged {made['judged']}", soft_wrap=True
    )
    if aside:
        out.print(f"left out: {'; '.join(aside)}", soft_wrap=True)
    columns = (
        Column("part", least=6, is_name=True),
        Column("posts", right=True),
        Column("before", right=True),
        Column("after", right=True),
        Column("F1 change", right=True),
        Column("95 %", drop=2),
        Column("mended", right=True, drop=3),
        Column("broken", right=True, drop=3),
        Column("p", right=True, drop=1),
        Column("verdict"),
    )
    rows = [_row("chatter", made["all"], "posts"), _row("chatter, live", made["live"], "posts")]
    rows += [_row(f"in {code}", found, "posts") for code, found in made["languages"].items()]
    rows += [_row(f"label {label}", found, "true") for label, found in made["labels"].items()]
    out.print(show.fitted(columns, rows, out.width, empty="nothing"))
    _measured(made, before, after)


def _row(name: str, found: dict[str, Any], count: str) -> tuple[str, ...]:
    low, high = found["interval"]
    was, now = found["f1"]
    numbers = (f"{was:.3f}", f"{now:.3f}", f"{found['change']:+.3f}", f"{low:+.3f} to {high:+.3f}")
    counts = f"+{found['mended']}", f"-{found['broken']}", f"{found['p']:.3f}"
    return name, f"{found[count]:,}", *numbers, *counts, found["verdict"]


def _measured(made: dict[str, Any], before: str, after: str) -> None:
    """What each model said of itself when it was made; models trained on different posts were measured on different ones."""
    one, other = made["measured"]
    same = made["models"][0]["data"] == made["models"][1]["data"]
    names = [name for name in one if name in other]
    rows = [(name, f"{one[name]:.4f}", f"{other[name]:.4f}", f"{other[name] - one[name]:+.4f}") for name in names]
    out = show.console()
    title = (
        "measured when they were made, each " + ("on the same posts" if same else "on its own posts") + "; not tested"
    )
    out.print()
    out.print(title)
    columns = (Column("figure", least=12), *(Column(head, right=True) for head in ("before", "after", "change")))
    out.print(show.fitted(columns, rows, out.width, empty=f"{before} and {after} have no figure in common"))


def card(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A model's folder; default: the one of the config.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="FILE",
            help="Write the figures anew between the two marks in this file, keeping its prose.",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print a model's card: what it is for, what it can't do, and its figures, as Markdown.

    Example: listener card models/current --into models/README.md
    """
    from listener.classify.classifier import Classifier
    from listener.training import card as cards

    read, catalog = wiring.read(config)
    classifier = Classifier.load(wiring.model_folder(read, catalog, folder))
    if into is None:
        for line in cards.card(classifier.meta, classifier.digest).splitlines():
            print(show.printable(line))
        return
    try:
        text = into.read_text(encoding="utf-8")
        into.write_text(cards.into(text, classifier.meta, str(into)), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{into}: {error.strerror or error}") from error
    print(f"figures written to {into}", file=sys.stderr)
