"""Wakes those who wait within one event loop."""

from __future__ import annotations

import asyncio
import contextlib


class Bell:
    """Counts how often it was struck; who saw an earlier count need not wait."""

    def __init__(self) -> None:
        self.rings = 0
        self._struck = asyncio.Event()

    def strike(self) -> None:
        self.rings += 1
        self._struck.set()
        self._struck = asyncio.Event()

    async def heard(self, seen: int, wait: float) -> None:
        """Until it was struck more often than `seen`, or so many seconds have passed."""
        if self.rings == seen:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._struck.wait()
