"""Commands that run: the daemon, and the demo on a synthetic day."""

from __future__ import annotations

import asyncio
import os
import signal as signals
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener import __version__, telemetry, words
from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption, ModelOption
from listener.errors import ListenerError
from listener.types import UNNAMED

if TYPE_CHECKING:
    from listener.config import Config
    from listener.daemon import Daemon
    from listener.pipeline import Pipeline
    from listener.sources._net import Net
    from listener.store import Store


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
) -> None:
    """Run the daemon: listen to the sources, keep the signals, open incidents, serve the dashboard."""
    live = table and sys.stdout.isatty()
    if log_level not in telemetry.LEVELS:
        raise ListenerError(f"--log-level: {log_level!r} is none of {', '.join(telemetry.LEVELS)}")
    telemetry.configure("error" if live else log_level, as_json=log_json, colour=sys.stderr.isatty())
    read, catalog = wiring.read(config)
    pipeline = wiring.pipeline(read, catalog, model)
    sources = wiring.sources(read, catalog)
    channels = wiring.channels(read, catalog)
    from listener.cli.serving import bind
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
            metrics=metrics,
        )
        audit = figures(pipeline)
        app = web_app(opened, catalog, metrics.render, audit=audit, url=read.web.url) if listening else None
        reload = _Reload(config, daemon)
        _unwrapped(asyncio.run, _together(daemon, app, listening, reload, live=live, config=read))
    finally:
        opened.close()
        if listening:
            listening.close()
    if reload.wanted:  # everything is stored: the same command begins anew, as the same process
        os.execv(sys.executable, [sys.executable, "-m", "listener", *sys.argv[1:]])  # noqa: S606 - our own command line


class _Reload:
    """SIGHUP: a config that can be read is taken over by beginning anew; one that can't is refused, and all goes on as it was."""

    def __init__(self, config: Path | None, daemon: Daemon) -> None:
        self._config = config
        self._daemon = daemon
        self.wanted = False

    def __call__(self) -> None:
        log = telemetry.log("config")
        try:
            read, catalog = wiring.read(self._config)
            wiring.sources(read, catalog)
            wiring.channels(read, catalog)
        except ListenerError as error:
            log.warning("config_refused", detail=str(error))
            return
        log.info("config_reloads")
        self.wanted = True
        self._daemon.stop()


async def _together(
    daemon: Daemon, app: Any, listening: socket.socket | None, reload: _Reload, *, live: bool, config: Config
) -> None:
    """The daemon, the web and the live table, until the daemon stops."""
    from listener.cli import serving

    asyncio.get_running_loop().add_signal_handler(signals.SIGHUP, reload)

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
            app = web_app(
                opened, catalog, metrics.render, clock=lambda: end, synthetic=True, audit=audit, url=read.web.url
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
    url: str = "",
) -> Any:
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
        url=url,
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
