"""Addresses: where webhooks may go, so that nobody has a hub call what only this machine can reach.

1. An address is https; http only where private targets are allowed.
2. Its name is resolved once for each attempt. Each of the addresses has to be public, however it is written:
   what a name means is what counts, so that 0x7f.1, 2130706433 or a name of one's own are no way around.
3. The connection goes to just these addresses: a name that means something else a moment later leads nowhere.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from klinehub.errors import DefinitionError

# Gives the addresses of a host, as text; raises OSError where there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Pinned(AbstractResolver):
    """Gives the addresses that were checked, whatever a name means by now."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give what aiohttp connects to."""
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=_family(address, family), proto=0, flags=0
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Do nothing: nothing is kept open."""


def _family(address: str, asked: socket.AddressFamily) -> socket.AddressFamily:
    known = {4: socket.AF_INET, 6: socket.AF_INET6}
    return known.get(ip_address(address.partition("%")[0]).version, asked)


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system what a name means."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


async def resolved(url: str, resolve: Resolve, *, private: bool) -> tuple[str, ...]:
    """Give the addresses that a request to *url* may connect to.

    Raises DefinitionError where one of them is not public and *private* ones are not allowed, and OSError
    where there is none.
    """
    target = URL(url)
    host, port = target.host or "", target.port or 0
    if target.scheme != "https" and not (private and target.scheme == "http"):
        raise DefinitionError(f"A webhook to {host} has to be https: nobody else may read or change it.")
    try:
        addresses: Sequence[str] = (str(ip_address(host)),)
    except ValueError:
        addresses = await resolve(host, port)
    if not addresses:
        raise OSError(f"{host} has no address")
    refused = [address for address in addresses if not private and not is_public(address)]
    if refused:
        raise DefinitionError(
            f"{host} is {refused[0]}, which is not a public address: if it is yours, set `allow_private`."
        )
    return tuple(addresses)


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, an IPv4 one in IPv6 clothes included."""
    address = ip_address(text.partition("%")[0])
    inner = [
        one
        for one in (
            getattr(address, "ipv4_mapped", None),
            getattr(address, "sixtofour", None),
            *(getattr(address, "teredo", None) or ()),
        )
        if one is not None
    ]
    if inner:
        return all(is_public(str(one)) for one in inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
