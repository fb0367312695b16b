"""The command `listener check`: the config, the data and the model are read, and every source is asked once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.text import Text

from listener import kinds, telemetry
from listener.cli import plain, show, wiring
from listener.cli.configured import Configured, configured, selection
from listener.cli.live import net
from listener.cli.show import Column
from listener.cli.sources import KindFilter, Listing, ListingOption, RegionFilter
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import InputError, ListenerError, SourceError
from listener.sources import Gap, MalformedError, Memo
from listener.types import Post

if TYPE_CHECKING:
    from listener.roster import Source
    from listener.sources._net import Net

AT_ONCE = 16  # sources asked at the same time, never two of one host
LINGER = 3.0  # seconds a stream is listened to once it has begun to speak
MOST = 2_000  # items looked at of one source

COLUMNS = (
    Column("source", least=16, is_name=True),
    Column("kind", least=13, drop=4),
    Column("in", drop=2),
    Column("items", right=True, drop=1),
    Column("newest", right=True, drop=3),
    Column("found", least=23),
    Column("detail", least=30, drop=5),
)


@dataclass(frozen=True)
class Finding:
    """What one source said. `reason` is empty when it answered."""

    source: str
    kind: str
    region: str
    reason: str = ""
    detail: str = ""
    items: int = 0
    malformed: int = 0
    newest_at: datetime | None = None
    seconds: float = 0.0


def register(app: typer.Typer) -> None:
    app.command()(check)


def check(
    region: RegionFilter = None,
    kind: KindFilter = None,
    within: Annotated[str, typer.Option("--within", metavar="LENGTH", help="How long one source may take.")] = "40s",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 unless every source answers.")] = False,
    format: ListingOption = Listing.table,
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Check config, data and model, and ask every source once. Nothing is stored.

    Exit code: 2 when `listener run` would refuse the config; 1 when no source
    answers (with --strict: when one does not); else 0, since some of many
    public sources are always down.
    """
    telemetry.configure("error")
    limit = _length(within)
    now = datetime.now(UTC)
    read, catalog = wiring.read(config)
    wanted = selection(region, kind, catalog)
    pipeline = wiring.pipeline(read, catalog, model)
    every = configured(read, catalog)
    wiring.channels(read, catalog)
    print(
        f"{len(catalog.languages)} languages, {len(catalog.services)} services, {len(catalog.places)} places"
        f" · model {pipeline.classifier.digest[:19]}",
        file=sys.stderr,
    )
    chosen = [one for one in every if wanted(one)]
    able = [one.source for one in chosen if one.source is not None]
    with show.progress("asking", len(able)) as progress:
        asked = asyncio.run(ask_all(able, net(read), limit, progress))
    findings = _sorted([*asked, *(_refused(one) for one in chosen if one.source is None)])
    _print(findings, format, now)
    well = sum(1 for finding in asked if not finding.reason)
    print(f"{well} of {len(findings)} sources answered", file=sys.stderr)
    problems = [one.problem for one in every if one.problem is not None]
    for problem in problems[1:]:
        print(f"listener: {problem}", file=sys.stderr)
    if problems:
        raise problems[0]
    if (asked and not well) or (strict and well < len(findings)):
        missing = show.counted(len(findings) - well, "source")
        raise ListenerError(f"{missing} did not answer" if well else "no source answered")


def _length(text: str) -> float:
    try:
        return kinds.duration(text).total_seconds()
    except ValueError as error:
        raise InputError(f"--within: {error}") from error


def _refused(one: Configured) -> Finding:
    return Finding(one.name, one.kind, one.region, "terms" if one.needs_terms else "config", str(one.problem))


async def ask_all(sources: Sequence[Source], edge: Net, limit: float, progress: Callable[[int], None]) -> list[Finding]:
    """One source of a host at a time, and no more than `AT_ONCE`: those that wait for their host take nobody's place."""
    hosts: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(source: Source) -> Finding:
        async with hosts[_host(source)], places:
            return await _ask(source, edge, limit)

    async with edge:
        tasks = {asyncio.create_task(one(source)): source for source in sources}
        waiting = set(tasks)
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            progress(len(tasks) - len(waiting))
    return [_outcome(task, source) for task, source in tasks.items()]


def _outcome(task: asyncio.Task[Finding], source: Source) -> Finding:
    """A kind that breaks is one line of the table: the others are to be seen too."""
    error = task.exception()
    if error is None:
        return task.result()
    if not isinstance(error, Exception):
        raise error
    return Finding(source.name, source.kind, source.region, "crashed", f"{type(error).__name__}: {error}")


