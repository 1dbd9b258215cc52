"""Where a name may lead: the addresses of the public internet and no others, looked up once and then held fast.

A name is looked up once for a connection. Every address of the answer is judged, one that is not public refuses them
all, and the connection is made to the very addresses that were judged, so that a second answer of a hostile name server
(DNS rebinding) is never asked for. The socket's own factory judges once more, at the last moment there is.
Sources: the IANA registries of special-purpose addresses (RFC 6890), and the clouds' own pages for the addresses of
their metadata services.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from plugyard.sandbox.services.base import Denied

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name, as text. Raises OSError when there is none."""

Network = IPv4Network | IPv6Network

# Everything that is not the public internet, with the reason. The standard library's `is_global` has changed its mind
# between patch releases, so the tables are kept here.
_DENIED_4: dict[str, str] = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT, and a cloud's metadata at 100.100.100.200",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's host agent at an address that looks public",
    "169.254.0.0/16": "link-local, and the clouds' metadata at 169.254.169.254",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments, and a cloud's metadata at 192.0.0.192",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, and broadcast",
}
# Of IPv6 only 2000::/3 is handed out at all; what is outside (::1, ::ffff:0:0/96, 64:ff9b::/96, fc00::/7, fe80::/10,
# ff00::/8) is denied by not being inside.
_PUBLIC_6 = IPv6Network("2000::/3")
_DENIED_6: dict[str, str] = {
    "2001::/23": "protocol assignments: Teredo with an IPv4 address inside, ORCHID, benchmarks",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4, with an IPv4 address inside",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
}
_NETWORKS_4 = tuple(IPv4Network(text) for text in _DENIED_4)
_NETWORKS_6 = tuple(IPv6Network(text) for text in _DENIED_6)


METADATA: tuple[Network, ...] = (
    IPv4Network("169.254.0.0/16"),  # AWS, Azure, Google Cloud and most others
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud
    IPv4Network("192.0.0.192/32"),  # Oracle Cloud
    IPv4Network("168.63.129.16/32"),  # Azure's host
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::/32"),  # AWS
    IPv6Network("fd20:ce::/32"),  # Google Cloud
    IPv6Network("fd00:42::42/128"),  # Scaleway
)
"""Where clouds answer for the machine, credentials included."""

_HIDING: tuple[Network, ...] = (
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291, section 2.5.5.1
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, section 2.5.5.2
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of one's own, RFC 8215
    IPv6Network("2001::/32"),  # Teredo, RFC 4380
    IPv6Network("2002::/16"),  # 6to4, RFC 3056
)
"""Addresses with an IPv4 address inside, which would lead where that one is closed."""


@dataclass(frozen=True, slots=True)
class AddressRule:
    """What may be connected to. `extra_denied` holds even where private addresses are allowed.

    `allowed` are the operator's own networks that plugins may reach; where a cloud keeps the machine's credentials is
    in none of them, and neither is an IPv6 address that hides one of IPv4.
    """

    allow_private: bool = False
    extra_denied: tuple[Network, ...] = ()
    allowed: tuple[Network, ...] = ()

    def allows(self, text: str) -> bool:
        """Whether this address, in the form that a connection is made with, may be connected to."""
        try:
            address = ip_address(text)
        except ValueError:
            return False
        if _within(address, self.extra_denied):
            return False
        if self.allow_private or is_public(address):
            return True
        if _within(address, METADATA) or (_within(address, _HIDING) and not address.is_loopback):
            return False
        return _within(address, self.allowed)


def _within(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet and hides no other one inside."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NETWORKS_4)
    if address.scope_id is not None or address not in _PUBLIC_6:
        return False
    return not any(address in network for network in _NETWORKS_6)


class SystemLookup:
    """The system's resolver on threads of its own, so that slow name servers hold up nothing else."""

    def __init__(self, threads: int = 16) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="egress-dns")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """See `Lookup`."""
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return [str(sockaddr[0]) for _, _, _, _, sockaddr in found]

    def close(self) -> None:
        """Take no more questions; a thread that waits for a name server ends when that gives up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))


class FencedResolver(AbstractResolver):
    """aiohttp's resolver for one tenant: judges what the lookup finds. At most `at_once` lookups run side by side."""

    def __init__(self, lookup: Lookup, rule: AddressRule, at_once: int) -> None:
        self._lookup = lookup
        self._rule = rule
        self._turn = asyncio.Semaphore(at_once)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name, all of them judged. Raises Denied when one is not public, OSError when none is."""
        async with self._turn:
            found = list(dict.fromkeys(await self._lookup(host, port)))
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            if not self._rule.allows(address):
                # The address itself is not told: it would describe the operator's network to a plugin.
                raise Denied(f"the host {host} leads to an address that is not public")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is held; the lookup belongs to the service."""


def guarded_socket(rule: AddressRule) -> Callable[[Any], socket.socket]:
    """A factory of sockets that judges the address that is about to be connected to."""

    def make(info: Any) -> socket.socket:
        family, kind, proto, _, sockaddr = info
        if not rule.allows(str(sockaddr[0])):
            raise PermissionError("an address that is not public")
        return socket.socket(family, kind, proto)

    return make
