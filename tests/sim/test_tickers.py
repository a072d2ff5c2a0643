"""Tickers and marks of the unmodified hub on virtual time: as the exchange prints them, whatever happens."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final
from unittest.mock import patch

import msgspec
import pytest
from tests.sim.test_market_data import without
from tests.sim.worlds import SYMBOLS, Place, World, play

from klinehub.dialect.params import Rejected
from klinehub.dialect.prices import day_ticker, mark_event, mark_price, mini_ticker_event, ticker_event
from klinehub.dialect.rest import Rest
from klinehub.dialect.tally import Tally
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts
from klinehub.feed.silence import SILENT
from klinehub.feed.tickers import ASK_AGAIN, NEVER, Tickers
from klinehub.serve.source import HubSource
from klinehub.sim.rest import SimRest

pytestmark = pytest.mark.timeout(120)

DAYS: Final = "/fapi/v1/ticker/24hr"
MARKS: Final = "/fapi/v1/premiumIndex"
PRICES: Final = "/fapi/v1/ticker/price"


def tickers(made: World) -> Tickers:
    found = made.hub.live.tickers
    assert found is not None
    return found


def told(made: World, path: str, **query: str) -> Any:
    """Give what the exchange answers now."""
    rest: Any = made.served.exchange.rest
    return msgspec.json.decode(rest.routes[path](rest, query))


def plain(body: Any) -> Any:
    """Give a body as a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(body))


def timeless(bodies: Any) -> Any:
    """Leave out when a mark was told: REST prints the time at which it is asked."""
    return [body | {"time": 0} for body in plain(bodies)]


async def next_tickers(made: World) -> list[MiniTexts]:
    """Wait for the next tick and give the tickers of its frame."""
    kept, came = tickers(made), asyncio.Event()
    rows: list[MiniTexts] = []

    def take(some: Sequence[MiniTexts]) -> None:
        rows[:] = some
        came.set()

    kept.on_tickers.append(take)
    await came.wait()
    kept.on_tickers.remove(take)
    await asyncio.sleep(0.02)
    return rows


def assert_true(made: World, rows: Sequence[MiniTexts]) -> None:
    """Hold what is kept against the exchange, a moment after a tick that told *rows*."""
    table = tickers(made).table
    for row in rows:
        assert plain(day_ticker(row)) == told(made, DAYS, symbol=row.symbol)  # type: ignore[arg-type]
        assert table.day(row.symbol) == table.mini(row.symbol) == row
    assert [one.symbol for one in table.days()] == [one["symbol"] for one in told(made, DAYS)]
    assert timeless([mark_price(one) for one in table.marks()]) == timeless(told(made, MARKS))
    assert {one.symbol: one.last for one in table.minis()} == {
        one["symbol"]: one["lastPrice"] for one in told(made, DAYS)
    }
    if rows:
        # Its time is that of the telling, and so not that of the trade.
        assert {one.symbol: one.price for one in table.last_trades()} == {
            one["symbol"]: one["price"] for one in told(made, PRICES)
        }


def ages(made: World) -> list[int]:
    kept, now = tickers(made), made.hub.now()
    return [now - as_of for as_of in (kept.days_as_of, kept.minis_as_of, kept.marks_as_of)]


def noted(asked: list[tuple[float, str]], seconds: Callable[[], float]) -> Any:
    """Note from now on when each path was asked for."""

    def note(path: str, answer: Any) -> Any:
        def noting(*given: Any) -> Any:
            asked.append((seconds(), path))
            return answer(*given)

        return noting

    routes = SimRest.routes
    return patch.dict(routes, {path: note(path, routes[path]) for path in (DAYS, MARKS)})


def test_what_is_kept_is_what_the_exchange_prints() -> None:
    async def act(made: World) -> None:
        for _ in range(3):
            await asyncio.sleep(7.3)
            rows = await next_tickers(made)
            assert len(rows) > 0
            assert_true(made, rows)
            assert max(ages(made)) < 1_100
        stats = made.hub.get_stats()
        odd = ("ticker_unread", "ticker_astray", "ticker_late", "ticker_failures", "ticker_reconnects")
        assert {name: stats[name] for name in odd} == dict.fromkeys(odd, 0)
        assert 0.0 <= stats["ticker_age"] < 1.1  # type: ignore[operator]
        assert stats["tickers"] == len(told(made, DAYS)) > SYMBOLS

    play(act, tickers=True)


