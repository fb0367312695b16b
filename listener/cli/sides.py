"""`listener replay` with two models or two configs: both sides at once, each in a process, then what differs."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listener.cli import show, wiring
from listener.errors import InputError

if TYPE_CHECKING:
    from listener.comparison.matching import Change, Side, Told
    from listener.replay import Archive


@dataclass(frozen=True)
class Posts:
    """What is replayed: files, or what the store at `url` kept between two instants."""

    files: tuple[Path, ...] = ()
    url: str = ""
    since: datetime | None = None
    now: datetime | None = None
    strict: bool = False

    def opened(self) -> tuple[Archive, list[str]]:
        """The archive, and lines that say what is left out."""
        from listener.comparison.kept import Kept
        from listener.replay import Archive
        from listener.store import open_store

        bad: list[str] = []

        def on_bad(message: str) -> None:
            if self.strict:
                raise InputError(message)
            bad.append(message)

        if not self.url:
            archive = Archive(self.files, on_bad)
            skipped = [f"{len(bad)} malformed lines skipped"] if bad else []
            return archive, [*bad[:10], *skipped]
        if self.since is None or self.now is None:
            raise InputError("--from-store: from when on, and until when?")
        with closing(open_store(self.url, read_only=True)) as store:
            kept = Kept(store, self.since, self.now)
        notes = ["from a store: only posts it judged and kept; those its gate dropped can't be replayed"]
        if kept.erased:
            notes.append(f"{kept.erased} posts are left out: their texts are erased")
        return kept, notes


def posts_of(files: Sequence[Path], from_store: str | None, since: str, now: datetime, *, strict: bool) -> Posts:
    """What the command line asks for. Raises `InputError` when it is both or neither, or `since` is no time."""
    from listener.instants import moment

    if bool(files) == bool(from_store):
        raise InputError("give either FILE... or --from-store URL")
    if not from_store:
        return Posts(tuple(files), strict=strict)
    return Posts(url=from_store, since=moment(since, now), now=now)


@dataclass(frozen=True)
class Plan:
    """One side: what it is called and under what it runs."""

    name: str
    config: Path | None
    model: Path | None
    posts: Posts
    until: datetime | None


def plans(
    models: Sequence[Path], configs: Sequence[Path], posts: Posts, until: datetime | None
) -> tuple[Plan, Plan] | None:
    """Both sides, or None when nothing was given twice. Raises `InputError` for more than two of anything."""
    if max(len(models), len(configs)) < 2:
        return None
    for name, given in (("--model", models), ("--config", configs)):
        if len(given) > 2:
            raise InputError(f"{name}: two at most can be compared, {len(given)} were given")

    def side(n: int) -> Plan:
        config, model = (of[min(n, len(of) - 1)] if of else None for of in (configs, models))
        name = " with ".join(str(of[n]) for of in (models, configs) if len(of) == 2)
        return Plan(name, config, model, posts, until)

    return side(0), side(1)


def run(plan: Plan) -> tuple[Side, datetime | None, list[str]]:
    """One side from beginning to end: what it told, when its archive ended, and what was left out."""
    from listener.comparison.matching import Side, told
    from listener.recorder import Recorder
    from listener.replay import replay
    from listener.store import open_store

    archive, notes = plan.posts.opened()
    read, catalog = wiring.read(plan.config)
    pipeline = wiring.pipeline(read, catalog, plan.model)
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store, shown=False)
        incidents = told(replay(archive, recorder, store, until=plan.until))
        end_at = recorder.watched()
    return (
        Side(plan.name, pipeline.classifier.digest, read.digest, incidents),
        end_at,
        [f"{len(archive)} posts", *notes],
    )


def compare(both: tuple[Plan, Plan], *, as_table: bool, page: Path | None) -> None:
    """Replay both, print what differs, and write the page if one is wanted."""
    from listener.comparison.matching import compared, counts
    from listener.comparison.page import page as page_of
    from listener.comparison.page import words_of

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        (before, end_a, notes), (after, end_b, _) = pool.map(run, both)
    ends = [end for end in (end_a, end_b) if end is not None]
    end_at = max(ends, default=datetime(1970, 1, 1, tzinfo=UTC))
    changes = compared(before.incidents, after.incidents, end_at)
    if page is not None:
        try:
            page.write_text(page_of(before, after, changes, notes, end_at), encoding="utf-8")
        except OSError as error:
            raise InputError(f"--page: {page}: {error.strerror}") from error
    if as_table:
        show.console().print(_table(changes))
    else:
        for change in changes:
            print(show.line(record(change)))
    for name, side in (("A", before), ("B", after)):
        print(f"{name}: {side.name}, model {side.model[:19]}, {len(side.incidents)} incidents", file=sys.stderr)
    for note in notes:
        print(f"listener: {show.printable(note)}", file=sys.stderr)
    told = ", ".join(f"{n} {words_of(word)}" for word, n in counts(changes).items())
    print(f"from A to B: {told or 'no incidents'}", file=sys.stderr)


def record(change: Change) -> dict[str, Any]:
    """The line of an incident under both, as promised to other programs."""
    return {
        "change": change.kind,
        "words": list(change.words),
        "service": change.service,
        "noticed_minutes": change.noticed,
        "lasts_minutes": change.lasts,
        "regions_gained": list(change.gained),
        "regions_lost": list(change.lost),
        "a": _told(change.before),
        "b": _told(change.after),
    }


def _told(one: Told | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "incident": one.id,
        "started_at": show.when(one.started_at),
        "noticed_at": show.when(one.noticed_at) or None,
        "ended_at": show.when(one.ended_at) or None,
        "regions": list(one.regions),
        "cause": one.cause or None,
        "sureness": round(one.sureness, 3),
        "people": one.people,
    }


def _table(changes: Sequence[Change]) -> Any:
    from listener.comparison.page import summary

    rows = (
        (
            change.service,
            summary(change),
            *(
                f"{show.when(one.noticed_at or one.started_at)[5:16]} {'' if one.noticed_at else '? '}{' '.join(one.regions)}"
                if one
                else "–"
                for one in (change.before, change.after)
            ),
        )
        for change in changes
        if change.kind != "same"
    )
    return show.table(
        "", ("service", "under B", "A noticed, regions", "B noticed, regions"), rows, empty="nothing differs"
    )
