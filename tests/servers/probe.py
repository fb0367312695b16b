"""Hosts on loopback that a probe may meet, good and bad, and a resolver that says what it is told to say."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HAS_OPENSSL = shutil.which("openssl") is not None


@dataclass
class Resolver:
    """Answers are addresses, or the failure of the look-up."""

    answers: dict[str, list[str] | OSError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        answer = self.answers[host]
        if isinstance(answer, OSError):
            raise answer
        return answer


@dataclass
class Host:
    """`says` is what each request is answered with, one after the other, the last one for ever; None = nothing at all."""

    says: list[bytes | None] = field(default_factory=lambda: [b"HTTP/1.1 200 OK\r\n\r\n"])
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
            if said is None:
                await reader.read()  # until the client has had enough
            else:
                writer.write(said)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            writer.close()


@asynccontextmanager
async def running(host: Host, certificate: Path | None = None) -> AsyncIterator[Host]:
    """The host on a free port, over TLS with the certificate (a file that holds its key as well) or in plain text."""
    secured = None
    if certificate is not None:
        secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secured.load_cert_chain(certificate)
    listening = await asyncio.start_server(host.serve, "127.0.0.1", 0, ssl=secured)
    host.port = listening.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        listening.close()


@asynccontextmanager
async def cutting(*, resets: bool) -> AsyncIterator[Host]:
    """A host behind somebody who reads the TLS hello and cuts the connection, with a reset or without."""
    made = Host()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        made.requests.append(await reader.read(4096))
        if resets:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()


@contextmanager
def deaf() -> Iterator[int]:
    """A port whose queue is full, so that a further connection is neither taken nor refused."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(listening.getsockname())
            yield listening.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


def closed() -> int:
    """A port on which nobody listens."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def certificate(folder: Path, host: str, days: int = 2) -> Path:
    """A self-signed certificate and its key in one file, made now; out of date when `days` is negative."""
    key, request, made = folder / f"{host}.key", folder / f"{host}.csr", folder / f"{host}{days}.pem"
    names = folder / f"{host}.ext"
    names.write_text(f"subjectAltName=DNS:{host}\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    own = ["-keyout", str(key), "-out", str(request), "-subj", f"/CN={host}"]
    signed = ["-signkey", str(key), "-days", str(days), "-extfile", str(names), "-out", str(made)]
    for command in (["req", *curve, *own], ["x509", "-req", "-in", str(request), *signed]):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=30)
    made.write_bytes(made.read_bytes() + key.read_bytes())
    return made


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The name of a host that answers with the payload, to whoever goes to a private address after all."""
    del content_type
    async with running(Host([payload])) as host:
        yield f"127.0.0.1:{host.port}"
        assert host.connections == 0