def test_frames_are_passed_on_as_the_exchange_parts_them() -> None:
    async def act(made: World) -> None:
        kept, board = tickers(made), made.served.exchange.board
        got: list[Any] = []
        sent: list[Any] = []
        kept.on_tickers.append(lambda rows: got.append([ticker_event(row, row.time) for row in rows]))  # type: ignore[arg-type]
        kept.on_marks.append(lambda rows: got.append([mark_event(row, row.time) for row in rows]))
        publish = board.publish

        def noting(name: str, payloads: Any) -> None:
            frames = list(payloads)
            if name.startswith("!"):
                sent.extend(msgspec.json.decode(frame) for frame in frames)
            publish(name, frames)

        await asyncio.sleep(5.5)
        got.clear()
        with patch.object(board, "publish", noting):
            await asyncio.sleep(10.0)
        ours = [[row for row in frame if row["st"] == 1] for frame in sent]
        assert len(ours) == 30
        assert any(len(frame) != len(all_) for frame, all_ in zip(ours, sent, strict=True))
        assert plain(got) == ours

    # With so many there are stocks among them, whose marks have a frame of their own.
    play(act, place=Place(symbols=40), tickers=True, symbols=("BTCUSDT",))


@pytest.mark.parametrize(("settings", "asked"), [({}, 1), ({"marks": True}, 2)], ids=["alone", "marks too"])
def test_one_seat_hears_all_and_the_reading_that_chose_the_universe_does(
    settings: dict[str, Any], asked: int
) -> None:
    paths: list[tuple[float, str]] = []

    async def act(made: World) -> None:
        await asyncio.sleep(60)
        seat = tickers(made).seat
        assert seat is not None
        assert set(seat.names) == {"!ticker@arr", "!markPrice@arr@1s"}
        assert len(made.streams) == 2
        if settings:
            assert made.hub.get_stats()["fresh_marks"] == SYMBOLS
            assert made.hub.live.market_data is not None
            assert made.hub.live.market_data.seat is seat
        assert max(ages(made)) < 1_100

    with noted(paths, lambda: 0.0):
        play(act, tickers=True, **settings)
    # What is kept beside klines reads its own.
    assert [path for _, path in paths] == [DAYS, *[MARKS] * asked]


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_what_changed_while_a_stream_was_lost_is_asked_for(fault: str) -> None:
    asked: list[tuple[float, str]] = []

    async def act(made: World) -> None:
        kept = tickers(made)
        await asyncio.sleep(40)
        before = kept.days_as_of
        with noted(asked, made.loop.time):
            lost = made.loop.time()
            getattr(made.streams[-1], fault)()
            await asyncio.sleep(0.3)
            assert kept.days_as_of <= before + 1_100
            await asyncio.sleep(9.7)
            assert [path for _, path in asked] == [DAYS, MARKS]
            assert all(time - lost < 5.0 for time, _ in asked)
            assert_true(made, await next_tickers(made))
            assert max(ages(made)) < 1_100
        assert made.hub.get_stats()["ticker_reconnects"] == 1
        assert made.hub.get_stats()["reconnects"] == 0

    play(act, tickers=True)


def test_silence_is_noticed_said_and_healed() -> None:
    asked: list[tuple[float, str]] = []

    async def act(made: World) -> None:
        exchange: Any = made.served.exchange
        await asyncio.sleep(40)
        silent = made.streams[-1]
        with patch.object(exchange._tellers, "tell", lambda *_: None), noted(asked, made.loop.time):
            for _ in range(14):
                await asyncio.sleep(10)
                assert max(ages(made)) < (SILENT + ASK_AGAIN + 5) * 1000
            assert 3 <= len([path for _, path in asked if path == DAYS]) <= 6
            assert (made.loop.time() - asked[-1][0]) * 1000 <= max(ages(made)) < ASK_AGAIN * 1000
            count = len(asked)
            for _ in range(2_000):
                await asyncio.sleep(0.02)
                if len(asked) == count + 2 and max(ages(made)) < 100:
                    break
            assert_true(made, [])
        assert silent not in made.streams
        await asyncio.sleep(ASK_AGAIN + 5)
        assert_true(made, await next_tickers(made))
        assert max(ages(made)) < 1_100
        assert made.hub.get_stats()["reconnects"] == 0

    play(act, tickers=True)


def test_a_stream_that_is_replaced_leaves_no_hole() -> None:
    asked: list[tuple[float, str]] = []

    async def act(made: World) -> None:
        kept = tickers(made)
        assert kept.seat is not None
        await asyncio.sleep(40)
        with noted(asked, made.loop.time):
            kept.seat.renew("it is due", overlap=True)
            for _ in range(30):
                await asyncio.sleep(1)
                assert max(ages(made)) < 2_100
        assert (kept.seat.rotations, asked) == (1, [])
        assert_true(made, await next_tickers(made))

    play(act, tickers=True)


