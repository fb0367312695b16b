"""SIGHUP: a config that can be read is taken over by beginning anew; one that can't is refused, and all goes on as it was."""

from __future__ import annotations

import asyncio
import os
import signal as signals
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from listener import telemetry
from listener.cli import wiring
from listener.errors import ListenerError


class Reload:
    """`stop` ends what runs; afterwards `wanted` says whether to begin `again`."""

    def __init__(self, config: Path | None, model: Path | None, stop: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._model = model
        self.stop = stop
        self.wanted = False

    def listen(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signals.SIGHUP, self)

    def __call__(self) -> None:
        from listener.pipeline import Pipeline

        log = telemetry.log("config")
        try:
            read, catalog = wiring.read(self._config)
            wiring.sources(read, catalog)
            wiring.channels(read, catalog)
            Pipeline.load(catalog, wiring.model_folder(read, catalog, self._model), read)
        except ListenerError as error:
            log.warning("config_refused", detail=str(error))
            return
        log.info("config_reloads")
        self.wanted = True
        self.stop()

    def again(self) -> NoReturn:
        """Everything is stored: the same command begins anew, as the same process."""
        os.execv(sys.executable, [sys.executable, "-m", "listener", *sys.argv[1:]])  # noqa: S606 - our own command line
