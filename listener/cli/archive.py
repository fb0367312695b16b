"""Commands that read posts or counts from files: score, replay, detect."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import InputError
from listener.records import score_record
from listener.types import Mention, Post, Transition

if TYPE_CHECKING:
    from listener.pipeline import Pipeline
    from listener.replay import Archive

BATCH = 512


class Format(StrEnum):
    jsonl = "jsonl"
    table = "table"


def register(app: typer.Typer) -> None:
    app.command()(score)
    app.command()(replay)
    app.command()(detect)


def score(
    file: Annotated[
        str, typer.Argument(metavar="[FILE|-]", help="Posts, one JSON object a line; - reads stdin.")
    ] = "-",
    explain: Annotated[bool, typer.Option("--explain", help="Add the features that moved the score most.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first malformed line.")] = False,
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Score posts: one line of JSON per input line, in the same order."""
    read, catalog = wiring.read(config)
    pipeline = wiring.pipeline(read, catalog, model)
    bad = 0
    for record in _scored(_lines(file), pipeline, explain=explain):
        if "error" in record:
            bad += 1
            if strict:
                raise InputError(f"{file}: line {record['line']}: {record['error']}")
        print(show.line(record))
    if bad:
        print(f"listener: {bad} malformed lines, each answered with its error", file=sys.stderr)


def _lines(file: str) -> Iterator[bytes]:
    if file == "-":
        yield from sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as handle:
            yield from handle
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error


def _scored(lines: Iterable[bytes], pipeline: Pipeline, *, explain: bool) -> Iterator[dict[str, Any]]:
    from listener.sources.jsonl import parse_line

    now = datetime.now(UTC)
    batch: list[Post | dict[str, Any]] = []
    for number, raw in enumerate(lines, 1):
        try:
            batch.append(parse_line(raw, number, now))
        except ValueError as error:
            batch.append({"line": number, "error": str(error)})
        if len(batch) >= BATCH:
            yield from _answers(batch, pipeline, explain=explain)
            batch = []
    yield from _answers(batch, pipeline, explain=explain)


def _answers(batch: list[Post | dict[str, Any]], pipeline: Pipeline, *, explain: bool) -> Iterator[dict[str, Any]]:
    posts = [item for item in batch if isinstance(item, Post)]
    answers = iter(pipeline.understand(posts))
    for item in batch:
        if isinstance(item, Post):
            answer = next(answers)
            record = score_record(item, answer, pipeline.classifier.digest)
            if explain and isinstance(answer, Mention):
                record["features"] = [[name, round(weight, 4)] for name, weight in pipeline.explain_score(item)]
            yield record
        else:
            yield item


def replay(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE...", help="Archived posts: JSON Lines, plain or packed with gzip or zstd, or Parquet."
        ),
    ] = None,
    *,
    from_store: Annotated[
        str | None,
        typer.Option(
            "--from-store",
            metavar="URL",
            help="Instead of files: posts a daemon judged and still holds the text of. Erased ones are left out.",
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option("--since", metavar="T", help="With --from-store: from this instant, or a length of time back."),
    ] = "7d",
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help="Stop before this instant (RFC 3339).")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="URL", help="Keep everything in this store; default: in memory. Resumes there."
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="With two models or configs: write a page of it here.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="How transitions are printed.")] = Format.jsonl,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes that read and judge; default: one a core."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first malformed line.")] = False,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", metavar="FILE", help="Config file. Given twice: what differs under the second."),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option("--model", metavar="DIR", help="Model folder. Given twice: what differs under the second."),
    ] = None,
) -> None:
    """Replay archived posts through the live code path in event time: one line per change of an incident.

    With two models or configs: which incidents would appear, vanish, come earlier or later, last longer, or be placed or
    explained otherwise under the second; one line an incident.

    Example: listener replay posts.jsonl --model models/current --model models/candidate --format table --page changes.html
    """
    from listener.cli import sides

    end = instant(until) if until else None
    posts = sides.posts_of(files or [], from_store, since, datetime.now(UTC), strict=strict)
    both = sides.plans(model or [], config or [], posts, end)
    if both is not None:
        if store is not None:
            raise InputError("--store: two replays can't share a store; leave it out to compare")
        sides.compare(both, as_table=format is Format.table, page=page)
        return
    if page is not None:
        raise InputError("--page: give --model or --config twice, there is nothing to compare")
    archive, notes = posts.opened()
    for note in notes:
        print(f"listener: {note}", file=sys.stderr)
    one_config, one_model = (given[0] if given else None for given in (config, model))
    _replay_one(archive, store, one_config, one_model, end, format, jobs)


