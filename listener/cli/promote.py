"""Commands that change the model in force: promote, rollback."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listener import catalog as catalogs
from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption

if TYPE_CHECKING:
    from listener.promotion import Record

ToOption = Annotated[
    Path | None,
    typer.Option("--to", metavar="DIR", help="The folder in force; default: the one the daemon uses (models/current)."),
]


def register(app: typer.Typer) -> None:
    app.command()(promote)
    app.command()(rollback)


def promote(
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="A folder made by `listener train`.")],
    to: ToOption = None,
    floors: Annotated[
        Path | None,
        typer.Option("--floors", metavar="FILE", help="How good it must be; default: floors.json beside the folder."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also when figures fall below the floors; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why; kept in the history.")] = "",
    config: ConfigOption = None,
) -> None:
    """Put a trained model in force, if its files are whole and its figures reach the floors.

    The model before is kept beside it: `listener rollback` brings it back.
    A running daemon takes the model over by itself, within seconds.
    Who, when, why and the digests go into history.jsonl and to stdout.

    Example: listener promote models/candidate
    """
    from listener import promotion

    place = _place(to, config)
    record = promotion.promote(
        candidate,
        place,
        floors=floors or _floors(place),
        at=datetime.now(UTC).replace(microsecond=0),
        who=_who(),
        force=force,
        reason=reason,
        step=_say,
    )
    _tell(record, place)


def rollback(
    digest: Annotated[
        str, typer.Argument(metavar="[DIGEST]", help="The beginning of a kept model's digest; default: the one before.")
    ] = "",
    to: ToOption = None,
    reason: Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why; kept in the history.")] = "",
    config: ConfigOption = None,
) -> None:
    """Put the model back that was in force before; done twice it goes forth again.

    The last five models are kept. A running daemon takes it over by itself.

    Example: listener rollback --reason "misses Greek reports"
    """
    from listener import promotion

    place = _place(to, config)
    now = datetime.now(UTC).replace(microsecond=0)
    _tell(promotion.rollback(place, wanted=digest, at=now, who=_who(), reason=reason, step=_say), place)


def _place(to: Path | None, config: Path | None) -> Path:
    place = to or wiring.model_folder(*wiring.read(config))
    return Path(os.path.abspath(place))  # noqa: PTH100 - a link stays a link


def _floors(place: Path) -> Path:
    """Beside the folder in force, else those that came with the program."""
    beside = place.with_name("floors.json")
    return beside if beside.is_file() else catalogs.default_root().parent / "models" / "floors.json"


def _who() -> str:
    """The user of the system, as far as it knows a name."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def _tell(record: Record, place: Path) -> None:
    from listener.floors import in_short
    from listener.promotion import told

    print(show.line(told(record)))
    if record.below:
        print("\n  ".join(["below the floors:", *in_short(record.below)]), file=sys.stderr)
    before = f", before it {record.previous[:19]}" if record.previous else ""
    print(f"{place}: {record.model[:19]} is in force{before}", file=sys.stderr)


def _say(step: str) -> None:
    if sys.stderr.isatty():
        print(f"  {step}", file=sys.stderr)
