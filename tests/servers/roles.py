"""Processes that play roles, each started again when it ends, as an operator's supervisor would."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from listener.errors import StoreError
from listener.roles.lane import Lane, lane_of
from listener.store import open_store
from tests.servers import quick

CONFIG = """default_sources = false
[web]
enabled = false
[bus]
url = "{bus}"
stream = "{stream}"
replicas = {replicas}
redeliver_after = "2s"
{also}"""


@dataclass(eq=False)
class Player:
    """One process, in whatever life it is."""

    name: str
    arguments: Sequence[str]
    settings: Mapping[str, str]
    process: quick.Born | None = None
    lives: int = 0


class Theatre:
    """Who plays which roles on one bus and one store, in a folder."""

    def __init__(
        self,
        folder: Path,
        environ: dict[str, str],
        bus: str,
        stream: str,
        store: str,
        *,
        replicas: int = 1,
        also: str = "",
    ) -> None:
        """`also` is added to the config of all."""
        self.folder, self.store = folder, store
        self._environ = environ
        self.players: dict[str, Player] = {}
        (folder / "listener.toml").write_text(CONFIG.format(bus=bus, stream=stream, replicas=replicas, also=also))

    def plays(self, name: str, *arguments: str, **settings: str) -> None:
        """Settings are those of the environment of this one, such as `LISTENER_WEB_PORT`."""
        self.players[name] = Player(name, arguments, settings)
        self._born(self.players[name])

    def kill(self, name: str) -> None:
        """SIGKILL; it is started again at once."""
        player = self.players[name]
        if player.process is not None and player.process.poll() is None:
            player.process.kill()
            player.process.wait()
        self._born(player)

    def leader(self, among: Sequence[str]) -> str:
        """Who of them said last that it leads the watch, and still lives."""
        told = {}
        for name in among:
            for number, line in enumerate(self.log(name).splitlines()):
                if "watch_leads" in line:
                    told[name] = (line[:27], number)
        return max(told, key=told.__getitem__, default=among[0])

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def until_fed(self, patience: float) -> None:
        """Until `ingest` ends by itself; whoever else ends is started again."""
        deadline = time.monotonic() + patience
        while self.look() != 0:
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.05)

    def look(self) -> int | None:
        """Start again who ended; give back what `ingest` ended with, None while it runs."""
        for player in self.players.values():
            code = player.process.poll() if player.process is not None else None
            if player.name == "ingest" and code == 0:
                return 0
            if code is not None:
                self._born(player)
        return None

    def lane(self) -> Lane:
        """How far it has got; at the very beginning when the store is away or not there yet."""
        with contextlib.suppress(StoreError), contextlib.closing(open_store(self.store, read_only=True)) as store:
            return lane_of(store)
        return Lane()

    def end(self) -> None:
        for player in self.players.values():
            if player.process is not None and player.process.poll() is None:
                player.process.send_signal(signal.SIGTERM)
        for player in self.players.values():
            if player.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    player.process.wait(timeout=20)
                player.process.kill()
                player.process.wait()

    def said(self) -> str:
        """The last lines of everybody."""
        return "\n".join(
            f"== {name} ({self.players[name].lives} lives)\n{self.log(name)[-1500:]}" for name in self.players
        )

    def _born(self, player: Player) -> None:
        player.lives += 1
        with (self.folder / f"{player.name}.log").open("ab") as log:
            player.process = quick.start(
                ["run", "--store", self.store, *player.arguments],
                cwd=self.folder, env={**self._environ, **player.settings}, stdout=log, stderr=log,
            )  # fmt: skip
