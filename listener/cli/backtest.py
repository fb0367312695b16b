"""The command `listener backtest`: known events over an archive, against simpler rules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.archive import Format, instant
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import InputError

if TYPE_CHECKING:
    from listener.backtest.events import Event, Flag, Span
    from listener.backtest.scoring import Figure, Figures, Outcome
    from listener.pipeline import Pipeline
    from listener.replay import Archive
    from listener.types import Post, Transition

EVENTS = ".toml"
COLUMNS = (
    ("precision", "precision", 100, "%"),
    ("recall", "recall", 100, "%"),
    ("f05", "F0.5", 100, ""),
    ("median_delay", "median min", 1, ""),
    ("p90_delay", "p90 min", 1, ""),
    ("false_per_region_week", "false/region-week", 1, ""),
    ("flagged", "flagged", 100, "%"),
)


def register(app: typer.Typer) -> None:
    app.command()(backtest)


def backtest(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARCHIVE...", help="Archived posts, one JSON object a line. More event files may follow."
        ),
    ],
    events: Annotated[
        list[Path], typer.Option("--events", metavar="FILE", help="What is known to have happened, as in data/events.")
    ],
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="T", help="Count nothing before this instant; what came earlier is learnt from."
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines/--no-baselines", help="Also run what it is compared to; takes three times as long."),
    ] = True,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the intervals and of the random alarms.")] = 1,
    format: Annotated[Format, typer.Option("--format", help="How figures are printed.")] = Format.table,
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Replay known events over an archive: what would have been noticed, how soon, and what for nothing.

    Every rule runs on the same posts, minute by minute, with its own defaults: the configured detector; keywords (a service
    and a word of trouble) with the ewma detector; the mean-gap rule of the Global Flood Monitor (gfm) on classified posts;
    and as many random alarms as the first. Figures come with intervals of 95 % (bootstrap over events, incidents and days).
    """
    from listener.backtest.events import catalogue
    from listener.replay import Archive

    read, catalog = wiring.read(config)
    known = catalogue([*events, *(path for path in files if path.suffix == EVENTS)])
    for event in known:
        if event.service not in catalog.services:
            raise InputError(f"event {event.id}: no service {event.service!r} in data/services")
    pipeline = wiring.pipeline(read, catalog, model)
    posts = [path for path in files if path.suffix != EVENTS]
    bad: list[str] = []
    archive = Archive(posts, bad.append)
    if bad:
        print(f"listener: {len(bad)} malformed lines skipped, the first: {bad[0]}", file=sys.stderr)
    if not len(archive):
        raise InputError("the archive holds no posts")
    regions = [region for region in read.signal.regions or catalog.regions if region != "ZZ"]
    runs = _runs(archive, posts, pipeline, regions, baselines=baselines)
    _print(list(_judged(runs, known, instant(since) if since else None, seed)), known, format)


Run = tuple[str, "list[Flag]", "Span"]
Result = tuple[str, "Figures", "list[Outcome]"]


def _runs(
    archive: Archive, files: Sequence[Path], pipeline: Pipeline, regions: Sequence[str], *, baselines: bool
) -> Iterator[Run]:
    from listener import kinds

    def fires(name: str, archive: Archive, pipeline: Pipeline) -> Run:
        return (name, *_fired(name, archive, pipeline, len(regions)))

    yield fires("listener", archive, pipeline)
    if not baselines:
        return
    from listener.backtest.rivals import by_keywords
    from listener.text.normalize import normalize

    def other(kind: str) -> Pipeline:
        module = kinds.load("detectors", kind, "backtest")
        return replace(pipeline, detector=module, detector_options=module.Options())

    def judge(post: Post) -> Post:
        return by_keywords(post, pipeline.matcher.find(normalize(post.text).skeleton))

    yield fires("keywords + ewma", _rejudged(files, judge), other("ewma"))
    yield fires("gfm", archive, other("gfm"))


