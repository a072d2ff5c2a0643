"""Series and checks of a live hub on virtual time: expressions bar by bar, and what is wrong with a text."""

import asyncio
from contextlib import aclosing
from typing import Any, Final

import pytest
from tests.sim.served import Lent, lend
from tests.sim.worlds import HOUR

from klinehub.domain.timeframe import MINUTE
from klinehub.factors.language import parse
from klinehub.scan.presets import names
from klinehub.scan.running import Scan
from klinehub.scan.screen import Screen

pytestmark = pytest.mark.timeout(180)
WHOLE: Final[dict[str, Any]] = {"timeframes": ("1m", "5m", "15m", "1h"), "bars": 499}
# Of one symbol, of all symbols, of larger timeframes, against the benchmark, and the score.
TEXTS: Final = (
    *("rsi", "close / lag(close, 1)", "rank(rsi)", "zscore(volume_surge)", "rsi_5m", "rsi_1h"),
    *("rank(rsi_5m)", "relative_strength(20)", "score", "rsi > 50", "age > 30d"),
)


async def values(lent: Lent, *texts: str, **asked: Any) -> Any:
    """Ask for a series."""
    return (await lent.ask("/api/v1/series", columns=";".join(texts), **asked)).json


def test_a_series_is_what_the_scans_gave_bar_for_bar() -> None:
    async def test(lent: Lent) -> None:
        hub = lent.world.hub
        base = hub.scanning.base("1m")
        columns = {text: parse(text, names(base.score)) for text in TEXTS}
        screen = Screen(name="all", timeframe="1m", columns=columns, score=base.score)
        scans: list[Scan] = []

        async def follow() -> None:
            async with aclosing(hub.scans(screen)) as found:
                async for scan in found:
                    scans.append(scan)  # noqa: PERF401 - it never ends by itself

        following = asyncio.create_task(follow())
        await lent.until(6 * 60 + 5)
        following.cancel()
        results = [scan.result for scan in scans]
        assert len(results) >= 9
        # A full hour has closed on the way: the scans have seen two of its values.
        assert len({result.results[0].columns["rsi_1h"] for result in results}) == 2
        for symbol in hub.symbols:
            # Together, where one takes all symbols and so all are read; and one by one.
            asked = {"symbol": symbol, "timeframe": "1m", "limit": len(results)}
            together = await values(lent, *TEXTS, **asked)
            assert together["open_time"] == [result.bar_open_time for result in results]
            for text in TEXTS:
                given = [_hit(result, symbol).columns[text] for result in results]
                assert None not in given
                assert together["values"][text] == given, text
                assert (await values(lent, text, **asked))["values"][text] == given, text

    lend(test, start=HOUR - 4 * MINUTE + 5_000, **WHOLE)


def _hit(result: Any, symbol: str) -> Any:
    return next(hit for hit in result.results if hit.symbol == symbol)


def test_a_series_ends_where_it_is_asked_to_and_says_what_is_not_known() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(125)
        asked: dict[str, Any] = {"symbol": "ETHUSDT", "timeframe": "1m"}
        newest = await values(lent, "rsi", "close", **asked, limit=10)
        before = await values(lent, "rsi", "close", **asked, limit=4, end=newest["open_time"][-2])

        assert newest["open_time"][-1] == HOUR + MINUTE
        assert before["open_time"] == newest["open_time"][4:8]
        assert before["values"] == {name: given[4:8] for name, given in newest["values"].items()}
        long = await values(lent, "close", "rsi", **asked, limit=1_000)
        assert long["values"]["close"].count(None) > 400
        assert long["values"]["close"][-499:].count(None) == 0
        # Which needs more bars before it than there are.
        assert long["values"]["rsi"].count(None) > long["values"]["close"].count(None)

    lend(test, **WHOLE)


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"columns": "rsii"}, 404, "Did you mean 'rsi'"),
        ({"columns": "close;;close +"}, 400, "At the end"),
        ({"columns": " ; "}, 400, "give 1 to 40"),
        ({"columns": "rsi", "symbol": "BTCUSD"}, 404, "Did you mean 'BTCUSDT'"),
        ({"columns": "rsi", "timeframe": "4h"}, 404, "Unknown timeframe"),
        ({"columns": "rsi_4h"}, 400, "not kept"),
        ({"columns": "rsi", "limit": 1001}, 400, "limit"),
        ({"columns": "funding"}, 400, "switch `market.marks` on"),
    ],
)
def test_what_can_not_be_a_series_is_refused_in_words(asked: dict[str, Any], status: int, said: str) -> None:
    async def test(lent: Lent) -> None:
        usual = {"symbol": "BTCUSDT", "timeframe": "15m"}
        answer = await lent.ask("/api/v1/series", **(usual | asked))

        assert answer.status == status
        assert said in answer.json["message"]

    lend(test)


def test_a_text_is_checked_while_it_is_typed() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(65)

        async def check(**asked: Any) -> Any:
            answer = await lent.ask("/api/v1/check", **asked)
            assert answer.status == 200
            return answer.json

        good = await check(where="close > 0", timeframe="1m")
        assert good == {"ok": True, "message": "", "place": None, "hits": 4}
        some = await check(where="rank(close) > 0.5", timeframe="1m")
        scan = (await lent.ask("/api/v1/scan", where="rank(close) > 0.5", timeframe="1m")).json
        assert some["hits"] == scan["result"]["signals_found"] == 2
        wrong = await check(where="close > 0 and rsii < 3")
        assert (wrong["ok"], wrong["place"], wrong["hits"]) == (False, 14, None)
        assert "Did you mean 'rsi'" in wrong["message"]
        assert (await check(where="close"))["message"].startswith("`close` is a number, not a condition")
        assert await check(column="zscore(close)") == {"ok": True, "message": "", "place": None, "hits": None}
        assert (await check(column="zscore("))["place"] == 7
        assert "not kept" in (await check(column="close_4h"))["message"]
        assert (await check(where="close > 0", column="clos"))["place"] == 0
        assert (await check())["message"] == "Give `where` or `column`."

    lend(test, **WHOLE)
