"""The board's live connection on virtual time: what a page is told of a hub that is live."""

import asyncio
from typing import Any, Final

from tests.sim.served import Lent, lend
from tests.sim.viewing import looking

FRAMES: Final[dict[str, Any]] = {"timeframes": ("1m", "5m", "15m", "1h"), "bars": 499, "tickers": True}


def test_a_page_is_told_everything_that_it_begins_with() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            table = await page.table("rsi", "rank(rsi)")
            await page.next("prices")

            assert [one["type"] for one in page.got[:2]] == ["hello", "symbols"]
            assert {"stale", "health", "prices", "spark"} <= {one["type"] for one in page.got}
            assert [one["symbol"] for one in page.last("symbols")["symbols"]] == list(lent.world.hub.symbols)
            assert set(table["values"]) == {"rsi", "rank(rsi)"}
            assert None not in table["values"]["rsi"]

    lend(test, **FRAMES)


def test_a_table_comes_at_each_close() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            first = await page.table("rsi", timeframe="1m")
            await lent.until(125)
            await asyncio.sleep(1)

            assert [one["bar"] - first["bar"] for one in page.of("table")] == [0, 1, 2]

    lend(test, **FRAMES)