def _rejudged(files: Sequence[Path], judge: Callable[[Post], Post]) -> Archive:
    from listener.replay import Archive

    class Rejudged(Archive):
        def posts(self, skip: int = 0) -> Iterator[Post]:
            return map(judge, super().posts(skip))

    return Rejudged(files, lambda message: None)


def _fired(name: str, archive: Archive, pipeline: Pipeline, regions: int) -> tuple[list[Flag], Span]:
    from listener.backtest.events import Span, flags
    from listener.recorder import Recorder
    from listener.replay import replay
    from listener.store import open_store

    store = open_store("sqlite:///:memory:")
    try:
        recorder = Recorder(pipeline, store, shown=False)
        with show.progress(name, len(archive)) as progress:
            transitions: list[Transition] = list(replay(archive, recorder, store, progress=progress))
        start, end = archive.first_minute(), recorder.watched()
    finally:
        store.close()
    assert start is not None
    assert end is not None
    return flags(transitions, end), Span(start, end, regions)


def _judged(runs: Iterator[Run], known: Sequence[Event], since: Any, seed: int) -> Iterator[Result]:
    from listener.backtest.rivals import by_chance
    from listener.backtest.scoring import evaluate

    for name, found, span in runs:
        counted = replace(span, start_at=max(span.start_at, since)) if since else span
        if counted.end_at <= counted.start_at:
            raise InputError("--since: the archive ends before")
        kept = [flag for flag in found if flag.end_at > counted.start_at]
        figures, outcomes = evaluate(known, kept, counted, seed)
        if not figures.events:
            raise InputError("none of the events begins within the archive")
        yield name, figures, outcomes
        if name == "listener":
            yield "random, as many", by_chance(known, kept, counted, seed), []


def _print(results: Sequence[Result], known: Sequence[Event], format: Format) -> None:
    from listener.backtest.scoring import record

    synthetic = any(outcome.event.synthetic for outcome in results[0][2])
    if format is Format.jsonl:
        for name, figures, _ in results:
            print(show.line({"method": name, "synthetic": synthetic, **record(figures)}))
        for name, _, outcomes in results:
            for outcome in outcomes:
                print(show.line({"method": name, **_outcome(outcome)}))
        return
    events, incidents = results[0][1].events, results[0][1].incidents
    title = f"{events} of {len(known)} events begin within the archive; {incidents} incidents fired"
    rows = [
        (name, *(_cell(getattr(figures, key), times, unit) for key, _, times, unit in COLUMNS))
        for name, figures, _ in results
    ]
    console = show.console()
    if synthetic:
        console.print("Synthetic events: what follows says how the signal is read, not how people write.")
    console.print(show.table(title, ("", *(shown for _, shown, _, _ in COLUMNS)), rows, empty=""))
    told = ((o.event.id, " ".join(o.regions), show.when(o.told_at), _minutes(o.delay)) for o in results[0][2])
    console.print(show.table("", ("event", "regions", "told at", "after min"), told, empty="no events"))


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "event": outcome.event.id,
        "service": outcome.event.service,
        "cause": outcome.event.cause,
        "told_at": show.when(outcome.told_at) or None,
        "delay_minutes": None if outcome.delay is None else round(outcome.delay, 1),
        "regions": list(outcome.regions),
    }


def _minutes(delay: float | None) -> str:
    return "missed" if delay is None else f"{delay:.1f}"


def _cell(figure: Figure, times: float, unit: str) -> str:
    """`87 % (71-95)`, or nothing where there is nothing to measure."""
    if figure.value is None or figure.low is None or figure.high is None:
        return ""
    digits = 0 if times == 100 else 1 if figure.value >= 1 else 2
    value, low, high = (f"{times * x:.{digits}f}" for x in (figure.value, figure.low, figure.high))
    return f"{value}{' ' + unit if unit else ''} ({low}-{high})"
