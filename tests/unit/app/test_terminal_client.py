"""The client of a board: it connects, says what is wrong, and comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.app.fake_board import START, FakeHub, at_door, at_port

from klinehub.app.terminal.client import FIRST_PAUSE, LONGEST_PAUSE, Bar, BoardClient, Link, Place, place_of
from klinehub.app.terminal.messages import Message, Table
from klinehub.errors import DataError, DefinitionError, FeedError, KlinehubError, NoHub, Unreachable
from klinehub.serve.board.messages import Hello, ViewAsked

NAMES = ("AUSDT", "BUSDT")


async def first(heard: AsyncIterator[Message | Link], kind: type) -> Message | Link:
    """Give the first of a kind that is heard."""
    async with asyncio.timeout(10):
        async for one in heard:
            if isinstance(one, kind):
                return one
    raise AssertionError("the client ended")


async def lost(heard: AsyncIterator[Message | Link]) -> Link:
    """Give how the line was lost."""
    while True:
        one = await first(heard, Link)
        assert isinstance(one, Link)
        if not one.up:
            return one


async def test_a_client_connects_asks_and_hears(tmp_path: Path) -> None:
    hub = FakeHub(NAMES)
    async with at_door(hub, tmp_path / "hub"), BoardClient(Place(tmp_path / "hub"), lambda: 0.0) as client:
        heard = client.heard()
        assert await anext(heard) == Link(up=True)
        assert isinstance(await anext(heard), Hello)

        await client.send(ViewAsked(id=1, timeframe="15m", columns=("rsi",)))
        await first(heard, Table)

    assert [one["columns"] for one in hub.asked] == [["rsi"]]


async def test_a_line_that_is_lost_is_tried_again(tmp_path: Path) -> None:
    hub = FakeHub(NAMES)
    async with at_door(hub, tmp_path / "hub"), BoardClient(Place(tmp_path / "hub"), lambda: 0.0) as client:
        heard = client.heard()
        await first(heard, Hello)

        await hub.cut()

        down = await lost(heard)
        assert (str(down.error), down.tries, down.pause) == ("The hub has gone away.", 1, FIRST_PAUSE / 2)
        assert isinstance(await first(heard, Hello), Hello)


async def test_pauses_grow_and_are_jittered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    hub, jitter = FakeHub(NAMES), iter([0.0, 1.0] * 10)
    async with at_door(hub, tmp_path / "hub"):
        client = await BoardClient(Place(tmp_path / "hub"), lambda: next(jitter)).__aenter__()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    heard, links = client.heard(), list[Link]()
    while len(links) < 8:
        links.append(await lost(heard))
    await client.__aexit__()

    assert [one.pause for one in links[:4]] == [0.25, 1.0, 1.0, 4.0]
    assert links[-1].pause == LONGEST_PAUSE
    assert slept == [one.pause for one in links[:-1]]
    assert isinstance(links[-1].error, NoHub)


async def test_a_hub_that_says_nothing_is_gone(tmp_path: Path) -> None:
    hub = FakeHub(NAMES)
    async with (
        at_door(hub, tmp_path / "hub"),
        BoardClient(Place(tmp_path / "hub"), lambda: 0.0, quiet=0.05) as client,
    ):
        heard = client.heard()
        await first(heard, Hello)

        assert str((await lost(heard)).error) == "Nothing was heard for 0.05 s."


async def test_another_protocol_is_told(tmp_path: Path) -> None:
    hub = FakeHub(NAMES)
    hub.hello["protocol"] = 2
    async with at_door(hub, tmp_path / "hub"), BoardClient(Place(tmp_path / "hub"), lambda: 0.0) as client:
        down = await lost(client.heard())

    assert isinstance(down.error, DataError)
    assert "protocol 2" in str(down.error)


async def test_a_secret_is_shown_by_header_and_by_path() -> None:
    hub = FakeHub(NAMES)
    async with at_port(hub) as url:
        for place in (place_of(url, "s3cret"), place_of(f"{url}/c/secret/", "")):
            async with BoardClient(place, lambda: 0.0) as client:
                await first(client.heard(), Hello)
                bars = await client.bars("AUSDT", "15m", 3)
                assert bars[0] == Bar(START, 1.0, 1.2, 0.9, 1.1, 100.0)

    assert [one.get("Authorization") for one in hub.headers] == ["Bearer s3cret", None]


async def test_bars_come_by_the_door_too(tmp_path: Path) -> None:
    async with (
        at_door(FakeHub(NAMES), tmp_path / "hub"),
        BoardClient(Place(tmp_path / "hub"), lambda: 0.0) as client,
    ):
        assert (await client.bars("AUSDT", "15m", 2))[0] == Bar(START, 1.0, 1.2, 0.9, 1.1, 100.0)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, DefinitionError, "KLINEHUB_SERVE_TOKEN"),
        (404, FeedError, "serves no board"),
        (421, DefinitionError, "serve.allowed_hosts"),
        (503, FeedError, "warming up"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, kind: type[KlinehubError], said: str) -> None:
    hub = FakeHub(NAMES)
    hub.status = status
    async with at_port(hub) as url:
        with pytest.raises(kind, match=said) as refused:
            async with BoardClient(place_of(f"{url}/c/secret", ""), lambda: 0.0):
                pass

    assert "/c/secret" not in str(refused.value)


async def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoHub, match="klinehub run"):
        async with BoardClient(Place(tmp_path / "hub"), lambda: 0.0):
            pass
    async with at_port(FakeHub(NAMES)) as url:
        pass
    with pytest.raises(Unreachable, match="does not answer"):
        async with BoardClient(place_of(url, ""), lambda: 0.0):
            pass


@pytest.mark.parametrize("url", ["", "localhost:8787", "ftp://hub", "http://", "http://hub:x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match="--url"):
        place_of(url, "")
