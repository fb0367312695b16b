"""`listener run --roles`: this process plays some of the roles, others play the rest."""

from __future__ import annotations

import asyncio
import contextlib
import signal as signals
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listener import __version__, telemetry
from listener.cli import serving, wiring
from listener.cli.reload import Reload
from listener.errors import ConfigError, InputError
from listener.instants import moment
from listener.roles import ROLES

if TYPE_CHECKING:
    from listener.config import Bus as BusSettings
    from listener.config import Config
    from listener.roles.crew import Crew
    from listener.store import Store

    Catalog = Any


@dataclass(frozen=True)
class Wanted:
    """What the command line says."""

    roles: frozenset[str]
    config: Path | None
    model: Path | None
    store: str | None
    bus: str | None
    archive: Sequence[Path]
    until: str | None
    metrics_port: int | None

    def settings(self, config: Config) -> BusSettings:
        """Where the bus is; a process that only serves the web needs none."""
        settings = replace(config.bus, url=self.bus or config.bus.url)
        if not settings.url and self.roles != {"web"}:
            raise InputError("--roles needs a bus: --bus nats://HOST:4222, or url in [bus]")
        if self.is_local(settings) and not self.roles >= {"ingest", "understand", "watch"}:
            raise InputError("the bus local: stays within one process, which must ingest, understand and watch")
        return settings

    def is_local(self, settings: BusSettings) -> bool:
        return settings.url.startswith("local:")


def roles_of(text: str) -> frozenset[str]:
    """The roles of a list such as `ingest,watch`. Raises `InputError` for one nobody plays."""
    roles = frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := sorted(roles - set(ROLES)):
        raise InputError(f"--roles: {unknown[0]!r} is none of {', '.join(ROLES)}")
    if not roles:
        raise InputError(f"--roles: name at least one of {', '.join(ROLES)}")
    return roles


def play(wanted: Wanted) -> None:
    """Until told to stop, or until the archive is fed."""
    read, catalog = wiring.read(wanted.config)
    settings = wanted.settings(read)
    if wanted.archive and "ingest" not in wanted.roles:
        raise InputError("--archive is fed by the role ingest")
    serves = "web" in wanted.roles and read.web.enabled
    if serves:
        serving.access_of(read.web)  # what must not be served is refused before anything is read
    listening = serving.bind(read.web.host, read.web.port) if serves else None
    metrics = telemetry.Metrics(__version__)
    with contextlib.ExitStack() as stack:
        if listening:
            stack.callback(listening.close)
        stores = _stores(wanted, wanted.store or read.store_url(), stack, is_local=wanted.is_local(settings))
        if wanted.metrics_port is not None:
            from prometheus_client import start_http_server

            start_http_server(wanted.metrics_port, "0.0.0.0", metrics.registry)  # noqa: S104 - asked for, for scraping
        parts = _Parts(wanted, read, catalog, stores, metrics)
        server = serving.web_server(parts.app()) if listening else None
        reload = Reload(wanted.config, wanted.model)
        asyncio.run(_play(parts, settings, server, [listening] if listening else [], reload))
    if reload.wanted:
        reload.again()


def _stores(wanted: Wanted, url: str, stack: contextlib.ExitStack, *, is_local: bool) -> dict[str, Store]:
    """A store for each role, closed with the stack; roles that stay within this process share one."""
    from listener.store import open_store

    def opened(*, read_only: bool) -> Store:
        store = open_store(url, read_only=read_only, exclusive=is_local or read_only)
        stack.callback(store.close)
        return store

    if is_local:
        return dict.fromkeys(wanted.roles, opened(read_only=False))
    writing = sorted(wanted.roles - {"web"})
    made = {role: opened(read_only=False) for role in writing}
    if "web" in wanted.roles:
        made["web"] = opened(read_only=True)
    return made


