"""`listener dead-letters`: what the workers could not work on, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import InputError, ListenerError
from listener.types import Post

if TYPE_CHECKING:
    from listener.bus import Bus, DeadLetter
    from listener.config import Bus as BusSettings
    from listener.recorder import Recorder


class Listing(StrEnum):
    table = "table"
    jsonl = "jsonl"


def register(app: typer.Typer) -> None:
    app.command("dead-letters")(dead_letters)


@dataclass(frozen=True)
class _Wanted:
    """What the command line says."""

    numbers: frozenset[int]
    replay: bool
    remove: bool


def dead_letters(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="NUMBER", help="Only these; default: all, when only listed.")
    ] = None,
    *,
    replay: Annotated[
        bool, typer.Option("--replay", help="Understand and store them now, and remove those for which that works.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove them for good.")] = False,
    every: Annotated[bool, typer.Option("--all", help="With --replay or --remove: all there are.")] = False,
    bus: Annotated[str | None, typer.Option("--bus", metavar="URL", help="Bus; default: the config's.")] = None,
    store: Annotated[str | None, typer.Option("--store", metavar="URL", help="Store; default: the config's.")] = None,
    format: Annotated[Listing, typer.Option("--format", help="table, or jsonl with the posts.")] = Listing.table,
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """List posts and batches that workers could not work on, with the reason; or take them up again.

    Deletions that upstream asked for since are not known to a dead letter. Such as: listener dead-letters --replay 3 4
    """
    read, catalog = wiring.read(config)
    settings = replace(read.bus, url=bus or read.bus.url)
    if not settings.url or settings.url.startswith("local:"):
        raise InputError("dead letters lie on a bus: --bus nats://HOST:4222, or url in [bus]")
    wanted = _Wanted(frozenset(numbers or ()), replay=replay, remove=remove)
    if replay and remove:
        raise InputError("--replay removes what it stored; give one of --replay and --remove")
    if (replay or remove) and every == bool(numbers):
        raise InputError("say which: their numbers, or --all")
    url = store or read.store_url()
    if replay and url.startswith("sqlite:"):
        raise InputError(
            "a SQLite store is one process's alone; roles share one in PostgreSQL: --store postgresql://..."
        )

    @contextmanager
    def recorder() -> Iterator[Recorder]:
        from listener.recorder import Recorder
        from listener.store import open_store

        with closing(open_store(url, exclusive=False)) as opened:
            yield Recorder(wiring.pipeline(read, catalog, model), opened)

    found = asyncio.run(_worked(settings, wanted, recorder))
    if not replay and not remove:
        _show(found, format)


async def _worked(
    settings: BusSettings, wanted: _Wanted, recorder: Callable[[], AbstractContextManager[Recorder]]
) -> list[DeadLetter]:
    """The letters that are meant, after what is to be done with them was done."""
    from listener.bus import open_bus

    bus = await open_bus(settings)
    try:
        letters = await bus.dead_letters()
        if missing := wanted.numbers - {letter.number for letter in letters}:
            raise InputError(f"no dead letter {min(missing)}")
        found = [letter for letter in letters if not wanted.numbers or letter.number in wanted.numbers]
        if wanted.remove:
            for letter in found:
                await bus.remove(letter)
            print(f"{show.counted(len(found), 'dead letter')} removed")
        elif wanted.replay and found:
            with recorder() as one:
                await _replay(bus, found, one)
        return found
    finally:
        await bus.close()


async def _replay(bus: Bus, letters: Sequence[DeadLetter], recorder: Recorder) -> None:
    from listener.roles.dead import BreaksError, take_up

    left = 0
    for letter in letters:
        try:
            taken = take_up(letter, recorder)
        except BreaksError as error:
            left += 1
            print(f"{letter.number}: still breaks: {show.printable(str(error))}")
            continue
        await bus.remove(letter)
        dropped = ", ".join(f"{count} dropped ({reason})" for reason, count in sorted(taken.dropped.items()))
        print(f"{letter.number}: {', '.join(filter(None, (f'{len(taken.mentions)} stored', dropped)))}")
    if left:
        raise ListenerError(f"{show.counted(left, 'dead letter')} left as {'it was' if left == 1 else 'they were'}")


def _show(letters: Sequence[DeadLetter], format: Listing) -> None:
    if format is Listing.jsonl:
        for letter in letters:
            print(show.line(_record(letter)))
        return
    rows = [
        (*(str(row[name]) for name in ("number", "at")), _said(row), row["reason"]) for row in map(_record, letters)
    ]
    show.console().print(show.table("dead letters", ("number", "at", "holds", "reason"), rows, empty="no dead letters"))


def _record(letter: DeadLetter) -> dict[str, Any]:
    from listener.roles.dead import items_of

    items = items_of(letter)
    return {
        "number": letter.number,
        "at": show.when(letter.buried_at),
        "id": letter.id,
        "reason": letter.reason,
        "bytes": len(letter.body),
        "posts": None if items is None else [item for item in items if isinstance(item, Post)],
    }


def _said(row: dict[str, Any]) -> str:
    posts = row["posts"]
    if posts is None:
        return f"{row['bytes']:,} bytes nobody can read"
    return str(posts[0].id) if len(posts) == 1 else show.counted(len(posts), "post")
