"""The board of a running hub, over TCP and over the hub's own socket, until the hub is stopped."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from tests.e2e.conftest import started

pytestmark = pytest.mark.timeout(120)
VIEW = {"type": "view", "id": 1, "timeframe": "15m", "columns": ["rsi"]}


class Seen(NamedTuple):
    """The page, and of each connection its first table and the code that it ended with."""

    page: str
    tables: list[dict[str, Any]]
    codes: list[int | None]


def test_a_running_hub_shows_its_board_at_both_doors_until_it_is_stopped(
    at: list[str], tmp_path: Path
) -> None:
    with started("run", "--json", "--bars", "499", *at, folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        url = next(line.split()[1] for line in process.stderr if line.startswith("board: "))
        door = tmp_path / "klinehub" / "hub.sock"
        seen = asyncio.run(look(url, door, lambda: process.send_signal(signal.SIGINT)))
        _, errors = process.communicate(timeout=20)

    assert (process.returncode, "Traceback" in errors) == (130, False)
    assert seen.page.startswith("<!doctype html>")
    over_tcp, over_socket = seen.tables
    assert over_tcp["values"] == over_socket["values"]
    assert len(over_tcp["values"]["rsi"]) == over_tcp["layout"] == 12
    assert seen.codes == [1001, 1001]


async def look(url: str, door: Path, stop: Callable[[], None]) -> Seen:
    """Look at the board at both doors, and stop the hub meanwhile."""
    async with (
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(door))) as local,
        session.ws_connect(f"{url}/board/live") as one,
        local.ws_connect("http://hub/live") as two,
    ):
        async with session.get(url) as answer:
            page = await answer.text()
        tables = [await first_table(socket) for socket in (one, two)]
        stop()
        return Seen(page, tables, [await end(socket) for socket in (one, two)])


async def first_table(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    await socket.send_json(VIEW)
    while True:
        message: dict[str, Any] = json.loads(await socket.receive_str())
        if message["type"] == "table":
            return message


async def end(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read to the end; gives the code."""
    async for _ in socket:
        pass
    return socket.close_code
