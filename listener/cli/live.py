"""Commands that run: the daemon, and the demo on a synthetic day."""

from __future__ import annotations

import asyncio
import signal as signals
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener import __version__, telemetry, words
from listener.cli import label_page, show, wiring
from listener.cli.reload import Reload
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import InputError, ListenerError
from listener.types import UNNAMED

if TYPE_CHECKING:
    from listener.config import Config, Web
    from listener.daemon import Daemon
    from listener.pipeline import Pipeline
    from listener.sources._net import Net
    from listener.store import Store
    from listener.web.labels import Labels

NO_MEMORY = "there is not enough memory; give it more, or fewer sources. What is stored is safe, the rest is read again"


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(demo)


def run(
    config: ConfigOption = None,
    model: ModelOption = None,
    store: Annotated[str | None, typer.Option("--store", metavar="URL", help="Store; default: the config's.")] = None,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
    table: Annotated[bool, typer.Option("--table/--no-table", help="Live table when stdout is a terminal.")] = True,
    *,
    roles: Annotated[
        str | None,
        typer.Option("--roles", metavar="LIST", help="Only these, others elsewhere: ingest,understand,watch,web."),
    ] = None,
    bus: Annotated[
        str | None, typer.Option("--bus", metavar="URL", help="With --roles: nats://HOST:4222; default: the config's.")
    ] = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option("--archive", metavar="FILE", help="With --roles: ingest these posts in event time, then end."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help="With --archive: stop there, such as 2026-03-12T15:00Z.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", help="With --roles: serve /metrics there too, on all addresses.")
    ] = None,
) -> None:
    """Run the daemon: listen to the sources, keep the signals, open incidents, serve the dashboard.

    One process does it all. With --roles several do, on one machine or many (docs/scale.md):
    listener run --roles understand --bus nats://bus:4222 --store postgresql://listener@db/outages
    """
    live = table and sys.stdout.isatty() and roles is None
    if log_level not in telemetry.LEVELS:
        raise ListenerError(f"--log-level: {log_level!r} is none of {', '.join(telemetry.LEVELS)}")
    telemetry.configure("error" if live else log_level, as_json=log_json, colour=sys.stderr.isatty())
    if roles is not None:
        from listener.cli.crew import Wanted, play, roles_of

        chosen = roles_of(roles)
        _unwrapped(play, Wanted(chosen, config, model, store, bus, archive or [], until, metrics_port))
        return
    if bus or archive:
        raise InputError("--bus and --archive belong to --roles")
    _alone(config, model, store, live=live)


def _alone(config: Path | None, model: Path | None, store: str | None, *, live: bool) -> None:
    """All roles in this process."""
    read, catalog = wiring.read(config)
    from listener.cli.serving import access_of, bind

    if read.web.enabled:
        access_of(read.web)  # what must not be served is refused before anything is read
    pipeline = wiring.pipeline(read, catalog, model)
    sources = wiring.sources(read, catalog)
    channels = wiring.channels(read, catalog)
    from listener.daemon import Daemon
    from listener.recorder import Recorder
    from listener.store import open_store

    listening = bind(read.web.host, read.web.port) if read.web.enabled else None
    opened = open_store(store or read.store_url())
    metrics = telemetry.Metrics(__version__)
    try:
        recorder = Recorder(pipeline, opened, wiring.shares(sources, catalog))
        daemon = Daemon(
            recorder,
            opened,
            sources,
            channels,
            net(read),
            author_key=wiring.author_key(read),
            earlier_keys=wiring.earlier_keys(read, datetime.now(UTC)),
            metrics=metrics,
            model=wiring.model_folder(read, catalog, model),
        )
        audit = figures(pipeline)
        desk = label_page.labels(read, opened, lambda: recorder.pipeline) if listening else None
        kept = read.privacy.retention
        app = (
            web_app(opened, catalog, metrics.render, audit=audit, web=read.web, retention=kept, desk=desk)
            if listening
            else None
        )
        reload = Reload(config, model, daemon.stop)
        _unwrapped(asyncio.run, _together(daemon, app, listening, reload, live=live, config=read))
    finally:
        opened.close()
        if listening:
            listening.close()
    if reload.wanted:
        reload.again()


