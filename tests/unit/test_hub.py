"""The hub without a network: what it refuses, and what it does with its subscribers."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from klinehub.domain.clock import Clock
from klinehub.domain.listing import Listing
from klinehub.domain.resident import resident_bytes
from klinehub.errors import DefinitionError, UnknownName, Unreachable
from klinehub.feed.decisions import BarClosed, Decisions
from klinehub.feed.subscribers import MOST_PENDING
from klinehub.hub import Hub
from klinehub.settings import HubSettings
from klinehub.sim.loop import SimLoop, SimNetwork, run


def a_hub(seconds: Callable[[], float] = lambda: 0.0, **settings: Any) -> Hub:
    wanted = HubSettings(
        rest_url="http://127.0.0.1:1", stream_url="ws://127.0.0.1:1/market/stream", **settings
    )
    return Hub(wanted, clock=Clock(1_700_000_000_000, 1.0, seconds), network=SimNetwork(), jitter=lambda: 0.0)


def laid_out() -> Hub:
    """A hub of one symbol that has not asked the exchange for anything."""
    hub = a_hub()
    hub.symbols = ("BTCUSDT",)
    hub.listings = {
        "BTCUSDT": Listing("BTCUSDT", "BTCUSDT", "PERPETUAL", "TRADING", "BTC", "USDT", 0, 2, 3),
    }
    hub._lay_out()
    hub._restore()
    return hub


def close(bar: int) -> Decisions:
    return Decisions(closed=[BarClosed("1m", bar, bar * 60_000, complete=True, missing=())])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"timeframes": ()}, "at least one timeframe"),
        ({"bars": 0}, "`bars` is 0: it has to be from 1 to 1499"),
        ({"batch": 0}, "`batch` is 0"),
        ({"share": 1.5}, "share"),
        ({"weight_limit": 0}, "weight_limit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        a_hub(**settings)


def test_an_unknown_timeframe_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match="Did you mean '15m'"):
        a_hub(timeframes=("1m", "15min"))


def test_timeframes_are_kept_in_order_once_each() -> None:
    assert [tf.name for tf in a_hub(timeframes=("1h", "1m", "1h")).timeframes] == ["1m", "1h"]


def test_a_hub_says_that_it_is_not_started() -> None:
    assert repr(a_hub()) == "<Hub not started>"


def test_without_an_exchange_it_says_what_failed_and_leaves_nothing_behind() -> None:
    async def main(loop: SimLoop) -> int:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
            async with a_hub(loop.time):
                raise AssertionError("it started")
        return len(asyncio.all_tasks())

    assert run(main) == 1


async def test_every_subscriber_gets_every_close() -> None:
    hub = laid_out()
    readers = [hub.closes() for _ in range(3)]
    first = [asyncio.ensure_future(anext(reader)) for reader in readers]
    await asyncio.sleep(0)
    for bar in range(3):
        hub._take(close(bar))

    assert [(await one).bar for one in first] == [0, 0, 0]
    for reader in readers:
        assert [(await anext(reader)).bar for _ in range(2)] == [1, 2]


async def test_a_subscriber_that_leaves_is_forgotten() -> None:
    hub = laid_out()
    reader = hub.closes()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    hub._take(close(0))
    await waiting
    await reader.aclose()

    assert len(hub._subscribers) == 0
    hub._take(close(1))


async def test_a_slow_subscriber_does_not_hold_up_a_fast_one() -> None:
    hub = laid_out()
    slow, fast = hub.closes(), hub.closes()
    begun = [asyncio.ensure_future(anext(one)) for one in (slow, fast)]
    await asyncio.sleep(0)
    hub._take(close(0))
    await asyncio.gather(*begun)
    got = []
    for bar in range(1, MOST_PENDING + 20):
        hub._take(close(bar))
        got.append((await anext(fast)).bar)

    assert got == list(range(1, MOST_PENDING + 20))
    assert len(hub._subscribers) == 1


def test_memory_is_that_of_this_process() -> None:
    assert 20 << 20 < resident_bytes() < 64 << 30