def _host(source: Source) -> str:
    """What two sources may have in common: their host, where their options tell it."""
    address = getattr(source.options, "url", "") or getattr(source.options, "server", "")
    return urlsplit(str(address)).netloc or source.name


async def _ask(source: Source, edge: Net, limit: float) -> Finding:
    """Until it says that there is no more for now, or, of a stream, for a few seconds."""
    finding = Finding(source.name, source.kind, source.region)
    if getattr(source.options, "path", "") == "-":
        return replace(finding, reason="stdin", detail="what is read here would be lost to `listener run`")
    if getattr(source.options, "budget", 0):
        return replace(
            finding, reason="paid", detail="every answer is paid for, and only `listener run` keeps the account"
        )
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(limit) as clock, contextlib.aclosing(_posts(source, edge)) as posts:
            async for raw, _ in posts:
                if raw is None or finding.items + finding.malformed >= MOST:
                    break
                if not finding.items + finding.malformed:
                    clock.reschedule(min(began + limit, loop.time() + LINGER))
                finding = _with(finding, source, raw, edge.now())
    except SourceError as error:
        finding = replace(finding, reason=error.reason, detail=str(error))
    except TimeoutError:
        if not finding.items:
            said = kinds.show_duration(timedelta(seconds=limit))
            finding = replace(finding, reason="timeout", detail=f"nothing came within {said}")
    if finding.malformed and not finding.items and not finding.reason:
        finding = replace(finding, reason="malformed")
    return replace(finding, seconds=loop.time() - began)


def _posts(source: Source, edge: Net) -> AsyncGenerator[tuple[Any, str | None], None]:
    made: AsyncGenerator[tuple[Any, str | None], None] = source.module.posts(source.options, None, edge)
    return made


def _with(finding: Finding, source: Source, raw: Any, now: datetime) -> Finding:
    if isinstance(raw, Gap | Memo):
        return finding
    try:
        post = source.module.parse(raw, now)
    except MalformedError as error:
        return replace(finding, malformed=finding.malformed + 1, detail=str(error))
    if not isinstance(post, Post):
        return replace(finding, items=finding.items + 1)
    newest = max(post.event_at, finding.newest_at or post.event_at)
    return replace(finding, items=finding.items + 1, newest_at=newest)


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    """What can't start, what failed, what answered; in each the likes together."""
    refused = ("config", "terms")
    return sorted(findings, key=lambda f: (not f.reason, f.reason not in refused, plain.words(f.reason), f.source))


def _print(findings: Sequence[Finding], format: Listing, now: datetime) -> None:
    if format is Listing.table:
        console = show.console()
        console.print(_summary(findings, console.width))
        rows = [_row(finding, now) for finding in findings]
        console.print(show.fitted(COLUMNS, rows, console.width, empty="no source is configured for that"))
        return
    show.records([_record(finding) for finding in findings], as_csv=format is Listing.csv)


def _summary(findings: Sequence[Finding], width: int) -> Text:
    """How many answered, and why most of the others did not, in one line."""
    reasons = Counter(plain.words(finding.reason) for finding in findings if finding.reason)
    text = Text(f"{show.counted(len(findings), 'source')}: ").append(
        f"{len(findings) - reasons.total()} ok", style="bold green"
    )
    if not reasons:
        return text
    text.append(" · ").append(f"{reasons.total()} not", style="bold red")
    for i, (reason, count) in enumerate(reasons.most_common()):
        more = f"{', ' if i else ': '}{count} {reason}"
        if text.cell_len + len(more) + len(", …") > width:
            return text.append(", …" if i else "")
        text.append(more)
    return text


def _row(finding: Finding, now: datetime) -> tuple[str | Text, ...]:
    said, style = plain.words(finding.reason), "red"
    if not finding.reason:
        said, style = ("ok" if finding.items else "ok, nothing new"), "green"
        said += f", {finding.malformed} malformed" if finding.malformed else ""
    return (
        finding.source,
        finding.kind,
        finding.region or "–",
        str(finding.items or ""),
        show.short(now - finding.newest_at) if finding.newest_at else "",
        Text(said, style=style),
        finding.detail.rpartition(": ")[2] if finding.reason else "",
    )


def _record(finding: Finding) -> dict[str, Any]:
    return {
        "source": finding.source,
        "kind": finding.kind,
        "region": finding.region or None,
        "ok": not finding.reason,
        "reason": finding.reason or None,
        "said": plain.words(finding.reason) or None,
        "detail": finding.detail or None,
        "items": finding.items,
        "malformed": finding.malformed,
        "newest_at": show.when(finding.newest_at) or None,
        "seconds": round(finding.seconds, 2),
    }