class _Parts:
    """What the roles of this process are made of, each made once and only if it is needed."""

    def __init__(
        self, wanted: Wanted, config: Config, catalog: Catalog, stores: dict[str, Store], metrics: telemetry.Metrics
    ) -> None:
        self.wanted, self.config, self.catalog, self.stores, self.metrics = wanted, config, catalog, stores, metrics
        self.sources = wiring.sources(config, catalog)
        self.channels = wiring.channels(config, catalog) if "watch" in wanted.roles else []
        self.pipeline = wiring.pipeline(config, catalog, wanted.model) if self.thinks() else None
        self.feeds = self._archive() if wanted.archive else None
        if "ingest" in wanted.roles and not wanted.archive and not config.privacy.author_key:
            raise ConfigError(
                "[privacy] author_key is empty: whoever ingests must hash authors alike; set LISTENER_PRIVACY_AUTHOR_KEY_FILE"
            )

    def thinks(self) -> bool:
        """Whether a role of ours needs the model: all that see posts, unless they only pass an archive on."""
        return bool(self.wanted.roles & {"understand", "watch"}) or (
            "ingest" in self.wanted.roles and not self.wanted.archive
        )

    def _archive(self) -> Any:
        from listener.replay import Archive
        from listener.roles.archive import Paced

        until = moment(self.wanted.until) if self.wanted.until else None
        return Paced(Archive(self.wanted.archive, lambda line: print(line, file=sys.stderr)), until)

    def app(self) -> Any:
        from listener.cli.live import figures, web_app

        audit = figures(self.pipeline) if self.pipeline else None
        return web_app(
            self.stores["web"],
            self.catalog,
            self.metrics.render,
            audit=audit,
            web=self.config.web,
            retention=self.config.privacy.retention,
        )

    def crew(self, bus: Any, settings: BusSettings, net: Any) -> Crew:
        from listener.intake import Intake
        from listener.roles.crew import Crew

        def clock() -> datetime:
            return datetime.now(UTC)

        crew = Crew(
            {role: store for role, store in self.stores.items() if role != "web"},
            bus,
            metrics=self.metrics,
            clock=clock,
            redeliver_after=settings.redeliver_after,
            pipeline=self.pipeline,
            shares=wiring.shares(self.sources, self.catalog),
            archive=self.feeds,
            channels=self.channels,
            model=None if self.feeds else wiring.model_folder(self.config, self.catalog, self.wanted.model),
        )
        if "ingest" in self.wanted.roles and self.feeds is None:
            crew.intake = Intake(
                self.sources,
                net,
                author_key=wiring.author_key(self.config),
                earlier_keys=wiring.earlier_keys(self.config, clock()),
                metrics=self.metrics,
                clock=clock,
                screen=crew.screen,
            )
        return crew


async def _play(parts: _Parts, settings: BusSettings, server: Any, sockets: Collection[Any], reload: Reload) -> None:
    from listener.cli.live import net

    others = [asyncio.create_task(serving.announced(server))]
    if server is not None:
        others.append(asyncio.create_task(server.serve(sockets=sockets)))
        print(f"dashboard: http://{parts.config.web.host}:{parts.config.web.port}/", file=sys.stderr)
    try:
        if parts.wanted.roles == {"web"}:
            await _until_told(reload)
        else:
            from listener.bus import open_bus

            bus = await open_bus(settings)
            try:
                async with net(parts.config) as edge:
                    crew = parts.crew(bus, settings, edge)
                    reload.stop = crew.stop
                    reload.listen()
                    await crew.run()
            finally:
                await bus.close()
    finally:
        serving.notify("RELOADING=1" if reload.wanted else "STOPPING=1")
        if server is not None:
            server.should_exit = True
        others[0].cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _until_told(reload: Reload) -> None:
    told = asyncio.Event()
    reload.stop = told.set
    reload.listen()
    for name in (signals.SIGTERM, signals.SIGINT):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(name, told.set)
    await told.wait()