def test_what_rest_refuses_is_counted_and_the_streams_do() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(70)
        kept = tickers(made)
        assert "An unknown error occurred" in str(made.hub.get_stats()["ticker_failure"])
        assert (kept.table.marks(), kept.marks_as_of, kept.days_as_of) == ([], NEVER, NEVER)
        assert {one.symbol for one in kept.table.days()} >= set(made.hub.symbols)

    with without("ticker/24hr", "premiumIndex"):
        play(act, tickers=True, symbols=("BTCUSDT", "ETHUSDT"))


def test_named_symbols_do_not_narrow_what_is_kept() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(10)
        assert_true(made, await next_tickers(made))
        assert max(ages(made)) < 1_100

    play(act, tickers=True, symbols=("BTCUSDT",))


def test_a_hub_without_streams_reads_everything_once() -> None:
    async def act(made: World) -> None:
        table = tickers(made).table
        assert [plain(day_ticker(one))["symbol"] for one in table.days()] == [
            one["symbol"] for one in told(made, DAYS)
        ]
        assert [one.symbol for one in table.marks()] == [one["symbol"] for one in told(made, MARKS)]
        assert made.streams == []

    play(act, tickers=True, streams=False)


def test_spot_is_told_in_short_and_read_in_full() -> None:
    path = "/api/v3/ticker/24hr"

    async def act(made: World) -> None:
        kept = tickers(made)
        assert kept.table.days()
        assert [one.symbol for one in kept.table.days()] == [one["symbol"] for one in told(made, path)]
        read = kept.days_as_of
        await asyncio.sleep(30.3)
        rows = await next_tickers(made)
        assert rows
        for row in rows:
            body = told(made, path, symbol=row.symbol, type="MINI")
            names = ("lastPrice", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume")
            assert [body[name] for name in names] == list(mini_ticker_event(row, row.time).values())[3:]
            assert kept.table.mini(row.symbol) == row
        assert kept.days_as_of == read < kept.minis_as_of
        day = kept.table.day("BTCUSDT")
        assert isinstance(day, DayTexts)
        assert list(day_ticker(day)) == list(told(made, path, symbol="BTCUSDT"))
        assert (kept.table.marks(), kept.marks_as_of) == ([], NEVER)
        assert set(kept.names) == {"!miniTicker@arr"}

    play(act, place=Place(spot=True, alone=True), tickers=True)


def test_a_hub_of_which_nothing_is_asked_keeps_none() -> None:
    async def act(made: World) -> None:
        assert made.hub.live.tickers is None
        assert not [name for name in made.hub.get_stats() if name.startswith("ticker")]

    play(act)


def test_what_is_delisted_is_not_given_any_more() -> None:
    async def act(made: World) -> None:
        table = tickers(made).table
        await asyncio.sleep(3)
        kept: Any = made.hub.listed.symbols
        made.hub.listed.symbols = {name: one for name, one in kept.items() if name != "BTCUSDT"}
        marks: list[MarkTexts] = []
        tickers(made).on_marks.append(marks.extend)
        await asyncio.sleep(3)
        gone: list[object] = [table.day("BTCUSDT"), table.mini("BTCUSDT"), table.mark("BTCUSDT")]
        assert gone == [None, None, None]
        assert "BTCUSDT" not in {one.symbol for one in table.days()}
        assert "BTCUSDT" not in {one.symbol for one in (*table.marks(), *marks)}

    play(act, tickers=True)


def test_the_drop_in_prints_what_the_exchange_prints() -> None:
    async def act(made: World) -> None:
        rest: Any = Rest(HubSource(made.hub), Tally(limits=False))
        await asyncio.sleep(10.3)
        rows = await next_tickers(made)
        for row in rows:
            query = {"symbol": row.symbol}
            assert rest.routes[DAYS](rest, query) == made.served.exchange.rest.routes[DAYS](
                made.served.exchange.rest, query
            )
        assert timeless(msgspec.json.decode(rest.routes[MARKS](rest, {}))) == timeless(told(made, MARKS))
        assert timeless(msgspec.json.decode(rest.routes[PRICES](rest, {}))) == timeless(told(made, PRICES))
        with pytest.raises(Rejected, match="Invalid symbol"):
            rest.routes[DAYS](rest, {"symbol": "NOBODY"})

    play(act, tickers=True)


def test_the_drop_in_has_nothing_to_say_where_nothing_is_kept() -> None:
    async def act(made: World) -> None:
        source = HubSource(made.hub)
        assert (source.tickers(), source.marks(), source.last_trades()) == ([], [], [])
        assert [source.ticker("BTCUSDT"), source.mini("BTCUSDT"), source.mark("BTCUSDT")] == [None] * 3

    play(act)