def _replay_one(
    archive: Archive,
    store: str | None,
    config: Path | None,
    model: Path | None,
    end: datetime | None,
    format: Format,
    jobs: int | None,
) -> None:
    from listener.backfill import crew_of
    from listener.recorder import Recorder
    from listener.replay import replay as run
    from listener.store import open_store

    read, catalog = wiring.read(config)
    opened = open_store(store or "sqlite:///:memory:")
    try:
        recorder = Recorder(wiring.pipeline(read, catalog, model), opened, shown=False)
        folder = wiring.model_folder(read, catalog, model)
        with (
            crew_of(jobs, len(archive), catalog.root, folder, read) as crew,
            show.progress("replaying", len(archive)) as progress,
        ):
            transitions = run(archive, recorder, opened, until=end, progress=progress, crew=crew)
            if format is Format.table:
                show.console().print(_table(list(transitions)))
            else:
                for transition in transitions:
                    print(show.line(transition_record(transition)), flush=True)
    finally:
        opened.close()


def transition_record(transition: Transition) -> dict[str, Any]:
    """The line of a transition, as promised to other programs."""
    incident = transition.incident
    return {
        "at": show.when(transition.at),
        "incident": incident.id,
        "service": incident.service,
        "regions": list(incident.regions),
        "from": transition.from_state,
        "to": transition.to_state,
        "started_at": show.when(incident.started_at),
        "cause": {name: round(p, 3) for name, p in incident.cause.items()},
        "observed": round(incident.observed, 2),
        "expected": round(incident.expected, 2),
        "authors": incident.authors,
        "posts": incident.posts,
    }


def _table(transitions: list[Transition]) -> Any:
    rows = (
        (
            show.when(t.at),
            t.incident.service,
            " ".join(t.incident.regions),
            f"{t.from_state or 'new'} → {t.to_state}",
            show.when(t.incident.started_at),
            max(t.incident.cause, key=t.incident.cause.__getitem__) if t.incident.cause else "",
            f"{t.incident.observed:.1f} / {t.incident.expected:.1f}",
            str(t.incident.authors),
        )
        for t in transitions
    )
    columns = ("at", "service", "regions", "change", "since", "likely", "observed/expected", "authors")
    return show.table("", columns, rows, empty="nothing happened")


def detect(
    counts: Annotated[str, typer.Argument(metavar="COUNTS.csv|-", help="CSV with the columns time,count[,exposure].")],
    bin: Annotated[
        str | None,
        typer.Option(
            "--bin", metavar="LENGTH", help="Length of a bin, such as 5m; default: as the first two rows say."
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Judge one series of counts, strictly online: each row is answered before the next is read.

    An empty count means that nothing could be heard in that bin. Output: time,observed,expected,upperbound,score,alarm.
    """
    from listener import installed, kinds

    read, _ = wiring.read(config)
    try:
        length = kinds.duration(bin) if bin else None
    except ValueError as error:
        raise InputError(f"--bin: {error}") from error
    online = installed.online(read, length)
    print("time,observed,expected,upperbound,score,alarm", flush=True)
    for number, (time, count, exposure) in _counts(counts):
        try:
            said = online.step(instant(time), count, exposure)
        except InputError as error:
            raise InputError(f"{counts}:{number}: {error}") from error
        observed = "" if said.observed is None else f"{said.observed:g}"
        print(
            f"{time},{observed},{said.expected:.4f},{said.upperbound:.4f},{said.score:.3f},{int(said.alarm)}",
            flush=True,
        )


def _counts(file: str) -> Iterator[tuple[int, tuple[str, float | None, float]]]:
    if file == "-":
        yield from _rows(file, sys.stdin)
        return
    try:
        with Path(file).open(encoding="utf-8", newline="") as handle:
            yield from _rows(file, handle)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: {error}") from error


def _rows(file: str, handle: IO[str]) -> Iterator[tuple[int, tuple[str, float | None, float]]]:
    """Row by row without reading ahead, as a pipe needs it."""
    columns: list[str] = []
    for number, text in enumerate(iter(handle.readline, ""), 1):
        cells = [cell.strip() for cell in text.strip().split(",")]
        if not text.strip():
            continue
        if not columns:
            columns = cells
            if columns[:2] != ["time", "count"] or columns[2:] not in ([], ["exposure"]):
                raise InputError(f"{file}:1: expected the header time,count[,exposure], got {text.strip()[:80]!r}")
            continue
        if len(cells) != len(columns):
            raise InputError(f"{file}:{number}: expected {len(columns)} columns, got {len(cells)}")
        try:
            count = float(cells[1]) if cells[1] else None
            exposure = float(cells[2]) if len(cells) > 2 and cells[2] else 1.0
        except ValueError as error:
            raise InputError(f"{file}:{number}: {error}") from error
        if count is not None and not 0 <= count < 1e12:
            raise InputError(f"{file}:{number}: count {cells[1]} is not a number of posts")
        yield number, (cells[0], count, 0.0 if count is None else exposure)


def instant(text: str) -> datetime:
    """An RFC 3339 instant; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the first hours of the year 1 lie in the year 0 elsewhere
        raise InputError(f"{text!r:.100} is not an instant; write 2026-11-21T14:03:00Z") from error
