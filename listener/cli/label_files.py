"""The subcommands of `listener label` that work on files of answers: agreement, export, import."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption
from listener.errors import InputError

if TYPE_CHECKING:
    from listener.labelling.agreement import Agreement, Kappa
    from listener.labelling.records import Label


class Foreign(StrEnum):
    jsonl = "jsonl"
    csv = "csv"
    labelstudio = "labelstudio"
    doccano = "doccano"


class Target(StrEnum):
    training = "training"
    jsonl = "jsonl"
    csv = "csv"
    labelstudio = "labelstudio"
    doccano = "doccano"


class Report(StrEnum):
    table = "table"
    jsonl = "jsonl"


def register(group: typer.Typer) -> None:
    group.command("agreement")(agreement)
    group.command("export")(export)
    group.command("import")(import_)


def agreement(
    first: Annotated[Path, typer.Argument(metavar="A.jsonl", help="Answers of one labeller.")],
    second: Annotated[Path, typer.Argument(metavar="B.jsonl", help="Answers of another one to the same posts.")],
    format: Annotated[
        Report, typer.Option("--format", help="A table, or the disagreements as JSON Lines.")
    ] = Report.table,
) -> None:
    """Compare two labellers: Cohen's kappa with its interval, by label, and every post on which they differ.

    Example: listener label agreement ana.jsonl ben.jsonl
    """
    from listener.labelling.agreement import agreement as compared
    from listener.labelling.records import load

    try:
        found = compared(load(first), load(second))
    except InputError as error:
        raise InputError(f"{first}, {second}: {error}") from error
    if format is Report.jsonl:
        for a, b in found.differ:
            print(show.line({"id": a.id, "text": a.text, "first": _said(a), "second": _said(b)}))
        print(
            f"listener: {_words(found.labels)} on nine labels; chatter or not: {_words(found.question)}",
            file=sys.stderr,
        )
        return
    _print(found, first.stem, second.stem)


def _print(found: Agreement, first: str, second: str) -> None:
    console = show.console()
    rows = [("nine labels", "", "", *_figures(found.labels)), ("chatter or not", "", "", *_figures(found.question))]
    rows += [(name, str(a), str(b), *_figures(one)) for name, a, b, one in found.by_label]
    columns = ("", show.safe(first), show.safe(second), "same", "kappa", "95 %")
    console.print(show.table(f"{found.labels.posts} posts answered by both", columns, rows, empty="nothing"))
    if found.symptoms is not None:
        console.print(f"the same symptom where both say chatter: {found.symptoms:.0%}")
    console.print(f"\n[bold]{show.counted(len(found.differ), 'disagreement')}[/bold]")
    for a, b in found.differ:
        noted = " · ".join(show.safe(one.note) for one in (a, b) if one.note)
        console.print(
            f"{a.label} / {b.label}  [dim]{show.safe(a.id)}[/dim]  {show.safe(a.text)}{noted and f'  [dim]({noted})[/dim]'}"
        )


def _figures(one: Kappa) -> tuple[str, str, str]:
    value = "" if one.value is None else f"{one.value:.2f}"
    interval = "" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
    return f"{one.same:.0%}", value, interval


def _words(one: Kappa) -> str:
    same, value, interval = _figures(one)
    return f"{same} the same, kappa {value} ({interval})" if value else f"{same} the same"


def _said(label: Label) -> dict[str, Any]:
    return {
        "label": label.label,
        "symptom": label.symptom,
        "services": list(label.services),
        "by": label.by,
        "note": label.note,
    }


def export(
    file: Annotated[Path, typer.Argument(metavar="LABELS.jsonl", help="Answers, as `listener label` keeps them.")],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT]", help="Where they go: a file (default: stdout), or a folder with --to training."
        ),
    ] = None,
    to: Annotated[
        Target, typer.Option("--to", help="Format; training = <language>.jsonl for `listener train --data`.")
    ] = (Target.training),
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="With --to training: of posts whose language is unknown.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Hand answers on: to training, to another program, to a colleague.

    Texts, labellers' names and notes are part of it; authors of posts never are.

    Example: listener label export --to training labels.jsonl data/mine
    """
    from listener.labelling import exchange, trainable
    from listener.labelling.records import load

    labels = load(file)
    if to is not Target.training:
        raw = exchange.written(labels, to.value)
        if out is None:
            sys.stdout.buffer.write(raw)
            return
        try:
            out.write_bytes(raw)
        except OSError as error:
            raise InputError(f"{out}: {error.strerror or error}") from error
        print(f"listener: {show.counted(len(labels), 'answer')} written to {out}", file=sys.stderr)
        return
    if out is None:
        raise InputError("--to training needs a folder: listener label export --to training LABELS.jsonl FOLDER")
    _, catalog = wiring.read(config)
    done = trainable.merge(labels, out, catalog, language)
    added = ", ".join(f"{code} {posts}" for code, posts in sorted(done.added.items())) or "none"
    print(f"listener: posts added to {out}: {added}", file=sys.stderr)
    for reason, posts in done.left_out.items():
        print(f"listener: left out: {show.counted(posts, 'post')}: {reason}", file=sys.stderr)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labelled posts out of another program.")],
    format: Annotated[Foreign, typer.Option("--from", help="What wrote the file.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Answers are added here, JSON Lines.")] = Path(
        "labels.jsonl"
    ),
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Who answered, where the file does not say.")
    ] = "analyst",
) -> None:
    """Take answers over from JSON Lines, CSV, Label Studio or doccano. Those known already are not added again.

    Example: listener label import --from labelstudio project.json --out labels.jsonl
    """
    from listener.labelling import exchange
    from listener.labelling.records import LabelFile

    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error
    labels, without = exchange.taken(raw, format.value, str(file), by=by, at=show.when(datetime.now(UTC)))
    kept = LabelFile(out)
    known = {(label.id, label.by, label.label, label.symptom, label.services, label.note) for label in kept.labels()}
    fresh = [one for one in labels if (one.id, one.by, one.label, one.symptom, one.services, one.note) not in known]
    for one in fresh:
        kept.append(one)
    print(
        f"listener: {show.counted(len(fresh), 'answer')} added to {out}, {len(labels) - len(fresh)} known already,"
        f" {without} without an answer",
        file=sys.stderr,
    )
