"""Tries to reach a service's host from where the daemon runs: DNS, TCP, TLS, HTTP, one step after the other.

A post tells when the outcome changes, once a second attempt has come to the same. Before it blames anything, the probe tries
a control host: when that can't be reached either, our own line is at fault and nothing is said of the service.

What points to a block where we are, given that the control works: a name that resolves to an address that is not public, or
that the resolver denies or refuses; a connection cut in the middle of the TLS handshake, after our hello has named the host;
a certificate that is not the host's, as block pages have (they often stand on public addresses); HTTP 451.

What does not: a time-out, a refused connection, an answer of 5xx or none. An outage looks just like it, as does a filter that
drops packets, so these count as a report. Nor does an expired certificate, or a resolver that fails: both happen to the best.

What it never shows: that people can use the service (its front door answers; the app may not), or what another provider's
customers meet: this is one line with one resolver. A broken handshake has innocent causes, too; so do names that a resolver at
home filters by its owner's wish. A probe corroborates what people write, and counts for nobody.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import httpx
import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources._gate import is_public
from listener.sources._json import cursor_of, encoded
from listener.sources._net import Net
from listener.types import Delete, Post, Tier

CORROBORATES = True  # its silence is no deafness
T = TypeVar("T")

TRIED = 3  # addresses of a host
LONGEST_DETAIL = 1_000  # characters
STATED = {
    "works": "works",
    **dict.fromkeys(("dns_private", "dns_denied", "dns_refused", "tls_cut", "tls_foreign", "http_blocked"), "blocked"),
}  # anything else is a report: people there can't use it, whoever is at fault

_DATES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_DENIED = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})\b")


@dataclass(frozen=True)
class Options:
    service: str = option("", "the service that is probed, as in data/services")
    host: str = option("", "its host, such as instagram.com; another port than 443 as host:port")
    every: timedelta = option(timedelta(minutes=5), "how often to try")
    confirm: timedelta = option(timedelta(seconds=10), "a new outcome is tried again after this, and told if it stays")
    patience: timedelta = option(timedelta(seconds=10), "how long each step may take")
    control: str = option(
        "example.com", "host to try when the other fails, to tell its fault from our own; empty = none"
    )
    private: bool = option(False, "the host's addresses are private by right (an intranet), not a forged answer")
    authorities: str = option("", "file with more certificate authorities to trust, for a host of your own")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an attempt: `outcome` is "ok", or in a word what went wrong."""

    name: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Measurement:
    steps: tuple[Step, ...]  # up to the first that fails
    detail: str  # of the last step

    @property
    def outcome(self) -> str:
        last = self.steps[-1]
        return "works" if last.outcome == "ok" else f"{last.name.lower()}_{last.outcome}"


@dataclass(frozen=True, slots=True)
class Raw:
    measurement: Measurement
    service: str
    host: str
    at: datetime


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    host: str = ""
    outcome: str = ""  # told last


class _StepError(Exception):
    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[Raw | None, str | None], None]:
    """An outcome that is another than the one told last; and after each attempt a heartbeat."""
    state = cursor_of(cursor, Cursor)
    host, _ = _parted(options.host)
    told = state.outcome if state.host == options.host else ""
    trusted = await asyncio.to_thread(_trusted, options.authorities)
    while True:
        found = await _attempt(options, net, trusted)
        if found.outcome != told:
            await net.sleep(options.confirm.total_seconds())
            again = await _attempt(options, net, trusted)
            if again.outcome == found.outcome:
                told = found.outcome
                yield Raw(again, options.service, host, net.now()), encoded(Cursor(options.host, told))
        yield None, encoded(Cursor(options.host, told))
        await net.sleep(net.spread(options.every))


def parse(raw: Raw, received_at: datetime) -> Post | Delete | None:
    """A post of an outcome: what the last step met, and how long those before it took."""
    passed = [f"{step.name} {step.seconds * 1000:.0f} ms" for step in raw.measurement.steps if step.outcome == "ok"]
    times = f" ({', '.join(passed)})" if passed else ""
    outcome = raw.measurement.outcome
    return Post(
        id=f"probe:{raw.host}:{raw.at:%Y%m%dT%H%M%SZ}",
        source="probe",
        text=f"probe: {raw.host}: {raw.measurement.detail[:LONGEST_DETAIL]}{times}",
        created_at=min(raw.at, received_at),
        received_at=received_at,
        author="probe",
        tier=Tier.MEASURED,
        services=(raw.service,) if raw.service else (),
        stated=STATED.get(outcome, "report"),
    )


async def _attempt(options: Options, net: Net, trusted: ssl.SSLContext) -> Measurement:
    """What the host meets us with. Raises `SourceError` when the control fails as well: then we have no network."""
    found = await measure(options.host, options, net, trusted)
    if found.outcome != "works" and options.control:
        control = await measure(options.control, options, net, trusted)
        if control.outcome != "works":
            raise SourceError(
                f"could not check {options.host}: {options.control} can't be reached either: {control.detail}",
                reason="no_network",
            )
    return found