async def _together(
    daemon: Daemon, app: Any, listening: socket.socket | None, reload: Reload, *, live: bool, config: Config
) -> None:
    """The daemon, the web and the live table, until the daemon stops."""
    from listener.cli import serving

    reload.listen()
    others: list[asyncio.Task[None]] = []
    server = None
    if listening is not None:
        server = serving.web_server(app)
        others.append(asyncio.create_task(server.serve(sockets=[listening])))
        print(f"dashboard: http://{config.web.host}:{config.web.port}/", file=sys.stderr)
    if live:
        from listener.cli.screen import paint

        others.append(asyncio.create_task(paint(daemon)))
    others.append(asyncio.create_task(serving.announced(server)))
    try:
        async with daemon.net:
            await daemon.run()
    finally:
        serving.notify("RELOADING=1" if reload.wanted else "STOPPING=1")
        if server is not None:
            server.should_exit = True
        for task in others[1 if server else 0 :]:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _unwrapped(run_it: Callable[[Any], None], work: Any) -> None:
    """A task group wraps what ended it; people want the one line that says what went wrong."""
    try:
        run_it(work)
    except ExceptionGroup as group:
        for error in _leaves(group):
            if isinstance(error, ListenerError):
                raise error from None
            if isinstance(error, MemoryError):
                raise ListenerError(NO_MEMORY) from None
        raise


def _leaves(group: BaseException) -> list[BaseException]:
    if isinstance(group, BaseExceptionGroup):
        return [leaf for inner in group.exceptions for leaf in _leaves(inner)]
    return [group]


def demo(
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Show the result on the dashboard.")] = True,
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Replay a synthetic day (invented posts) through the live code path and show it on the dashboard."""
    from listener.cli.serving import bind, web_server
    from listener.recorder import Recorder
    from listener.replay import Archive, replay
    from listener.store import open_store

    telemetry.configure("warning", colour=sys.stderr.isatty())
    read, catalog = wiring.read(config)
    pipeline = wiring.pipeline(read, catalog, model)
    listening = bind(read.web.host, read.web.port) if serve else None
    archive = Archive([catalog.root / "samples" / "day.jsonl"], lambda message: None)
    with tempfile.TemporaryDirectory(prefix="listener-demo-") as folder:
        opened = open_store(f"sqlite:///{folder}/demo.db")
        recorder = Recorder(pipeline, opened)
        print("a synthetic day: every post is invented", file=sys.stderr)
        with show.progress("replaying", len(archive)) as progress:
            count = sum(1 for _ in replay(archive, recorder, opened, progress=progress))
        from listener.cli.look import incident_table

        found = opened.incidents(limit=1000)
        show.console().print(incident_table(found))
        print(f"{len(archive)} posts, {count} transitions, {len(found)} incidents", file=sys.stderr)
        if listening is not None:
            end = recorder.watched() or datetime.now(UTC)
            metrics = telemetry.Metrics(__version__)
            audit = figures(pipeline)
            desk = label_page.labels(read, opened, lambda: pipeline)
            app = web_app(
                opened,
                catalog,
                metrics.render,
                clock=lambda: end,
                synthetic=True,
                audit=audit,
                web=read.web,
                desk=desk,
            )
            print(f"dashboard: http://{read.web.host}:{read.web.port}/ (Ctrl-C ends)", file=sys.stderr)
            asyncio.run(_serve(web_server(app), listening))
        opened.close()


async def _serve(server: Any, listening: socket.socket) -> None:
    """Until Ctrl-C or SIGTERM."""
    for name in (signals.SIGTERM, signals.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, setattr, server, "should_exit", True)
    await server.serve(sockets=[listening])


def web_app(
    store: Store,
    catalog: Any,
    metrics: Callable[[], bytes],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    synthetic: bool = False,
    audit: Mapping[str, float] | None = None,
    web: Web | None = None,
    retention: timedelta | None = None,
    desk: Labels | None = None,
) -> Any:
    from listener.cli.serving import access_of
    from listener.web.access import Access
    from listener.web.app import Settings, create_app

    settings = Settings(
        services={**{s.id: s.name for s in catalog.services.values()}, UNNAMED: "No service named"},
        regions={r.code: r.english for r in catalog.regions.values()},
        version=__version__,
        metrics=metrics,
        clock=clock,
        synthetic=synthetic,
        words=words.load(catalog.root),
        audit=audit or {},
        url=web.url if web else "",
        retention=retention,
        access=access_of(web) if web else Access(),
        labels=desk,
    )
    return create_app(store, settings)


def figures(pipeline: Pipeline) -> dict[str, float]:
    """What the model's own file says about how good it is, as far as the page on method shows it."""
    scores = pipeline.classifier.meta.scores.get("all", {})
    return {name: float(scores[name]) for name in ("f1", "ap", "ece", "label_f1", "services") if name in scores}


def net(config: Config) -> Net:
    from listener.sources._net import Net

    contact = config.http.contact or "self-hosted; no contact given"
    return Net(
        user_agent=f"outage-listener/{__version__} (+{contact})",
        clock=lambda: datetime.now(UTC),
        allow_private=config.http.allow_private,
    )
