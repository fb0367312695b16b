"""The dashboard as it is served: uvicorn as the commands set it up, in a thread, on a free port of loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from listener.cli import serving


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of a running server; it is told to stop at the end, as the daemon tells it."""
    listening = serving.bind("127.0.0.1", 0)
    server = serving.web_server(app)
    started = threading.Event()

    async def run() -> None:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        await server.is_up.wait()
        started.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="dashboard")
    thread.start()
    try:
        assert started.wait(20), "the server did not start"
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"


def ask(base: str, path: str, *, method: str = "GET", **headers: str) -> httpx.Response:
    """One request without anything a client adds by itself but what httpx must."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
        return client.request(method, base + path, headers=named)
