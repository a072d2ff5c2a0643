"""Spot beside futures: which pair belongs to a contract, and what becomes of a market that cannot be had."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from klinehub.domain.kline import Scale
from klinehub.domain.listing import SPOT, Listing
from klinehub.domain.timeframe import in_order
from klinehub.errors import DefinitionError, Unreachable
from klinehub.feed import spot as module
from klinehub.feed.decisions import BarClosed, Decisions
from klinehub.feed.spot import Choose, Followed, Pair, Spot, pairs_of
from klinehub.panel.pairs import PAIR_FIELDS
from klinehub.panel.panel import Panel
from klinehub.panel.ring import Ring


def contract(base: str, *, quote: str = "USDT", underlying: str = "COIN") -> Listing:
    return listed(base, quote=quote, kind="PERPETUAL", underlying=underlying)


def listed(
    base: str, *, quote: str = "USDT", kind: str = SPOT, status: str = "TRADING", underlying: str = "COIN"
) -> Listing:
    return Listing(
        symbol=f"{base}{quote}",
        pair=f"{base}{quote}",
        contract_type=kind,
        status=status,
        base_asset=base,
        quote_asset=quote,
        onboard_time=0,
        price_decimals=8,
        quantity_decimals=8,
        underlying_type=underlying,
    )


@pytest.mark.parametrize(
    ("base", "spot", "pair"),
    [
        ("BTC", ["BTC"], Pair("BTCUSDT", 1)),
        ("1000PEPE", ["PEPE"], Pair("PEPEUSDT", 1_000)),
        ("1000000MOG", ["MOG", "000MOG"], Pair("MOGUSDT", 1_000_000)),
        ("1MBABYDOGE", ["BABYDOGE"], Pair("BABYDOGEUSDT", 1_000_000)),
        ("1MBABYDOGE", ["1MBABYDOGE", "BABYDOGE"], Pair("1MBABYDOGEUSDT", 1)),
        ("1000SATS", ["1000SATS", "SATS"], Pair("1000SATSUSDT", 1)),
        ("1INCH", ["INCH", "1INCH"], Pair("1INCHUSDT", 1)),
        ("1000", ["", "1000"], Pair("1000USDT", 1)),
        ("ABC", ["ABCD", "AB"], None),
        ("PEPE", ["1000PEPE"], None),
        ("币安人生", ["币安人生"], Pair("币安人生USDT", 1)),
    ],
)
def test_a_contract_finds_its_pair_by_name(base: str, spot: list[str], pair: Pair | None) -> None:
    found = pairs_of([contract(base)], [listed(name) for name in spot])

    assert found == ({} if pair is None else {f"{base}USDT": pair})


def test_only_pairs_that_trade_against_the_same_asset_are_taken() -> None:
    spot = [listed("BTC", quote="USDC"), listed("ETH", status="BREAK"), listed("TSLA")]
    contracts = [contract("BTC"), contract("ETH"), contract("TSLA", underlying="EQUITY")]

    assert pairs_of(contracts, spot) == {}
    assert pairs_of([contract("BTC", quote="USDC")], spot) == {"BTCUSDC": Pair("BTCUSDC", 1)}


class Market:
    """A spot market that follows what was chosen and has nothing yet."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.ring = Ring(in_order(["1m"]), rows=4, bars=8)
        for symbol in symbols:
            self.ring.add(symbol, Scale(8, 8, 8))

    def panel(self, timeframe: str) -> Panel:
        return self.ring.panel(timeframe)

    def get_stats(self) -> dict[str, int | float | str]:
        return {"symbols": len(self.ring.symbols), "hits": 7}


class Place:
    """A futures ring, and a spot market that cannot be opened the first *failures* times."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.ring = Ring(in_order(["1m"]), rows=4, bars=8, beside=PAIR_FIELDS)
        self.ring.add("1000PEPEUSDT", Scale(8, 8, 8))
        self.failures = failures
        self.error = error or Unreachable("nobody is there")
        self.opened = 0
        assert self.ring.beside is not None
        self.spot = Spot(self.ring, self.ring.beside, lambda: [contract("1000PEPE")], self.open)

    @asynccontextmanager
    async def open(self, choose: Choose, on_news: Callable[[Decisions], None]) -> AsyncIterator[Followed]:
        self.opened += 1
        if self.opened <= self.failures:
            raise self.error
        yield Market(choose([listed("PEPE"), listed("BTC")]))
        on_news(Decisions(closed=[BarClosed("1m", 1, 60_000, complete=True, missing=())]))


async def test_spot_is_tried_again_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.0)
    place = Place(failures=2)
    with pytest.raises(DefinitionError, match=r"not there yet, it is still starting"):
        place.spot.panel("1m")
    running = asyncio.ensure_future(place.spot.run())
    await asyncio.sleep(0)
    with pytest.raises(DefinitionError, match="nobody is there"):
        place.spot.panel("1m")
    assert place.spot.stats() == {"spot_trouble": "nobody is there"}
    for _ in range(20):
        await asyncio.sleep(0)

    assert place.spot.panel("1m").symbols == ("PEPEUSDT",)
    assert place.spot.stats() == {"spot_trouble": "", "spot_symbols": 1}
    running.cancel()
    await asyncio.wait([running])


async def test_a_bug_is_no_trouble_of_the_network() -> None:
    place = Place(failures=1, error=ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await place.spot.once()


async def test_news_of_timeframes_that_are_not_kept_are_left_alone() -> None:
    place = Place()
    await place.spot.once()
    other: Any = Decisions(closed=[BarClosed("5m", 1, 300_000, complete=True, missing=())])

    place.spot._on_news(other)
    assert place.spot.market is not None
