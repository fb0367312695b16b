"""The command `listener`: parse arguments, call one function, print. Exit codes: 0 success, 1 failure, 2 wrong input."""

from __future__ import annotations

import os
import sys

import typer

from listener import __version__
from listener.cli import (
    archive,
    backtest,
    check,
    compare,
    copies,
    dead,
    forget,
    label,
    live,
    look,
    model,
    promote,
    reference,
    simulate,
    sources,
    top,
    tune,
)
from listener.errors import ListenerError

app = typer.Typer(
    name="listener",
    help="Hears service outages from what people write, in their own language, minutes before the companies say so.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    live,
    top,
    check,
    look,
    forget,
    copies,
    dead,
    sources,
    archive,
    simulate,
    tune,
    backtest,
    label,
    model,
    compare,
    promote,
    reference,
):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"listener {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Hears service outages from what people write, in their own language, minutes before the companies say so."""


def main() -> None:
    """Run a command; a failure is one clear line on stderr and the right exit code."""
    try:
        app()
    except ListenerError as error:
        print(f"listener: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
