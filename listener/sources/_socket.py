"""The receiving end of a WebSocket; what goes wrong becomes a `SourceError`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from listener.errors import SourceError
from listener.sources._refusal import refusal


class Socket:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self, within: float) -> bytes:
        """The next message as bytes. Raises `SourceError`: `silent` after `within` seconds, `disconnected` at the end."""
        try:
            async with asyncio.timeout(within):
                return await self._connection.recv(decode=False)
        except TimeoutError as error:
            raise SourceError(f"nothing heard for {within:g} s", reason="silent") from error
        except websockets.ConnectionClosed as error:
            raise SourceError(f"connection closed: {error}", reason="disconnected") from error

    async def receive_some(self, within: float, most: int) -> list[bytes]:
        """The next message and up to `most - 1` more that are here already. Raises as `receive` does."""
        messages = [await self.receive(within)]
        while len(messages) < most and len(self._connection.recv_messages.frames):
            try:
                messages.append(await self.receive(within))
            except SourceError:  # half a message; what is wrong will be told again
                break
        return messages

    async def send(self, text: str) -> None:
        """Raises `SourceError`: `disconnected`."""
        try:
            await self._connection.send(text)
        except websockets.ConnectionClosed as error:
            raise SourceError(f"connection closed: {error}", reason="disconnected") from error


async def shake_hands(
    url: str,
    connected: socket.socket,
    *,
    tls: ssl.SSLContext | None,
    host: str,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
    max_size: int,
    within: float,
    now: datetime,
) -> ClientConnection:
    """Open a WebSocket over a connected socket: uncompressed, no proxy, no redirects."""
    over_tls: dict[str, Any] = {"ssl": tls, "server_hostname": host} if tls else {}
    try:
        return await connect(
            url,
            sock=connected,
            **over_tls,
            proxy=None,
            compression=None,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            user_agent_header=None,
            additional_headers=headers,
            max_size=max_size,
            open_timeout=within,
            close_timeout=0.3,  # with a backlog unread the server's goodbye is never reached
        )
    except websockets.InvalidStatus as error:
        answer = error.response
        headers = {name.lower(): value for name, value in answer.headers.raw_items()}
        raise refusal(url, answer.status_code, headers, bytes(answer.body or b""), now) from error
    except TimeoutError as error:
        raise SourceError(f"{url}: no answer in time", reason="timeout") from error
    except (OSError, EOFError) as error:
        raise SourceError(f"{url}: connection lost: {error}", reason="disconnected") from error
    except (websockets.WebSocketException, ValueError) as error:
        raise SourceError(f"{url}: broken answer: {error}", reason="protocol") from error
