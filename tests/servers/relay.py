"""A relay between a client and a server on loopback that hangs up at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Relay:
    """`with Relay(port) as relay:` what connects to `relay.port` reaches `port`."""

    def __init__(self, port: int | str) -> None:
        self._server = int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._word = b""
        self._passes_on = True
        self._for_good = self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up_at(self, word: bytes, *, passing_it_on: bool, for_good: bool = False) -> None:
        """Hang up when the client next says so; the server hears of it, or not, but its answer reaches nobody."""
        self._passes_on, self._for_good, self._word = passing_it_on, for_good, word

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._is_closed:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._server))
                threading.Thread(target=self._towards, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(client, server), daemon=True).start()

    def _towards(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self._word and self._word in data:
                    self._word = b""
                    self._is_closed = self._for_good
                    client.shutdown(socket.SHUT_RDWR)
                    if self._passes_on:
                        server.sendall(data)
                        server.shutdown(socket.SHUT_WR)
                    else:
                        server.shutdown(socket.SHUT_RDWR)
                    break
                server.sendall(data)
        client.close()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        server.close()
