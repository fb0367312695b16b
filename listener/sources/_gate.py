"""Which addresses may be spoken to: public ones, judged by what a name resolves to, never by the name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from listener.errors import SourceError

Resolve = Callable[[str, int], Awaitable[list[str]]]

# Beside `is_global`, whose answers differ between Python versions, and which knows nothing of tunnels to the inside.
_CLOSED = [
    ip_network(block)
    for block in [
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),  # teredo and its neighbours, examples, 6to4
    ]
]
_UNICAST = ip_network("2000::/3")  # leaves out loopback, NAT64, private, link-local and multicast in one rule


def is_public(address: str) -> bool:
    """Whether an address belongs to the open internet.

    >>> [is_public(a) for a in ("1.1.1.1", "2606:4700::1111", "127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1")]
    [True, True, False, False, False]
    """
    try:
        ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip not in _UNICAST:
            return False
    return ip.is_global and not any(ip in block for block in _CLOSED)


async def resolve(host: str, port: int) -> list[str]:
    """What the system's resolver answers, each address once."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


async def vetted(host: str, port: int, look_up: Resolve, *, allow_private: bool) -> list[str]:
    """The addresses of a host, all of them allowed. One forbidden answer among them refuses the host altogether.

    The caller connects to one of these and does not look up again, so that a name can't change its mind in between.
    """
    try:
        addresses = await look_up(host, port)
    except (OSError, UnicodeError) as error:
        raise SourceError(f"{host}: no such host ({error})", reason="unreachable") from error
    if not addresses:
        raise SourceError(f"{host}: no such host", reason="unreachable")
    for address in addresses:
        if not allow_private and not is_public(address):
            raise SourceError(
                f"{host} is at {address}, which is not a public address (set http.allow_private to reach it)",
                reason="forbidden_address",
            )
    return addresses
