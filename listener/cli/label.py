"""The command `listener label`: posts most worth labelling, one at a time, in the terminal or answered by a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listener.cli import label_files, wiring
from listener.cli.asking import ask, told
from listener.cli.look import StoreOption
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import InputError
from listener.instants import moment
from listener.types import UNNAMED, Post

if TYPE_CHECKING:
    from listener.labelling.candidates import Pick
    from listener.labelling.rounds import Round
    from listener.pipeline import Pipeline

NEWEST = 20_000  # mentions of a store that are looked through


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True)
    group.callback()(label)
    label_files.register(group)
    app.add_typer(group, name="label")


def label(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Choose from these posts (as for `listener score`), not from a store."
        ),
    ] = None,
    store: StoreOption = None,
    since: Annotated[
        str,
        typer.Option("--since", metavar="T", help="Of a store: posts since this instant, or a length of time back."),
    ] = "7d",
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Answers are added here, JSON Lines.")] = Path(
        "labels.jsonl"
    ),
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Posts in a round.")] = 30,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who answers; kept with each answer.")] = "analyst",
    language: Annotated[
        list[str] | None,
        typer.Option("--language", metavar="CODE", help="Only posts in this language. May be repeated."),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", metavar="NAME", help="How posts are chosen: margin, disagreement, entropy or random."
        ),
    ] = "margin",
    audit: Annotated[
        float, typer.Option("--audit", min=0, max=1, help="Share drawn by lot, so that estimates stay unbiased.")
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="The same posts, model and seed give the same choice.")] = 0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin a new round, even where one was left unfinished.")
    ] = False,
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Label the posts that teach the classifier most, one at a time.

    Keys 1 to 9 are the nine labels, then a letter says the symptom of chatter;
    s skips, u takes the last answer back, v corrects the services, n adds a note,
    h explains, q ends. The model's guess is told after the answer.
    Each answer is on the disk at once, and the same command goes on where a
    round was left. With a pipe an answer is a line: the label, and if need be
    the symptom, services=A,B and # a note; or skip, undo, quit.

    Texts are kept with the answers, because labelling needs them: handles and
    links are masked, authors are left out, ids out of a store become digests.

    Example: listener label --from posts.jsonl --count 30 --by ana
    """
    if ctx.invoked_subcommand is not None:
        return
    read, catalog = wiring.read(config)
    wish = Wish(count, tuple(language or ()), strategy, audit, seed, keep_ids=file is not None)
    round_ = _begun(out, by, wish, anew=anew, services={*catalog.services, UNNAMED})
    if not round_.picks:
        posts = _posts(file) if file else _kept(store or read.store_url(), since)
        done = {given.id for given in round_.file.labels() if given.by == by}
        round_ = replace(round_, picks=_chosen(lambda: wiring.pipeline(read, catalog, model), posts, done, wish))
        round_.save()
    try:
        ask(round_)
    finally:
        round_.save()
        print(told(round_), file=sys.stderr)


@dataclass(frozen=True)
class Wish:
    """Which posts, and how many."""

    count: int
    languages: tuple[str, ...]
    strategy: str
    audit: float
    seed: int
    keep_ids: bool


def _begun(out: Path, by: str, wish: Wish, *, anew: bool, services: Collection[str]) -> Round:
    """The round that was left, else one without posts. Raises `InputError` for options that can't be."""
    from listener.labelling.records import BY_LENGTH, LabelFile
    from listener.labelling.rounds import Round, resumed
    from listener.labelling.select import STRATEGIES

    if wish.strategy not in STRATEGIES:
        raise InputError(f"--strategy: no strategy {wish.strategy!r} (have: {', '.join(STRATEGIES)})")
    if not by.strip() or len(by) > BY_LENGTH or not by.isprintable():
        raise InputError(f"--by: a name of 1 to {BY_LENGTH} printable characters")
    answers = LabelFile(out)
    if not anew and (left := resumed(answers, by, services)) is not None and left.current is not None:
        print(f"listener: going on with a round: {left.done} of {len(left.picks)} posts done", file=sys.stderr)
        return left
    return Round(by, (), answers, frozenset(services))


def _chosen(load: Callable[[], Pipeline], posts: Sequence[Post], done: Collection[str], wish: Wish) -> Sequence[Pick]:
    from listener.labelling import candidates

    if not posts:
        raise InputError("no posts to choose from; name a file with --from, or look further back with --since")
    found = candidates.candidates(load(), posts, keep_ids=wish.keep_ids)
    wanted = [one for one in found if not wish.languages or one.language in wish.languages]
    if not wanted:
        raise InputError(f"none of {len(posts)} posts is a person's, has a text and is in the language asked for")
    made = candidates.picks(wanted, wish.count, done=done, seed=wish.seed, strategy=wish.strategy, audit=wish.audit)
    if not made:
        raise InputError(f"all {len(wanted)} posts have an answer already")
    print(f"listener: {len(made)} of {len(wanted)} posts chosen ({len(posts)} read)", file=sys.stderr)
    return made


def _kept(url: str, since: str) -> list[Post]:
    """Posts of a store whose texts are still there, the newest first."""
    from listener.store import open_store

    now = datetime.now(UTC)
    with closing(open_store(url, read_only=True)) as opened:
        found = opened.mentions(since=moment(since, now), until=now, limit=NEWEST)
    return [mention.post for mention in found if mention.post.text]


def _posts(path: Path) -> list[Post]:
    """Posts of a file; malformed lines are told and skipped."""
    from listener.sources.jsonl import parse_line

    now = datetime.now(UTC)
    made, bad = [], 0
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                made.append(parse_line(line, number, now, path.name))
            except ValueError as error:
                bad += 1
                print(f"listener: {path}: {error}", file=sys.stderr)
    if bad:
        print(f"listener: {bad} malformed lines skipped", file=sys.stderr)
    return made
