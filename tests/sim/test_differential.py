"""Random requests, valid and not, put to the hub and to the exchange at the same moment: the same answers.

What is documented to differ (docs/bots.md) is left out here and nowhere else: tickers and marks are those of
the last whole second, so that they are asked for right after one, without the times that they bear and the
index prices that move meanwhile; and what is refused before it reaches the exchange, since a
firewall might take offence, or an account be meant. `make differential` asks 10,000, here are a part of them.
"""

import asyncio
import json
import os
import random
from typing import Any, Final

import pytest
from tests.sim.served import Counter, at_counter
from tests.sim.worlds import HOUR, Place

from klinehub.domain.timeframe import TIMEFRAMES

pytestmark = pytest.mark.timeout(900)
COUNT: Final = int(os.environ.get("DIFFERENTIAL", "600"))
KLINES: Final = ("/fapi/v1/klines", "/fapi/v1/continuousKlines")
OTHERS: Final = (
    *("/fapi/v1/ping", "/fapi/v1/time", "/fapi/v1/exchangeInfo", "/fapi/v1/ticker/24hr"),
    *("/fapi/v1/ticker/price", "/fapi/v2/ticker/price", "/fapi/v1/premiumIndex", "/fapi/v1/openInterest"),
    *(
        "/fapi/v1/fundingInfo",
        "/api/v3/ping",
        "/api/v3/time",
        "/fapi/v1/nothing",
        "/fapi/v9/klines",
        "/fapi/",
    ),
)
ODD_SYMBOLS: Final = (
    "",
    "NOPEUSDT",
    "BTC/USDT",
    "btcusdt",
    "龙虾",
    "'; DROP",
    "BTCUSDT ",
    "%00",
    "BTC-USDT",
    "A" * 41,
)
ODD_NUMBERS: Final = (
    "",
    "0",
    "-1",
    "1.5",
    "ten",
    "1e3",
    "99999999999999999999",
    "999999999999999999999",
    "١٢",
)
TOLD_EACH_SECOND: Final = ("/ticker/", "/premiumIndex")
TRIES: Final = 3
TOLD_WHEN: Final = ("time", "serverTime", "openTime", "closeTime", "indexPrice", "estimatedSettlePrice")


class Asking:
    """Draws requests; a fifth of them has something wrong with it."""

    def __init__(self, seed: int, symbols: list[str]) -> None:
        self._dice = random.Random(seed)
        self._symbols = symbols

    def request(self, now: int) -> tuple[str, list[tuple[str, str]]]:
        """Give a path and its parameters."""
        dice = self._dice
        path = dice.choice(KLINES if dice.random() < 0.75 else OTHERS)
        asked = self._klines(path, now) if path in KLINES else self._other()
        if dice.random() < 0.2:
            self._spoil(asked)
        return path, asked

    def _klines(self, path: str, now: int) -> list[tuple[str, str]]:
        dice, symbol = self._dice, self._dice.choice(self._symbols)
        frame = dice.choice([*TIMEFRAMES, "1m", "5m", "15m", "1h"])
        length = TIMEFRAMES[frame].milliseconds
        named = [("symbol", symbol)]
        if path.endswith("continuousKlines"):
            kind = dice.choice(["PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL"])
            named = [("pair", symbol.partition("_")[0]), ("contractType", kind)]
        asked = [*named, ("interval", frame)]
        if dice.random() < 0.7:
            asked.append(("limit", str(dice.choice([1, 2, 10, 29, 30, 31, 100, dice.randint(1, 1500)]))))
        begin = now - dice.randint(-2, 60) * length + dice.choice([-1, 0, 1, dice.randint(0, length)])
        if dice.random() < 0.4:
            asked.append(("startTime", str(begin)))
        if dice.random() < 0.4:
            asked.append(("endTime", str(begin + dice.randint(-3, 40) * length)))
        return asked

    def _other(self) -> list[tuple[str, str]]:
        return [("symbol", self._dice.choice(self._symbols))] if self._dice.random() < 0.6 else []

    def _spoil(self, asked: list[tuple[str, str]]) -> None:
        dice = self._dice
        at = dice.randrange(len(asked)) if asked else -1
        name = asked[at][0] if asked else "symbol"
        values = ODD_NUMBERS if name in {"limit", "startTime", "endTime"} else ODD_SYMBOLS
        match dice.randrange(4):
            case 0 if asked:
                asked.pop(at)
            case 1 if asked:
                asked[at] = (name, dice.choice(values))
            case 2 if asked:
                asked.append(asked[at])
            case _:
                asked.append((dice.choice(["recvWindow", "foo", "symbols", "limit"]), dice.choice(values)))


def refused(answer: tuple[int, bytes]) -> bool:
    """Whether the hub would not pass a request on."""
    told = json.loads(answer[1])
    return answer[0] in {400, 403} and isinstance(told, dict) and told["code"] in {-1100, -1002}


def plain(body: bytes) -> Any:
    """Give a body without what is documented to differ."""
    told = json.loads(body)
    for one in told if isinstance(told, list) else [told]:
        if isinstance(one, dict):
            for name in TOLD_WHEN:
                one.pop(name, None)
    return told


async def equal(counter: Counter, path: str, params: list[tuple[str, str]]) -> bool:
    """Whether both answer the same, at one of a few moments: what tells the hub may be late at one."""
    for _ in range(TRIES):
        await counter.after_a_beat(1_000 if any(part in path for part in TOLD_EACH_SECOND) else 250)
        urls = (counter.world.served.rest_url, counter.url)
        exchange, hub = await asyncio.gather(*(counter.get(url, path, params) for url in urls))
        if path not in KLINES and refused(hub):
            return True
        if (exchange[0], plain(exchange[1])) == (hub[0], plain(hub[1])):
            return True
    return False


@pytest.mark.parametrize("seed", [1])
def test_the_hub_answers_as_the_exchange_does(seed: int) -> None:
    async def test(counter: Counter) -> None:
        world = counter.world
        listed = [one.symbol for one in world.served.exchange.source.listings()]
        asking = Asking(seed, [*listed, *world.hub.symbols])
        different = []
        await counter.until(90)
        for _ in range(COUNT):
            path, params = asking.request(world.clock.now())
            if not await equal(counter, path, params):
                different.append((path, params))

        assert different == []

    at_counter(
        test, tickers=True, place=Place(symbols=12, limit=1_000_000, churn_hours=24), start=HOUR, seed=seed
    )
