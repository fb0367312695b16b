"""`listener top`: what a running listener hears, as a live table in the terminal, over its HTTP API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from listener.cli import show
from listener.cli.show import Column
from listener.errors import InputError, ListenerError

WAIT = 10.0  # seconds an answer may take
SERIES = 15  # lines of each table
FAILING = 8


class Incident(msgspec.Struct):
    service: str
    regions: list[str]
    state: str
    started_at: datetime
    authors: int
    observed: float
    expected: float
    cause: dict[str, float]


class Series(msgspec.Struct):
    service: str
    region: str
    state: str
    chatter_24h: float


class Source(msgspec.Struct):
    source: str
    last_success_at: datetime | None
    errors_in_a_row: int
    reason: str | None
    next_try_at: datetime | None


class Seen(msgspec.Struct):
    """What the API said at one moment."""

    incidents: list[Incident]
    series: list[Series]
    sources: list[Source]


def register(app: typer.Typer) -> None:
    app.command()(top)


def top(
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Where a listener serves its dashboard.")
    ] = "http://127.0.0.1:8080",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="File with the token it asks for, if it does.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the table once and exit.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.5, metavar="SECONDS", help="How often to look again.")] = 2.0,
) -> None:
    """Show incidents, signals and sources of a running listener, live, over its HTTP API."""
    import httpx

    console = show.console()
    headers = {"User-Agent": "listener top"}
    if token_file is not None:
        headers["Authorization"] = f"Bearer {_token(token_file)}"
    with httpx.Client(base_url=url, timeout=WAIT, trust_env=False, headers=headers) as client:
        seen = ask(client)
        if once:
            console.print(screen(seen, url, console.width))
            return
        with Live(console=Console(), refresh_per_second=4, screen=False) as live:
            trouble = ""
            while True:
                live.update(screen(seen, url, live.console.width, trouble))
                time.sleep(every)
                try:
                    seen, trouble = ask(client), ""
                except ListenerError as error:  # what was seen last stays, with the reason why it is old
                    trouble = str(error)


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {path}: {error}") from error


def ask(client: Any) -> Seen:
    """Ask for everything the screen shows. Raises `InputError` for a URL that is none, `ListenerError` when nothing answers."""
    ongoing = [one for state in ("firing", "pending") for one in _get(client, f"incidents?state={state}", Incident)]
    return Seen(ongoing, _get(client, "series", Series), _get(client, "sources", Source))


def _get(client: Any, what: str, shape: type[Any]) -> list[Any]:
    import httpx

    where = str(client.base_url)
    try:
        answer = client.get(f"api/v1/{what}")
        answer.raise_for_status()
        found: list[Any] = msgspec.json.decode(answer.content, type=list[shape])  # type: ignore[valid-type]
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InputError(f"--url {where!r}: write http://HOST:PORT") from error
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.UNAUTHORIZED:
            raise ListenerError(f"{where}: it asks for a token; give --token-file FILE") from error
        raise ListenerError(f"{where}: no listener is there (it answered {error.response.status_code})") from error
    except httpx.TimeoutException as error:
        raise ListenerError(f"{where}: no answer within {WAIT:.0f} s") from error
    except httpx.HTTPError as error:
        raise ListenerError(f"{where}: nothing answers; is `listener run` running there?") from error
    except msgspec.DecodeError as error:
        raise ListenerError(f"{where}: what answers is no listener of this version") from error
    return found


def screen(seen: Seen, url: str, width: int, trouble: str = "") -> Group:
    """The whole picture, no wider than the terminal."""
    well = sum(1 for one in seen.sources if one.last_success_at and not one.errors_in_a_row)
    head = Text.assemble((show.printable(url), "bold"), f"  ·  {well} of {len(seen.sources)} sources heard")
    failing = [one for one in seen.sources if one.errors_in_a_row]
    worst = sorted(failing, key=lambda one: -one.errors_in_a_row)[:FAILING]
    more = len(seen.series) - SERIES
    return Group(
        head if not trouble else Text.assemble(head, "\n", (show.printable(trouble), "red")),
        Text(),
        show.fitted(INCIDENTS, [_incident(one) for one in seen.incidents], width, empty="no open incidents"),
        Text(),
        show.fitted(SIGNALS, [_series(one) for one in seen.series[:SERIES]], width, empty="nothing heard yet"),
        Text(f"… and {more} more series" if more > 0 else "", style="dim"),
        show.fitted(SOURCES, [_source(one) for one in worst], width, empty="no source fails"),
    )


INCIDENTS = (
    Column("incident", least=10, is_name=True),
    Column("state"),
    Column("since", drop=2),
    Column("people", right=True),
    Column("times usual", right=True, drop=3),
    Column("likely", drop=1),
    Column("regions in order", least=8),
)
SIGNALS = (Column("signal", least=10, is_name=True), Column("in"), Column("state"), Column("chatter 24h", right=True))
SOURCES = (
    Column("failing source", least=16, is_name=True),
    Column("errors", right=True, drop=2),
    Column("reason", least=8),
    Column("next try", drop=1),
)


def _incident(one: Incident) -> Sequence[str | Text]:
    likely = max(one.cause.items(), key=lambda pair: pair[1], default=None)
    return (
        one.service,
        _state(one.state),
        show.when(one.started_at),
        str(one.authors),
        f"{one.observed / one.expected:.0f}" if one.expected > 0 else "",
        f"{likely[0]} {likely[1]:.0%}" if likely else "",
        " ".join(one.regions),
    )


def _series(one: Series) -> Sequence[str | Text]:
    return one.service, one.region, _state(one.state), f"{one.chatter_24h:.1f}"


def _source(one: Source) -> Sequence[str | Text]:
    again = show.short(one.next_try_at - datetime.now(UTC)) if one.next_try_at else ""
    return one.source, str(one.errors_in_a_row), (one.reason or "").replace("_", " "), again


def _state(state: str) -> Text:
    named = {"firing": "red", "pending": "yellow", **show.STATES}
    return Text(show.printable(state.replace("_", " ")), style=named.get(state, ""))