async def measure(target: str, options: Options, net: Net, trusted: ssl.SSLContext) -> Measurement:
    """One attempt, step by step, each with its outcome and the time it took."""
    (host, port), steps = _parted(target), list[Step]()
    patience, clock = options.patience.total_seconds(), asyncio.get_running_loop().time

    async def timed(name: str, work: Awaitable[T]) -> T:
        began, outcome = clock(), "ok"
        try:
            async with asyncio.timeout(patience):
                return await work
        except TimeoutError as error:
            outcome = "timeout"
            raise _StepError(outcome, f"{name} does not answer in time") from error
        except _StepError as error:
            outcome = error.outcome
            raise
        finally:
            steps.append(Step(name, outcome, clock() - began))

    with ExitStack() as undo:
        try:
            addresses = await timed("DNS", _addresses(host, port, net, is_private=options.private))
            connected = await timed("TCP", _connected(addresses, port, patience))
            undo.callback(connected.close)
            reader, writer = await timed("TLS", _encrypted(connected, host, trusted))
            undo.callback(writer.transport.abort)
            detail = await timed("HTTP", _answered(reader, writer, host, net.user_agent))
        except _StepError as error:
            detail = error.detail
    return Measurement(tuple(steps), detail)


async def _addresses(host: str, port: int, net: Net, *, is_private: bool) -> list[str]:
    """Whatever the resolver says, and no guard before it: an address that can't be the service's is what we look for."""
    try:
        addresses = await net.looked_up(host, port)
    except TimeoutError:
        raise
    except socket.gaierror as error:
        if error.errno in _DENIED:
            raise _StepError("denied", "DNS says that there is no such host") from error
        if error.errno == socket.EAI_FAIL:
            raise _StepError("refused", "DNS refuses to answer") from error
        raise _StepError("failed", "DNS fails") from error
    except (OSError, UnicodeError) as error:
        raise _StepError("failed", "DNS fails") from error
    forged = [address for address in addresses if not is_public(address)]
    if forged and not is_private:
        raise _StepError("private", f"DNS answers {forged[0]} (not public)")
    if not addresses:
        raise _StepError("denied", "DNS says that there is no such host")
    return addresses[:TRIED]


async def _connected(addresses: list[str], port: int, patience: float) -> socket.socket:
    """A connection to the first address that takes one. Of several failures, one that says more than "no route" counts."""
    lost: _StepError | None = None
    for address in addresses:
        with ExitStack() as undo:
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            undo.callback(made.close)
            made.setblocking(False)
            try:
                async with asyncio.timeout(patience / len(addresses)):
                    await asyncio.get_running_loop().sock_connect(made, (address, port))
            except OSError as error:
                failed = _tcp_failure(error)
                lost = failed if lost is None or lost.outcome == "unreachable" else lost
            else:
                undo.pop_all()
                return made
    assert lost is not None  # there is at least one address
    raise lost


def _tcp_failure(error: OSError) -> _StepError:
    if isinstance(error, TimeoutError):
        return _StepError("timeout", "TCP does not answer in time")
    if isinstance(error, ConnectionRefusedError):
        return _StepError("refused", "TCP connection is refused")
    if isinstance(error, ConnectionError):
        return _StepError("cut", "TCP connection is cut")
    return _StepError("unreachable", "there is no route to it")


async def _encrypted(
    connected: socket.socket, host: str, trusted: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection(sock=connected, ssl=trusted, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _DATES:
            raise _StepError("expired", "TLS certificate is out of date") from error
        raise _StepError("foreign", f"TLS certificate is not the host's ({error.verify_message})") from error
    except ssl.SSLEOFError as error:
        raise _StepError("cut", "TLS handshake is cut") from error
    except ssl.SSLError as error:
        raise _StepError("failed", f"TLS fails ({error.reason})") from error
    except TimeoutError:
        raise
    except OSError as error:
        raise _StepError("cut", "TLS handshake is cut") from error


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, agent: str) -> str:
    """What a GET of the front page is answered with; only the first line of it is read."""
    lines = ("GET / HTTP/1.1", f"Host: {host}", f"User-Agent: {agent}", "Accept: */*", "Connection: close", "", "")
    try:
        writer.write("\r\n".join(lines).encode("latin-1", "replace"))
        await writer.drain()
        line = await reader.readline()
    except TimeoutError:
        raise
    except ValueError as error:
        raise _StepError("broken", "the answer is not HTTP") from error
    except OSError as error:
        raise _StepError("cut", "the connection is cut before an answer") from error
    found = _STATUS.match(line)
    if not line:
        raise _StepError("silent", "the connection is closed without an answer")
    if found is None:
        raise _StepError("broken", "the answer is not HTTP")
    status = int(found.group(1))
    if status == 451:
        raise _StepError("blocked", "answers 451, unavailable for legal reasons")
    if status >= 500:
        raise _StepError("error", f"answers {status}")
    return f"answers {status}"


def _parted(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon:
        host, port = target, "443"
    if not host or "/" in host or not port.isdecimal():
        raise SourceError(f"{target!r} is not a host to probe", reason="bad_host", permanent=True)
    return host, int(port)


def _trusted(authorities: str) -> ssl.SSLContext:
    made = httpx.create_ssl_context(trust_env=False)
    if authorities:
        try:
            made.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"{authorities}: {error}", reason="bad_authorities", permanent=True) from error
    return made
