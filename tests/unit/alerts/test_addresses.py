"""Targets of webhooks: nothing but the public internet, however an address is written."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from klinehub.alerts.addresses import Pinned, is_public, resolved, system_resolve
from klinehub.errors import DefinitionError

PUBLIC = "93.184.216.34"
PRIVATE = (
    "127.0.0.1",
    "127.255.1.2",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:7f00:1::",
    "fc00::1",
    "fe80::1%eth0",
    "ff02::1",
)


def told(*addresses: str) -> "asyncio.Future[Sequence[str]]":
    found: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
    found.set_result(addresses)
    return found


@pytest.mark.parametrize("address", PRIVATE)
async def test_an_address_that_is_not_public_is_refused_however_it_is_reached(address: str) -> None:
    assert not is_public(address)

    literal = f"[{address.partition('%')[0]}]" if ":" in address else address
    for url in ("https://hooks.example.com/x", f"https://{literal}/x"):
        with pytest.raises(DefinitionError, match="not a public address"):
            await resolved(url, lambda _host, _port: told(address), private=False)


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:2800:220:1::1", "::ffff:93.184.216.34", "2002:5db8:d822::"]
)
async def test_a_public_address_is_fine(address: str) -> None:
    found = await resolved("https://hooks.example.com/x", lambda _host, _port: told(address), private=False)

    assert found == (address,)


@pytest.mark.parametrize(
    "host",
    [
        "0x7f.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "localhost",
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_what_the_system_makes_of_a_name_is_what_counts(host: str) -> None:
    with pytest.raises((DefinitionError, OSError)):
        await resolved(f"https://{host}/x", system_resolve, private=False)


async def test_digits_that_only_look_other_are_the_same_address() -> None:
    with pytest.raises(DefinitionError, match=r"127\.0\.0\.1"):
        await resolved("https://\uff11\uff12\uff17.0.0.1/x", lambda _host, _port: told(PUBLIC), private=False)


async def test_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"10\.0\.0\.1"):
        await resolved(
            "https://mixed.example.com/", lambda _host, _port: told(PUBLIC, "10.0.0.1"), private=False
        )


async def test_private_targets_and_plain_http_are_for_those_that_are_allowed() -> None:
    with pytest.raises(DefinitionError, match="has to be https"):
        await resolved("http://hooks.example.com/", lambda _host, _port: told(PUBLIC), private=False)

    assert await resolved("http://127.0.0.1:9000/x", system_resolve, private=True) == ("127.0.0.1",)


async def test_a_name_without_an_address_is_no_target() -> None:
    with pytest.raises(OSError, match="no address"):
        await resolved("https://nowhere.example.com/", lambda _host, _port: told(), private=False)


async def test_who_connects_is_given_what_was_checked_whatever_the_name_means_now() -> None:
    pinned = Pinned([PUBLIC, "::1"])

    found = await pinned.resolve("flips.example.com", 443)

    assert [(one["host"], one["port"], one["family"]) for one in found] == [
        (PUBLIC, 443, socket.AF_INET), ("::1", 443, socket.AF_INET6),
    ]  # fmt: skip
