"""One exchange behind ccxt: ranges of klines, its time, its throttle and its refusals."""

import time
from collections.abc import AsyncIterator

import pytest
from tests.unit.bridge.standin import START, StandIn, away, too_many, truth

from klinehub.bridge.library import exchange_of, moved, says
from klinehub.bridge.source import CcxtSource
from klinehub.bridge.upstream import Bar, ProvedClock, Upstream, bar_of
from klinehub.dialect.params import Rejected
from klinehub.dialect.tally import Refused
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import timeframe
from klinehub.errors import Banned, Blocked, DefinitionError, FeedError, UnknownName, Unreachable

MINUTE = timeframe("1m")
BTC = "BTC/USDT:USDT"


@pytest.fixture
async def exchange() -> AsyncIterator[StandIn]:
    made = StandIn(Clock(START, 1.0, time.monotonic))
    yield made
    await made.close()


def expected(first: int, last: int) -> list[Bar]:
    rows = (truth("BTC", "1m", index) for index in range(first, last + 1))
    return [Bar(int(row[0]), *row[1:]) for row in rows]


async def test_the_newest_bars_are_asked_for_page_by_page(exchange: StandIn) -> None:
    upstream, now = Upstream(exchange, exchange.market_clock), MINUTE.index(START)
    exchange.most = 120
    bars = await upstream.newest(BTC, MINUTE, 300, 1_000)

    assert bars[:-1] == expected(now - 299, now - 1)
    assert bars[-1].open_time == MINUTE.open_time(now)
    assert exchange.asked["klines"] == 3


async def test_a_history_that_begins_later_is_short(exchange: StandIn) -> None:
    upstream, now = Upstream(exchange, exchange.market_clock), MINUTE.index(START)
    exchange.absent = frozenset(("BTC", index) for index in range(now - 600, now - 9))
    bars = await upstream.newest(BTC, MINUTE, 100, 200)

    assert bars[:-1] == expected(now - 9, now - 1)
    assert exchange.asked["klines"] == 2


async def test_a_range_is_whole_though_an_answer_holds_fewer_rows_than_were_asked_for(
    exchange: StandIn,
) -> None:
    upstream, now = Upstream(exchange, exchange.market_clock), MINUTE.index(START)
    exchange.most = 150

    assert await upstream.between(BTC, MINUTE, now - 500, now - 101, 200) == expected(now - 500, now - 101)


async def test_a_bar_that_the_exchange_does_not_have_is_not_made_up(exchange: StandIn) -> None:
    upstream, now = Upstream(exchange, exchange.market_clock), MINUTE.index(START)
    exchange.absent = frozenset({("BTC", now - 5), ("BTC", now - 6)})
    bars = await upstream.between(BTC, MINUTE, now - 8, now - 3, 200)

    assert [MINUTE.index(bar.open_time) - now for bar in bars] == [-8, -7, -4, -3]
    assert exchange.asked["klines"] == 1


async def test_the_throttle_is_counted_as_weight(exchange: StandIn) -> None:
    upstream = Upstream(exchange, Clock(START // 60_000 * 60_000, 0.001, time.monotonic))
    await upstream.newest(BTC, MINUTE, 10, 1_000)
    await upstream.newest(BTC, MINUTE, 10, 1_000)

    assert (upstream.used, upstream.weight) == (2, 60_000 // 5)


async def test_what_ccxt_raises_is_answered_as_the_exchange_would(exchange: StandIn) -> None:
    upstream = Upstream(exchange, exchange.market_clock)
    exchange.failing = [too_many(), away()]
    with pytest.raises(Refused) as refused:
        await upstream.newest(BTC, MINUTE, 10, 1_000)
    with pytest.raises(Rejected) as broken:
        await upstream.newest(BTC, MINUTE, 10, 1_000)

    assert (refused.value.status, refused.value.code, refused.value.wait) == (429, -1003, 10)
    assert (broken.value.status, upstream.failures) == (503, 2)
    assert upstream.last_failure == "ccxt:standin raised ExchangeNotAvailable (503)"


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("RateLimitExceeded", 429, Banned),
        ("DDoSProtection", 429, Banned),
        ("RestrictedLocation", 451, Blocked),
        ("RequestTimeout", 503, Unreachable),
        ("BadResponse", 503, Unreachable),
        ("AuthenticationError", 401, FeedError),
        ("BadSymbol", 400, FeedError),
        ("ExchangeError", 400, FeedError),
    ],
)
async def test_each_error_has_a_status_and_a_kind(
    exchange: StandIn, name: str, status: int, kind: type
) -> None:
    from ccxt.base import errors

    trouble = Upstream(exchange, exchange.market_clock).trouble
    error = getattr(errors, name)("standin x")

    assert trouble.refusal(error, "standin", 3).status == status
    assert type(trouble.failure(error, "standin", START)) is kind


async def test_a_timeframe_that_the_exchange_does_not_have_is_refused(exchange: StandIn) -> None:
    with pytest.raises(DefinitionError, match="no 3m klines: choose --timeframes of 1m, 5m, 15m, 1h"):
        Upstream(exchange, exchange.market_clock).check([timeframe("1m"), timeframe("3m")])


def test_time_is_the_latest_that_was_surely_reached() -> None:
    ticks = [0.0]
    clock = ProvedClock(Clock(START, 1.0, lambda: ticks[0]))
    assert (clock.told, clock.now()) == (False, START)

    clock.learn(START - 700)
    clock.learn(START - 900)
    assert (clock.told, clock.now()) == (True, START - 700)
    ticks[0] = 700.0
    clock.learn(START + 698_000)
    assert clock.now() == START + 698_000


async def test_without_a_time_of_its_own_the_date_of_an_answer_tells_it() -> None:
    exchange = StandIn(Clock(START, 0.0, time.monotonic), tells_time=False)
    upstream = Upstream(exchange, exchange.market_clock)
    exchange.last_response_headers = {"Date": "Thu, 01 Jan 1970 00:00:07 GMT"}
    await upstream.newest(BTC, MINUTE, 1, 10)
    await exchange.close()

    assert upstream.clock.now() == 7_000


@pytest.mark.parametrize(
    "row",
    [
        [60_000, 1.0, 2.0, 0.5, 1.5],
        [60_000, None, 2.0, 0.5, 1.5, 1.0],
        [60_000, 1.0, 2.0, 0.5, 1.5, None],
        [60_000, 1.0, 0.9, 0.5, 1.5, 1.0],
        [60_000, 1.0, 2.0, 1.1, 1.5, 1.0],
        [60_000, 1.0, 2.0, 0.5, 1.5, -1.0],
        [60_000, 1.0, float("inf"), 0.5, 1.5, 1.0],
        [60_000, float("nan"), 2.0, 0.5, 1.5, 1.0],
        [60_001, 1.0, 2.0, 0.5, 1.5, 1.0],
    ],
)
def test_what_is_no_bar_is_set_aside(row: list[float]) -> None:
    assert bar_of(row, MINUTE) is None
    assert bar_of([60_000, 1.0, 2.0, 0.5, 1.5, 0.0], MINUTE) == Bar(60_000, 1.0, 2.0, 0.5, 1.5, 0.0)


def test_an_exchange_that_ccxt_does_not_have_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'ccxt:bybit'"):
        exchange_of("bybyt")


def test_without_ccxt_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    with pytest.raises(DefinitionError, match=r"pip install 'klinehub\[ccxt\]'"):
        exchange_of("bybit")


def test_addresses_keep_their_paths_at_another_host() -> None:
    urls = {"public": "https://api.{hostname}/v5", "ws": {"spot": "wss://s.x.com:9443/ws"}, "none": None}

    assert moved(urls, "http://127.0.0.1:1", "ws://127.0.0.1:2/market/stream") == {
        "public": "http://127.0.0.1:1/v5",
        "ws": {"spot": "ws://127.0.0.1:2/ws"},
        "none": None,
    }
    assert moved(urls, "", "") == urls


async def test_who_is_gone_from_the_listing_may_still_be_followed(exchange: StandIn) -> None:
    source = CcxtSource(Upstream(exchange, exchange.market_clock), "", "USDT")
    await source.open()
    exchange.gone = frozenset({"ETH"})
    assert not await source.renew()
    source._read_at = 0

    assert await source.renew()
    assert [one.symbol for one in source.listings()] == ["BTCUSDT", "PEPEUSDT"]
    assert (source.listing("ETHUSDT"), source.unified("ETHUSDT")) == (None, "ETH/USDT:USDT")
    assert source.digits("ETHUSDT").scale == (1, 3, 0)


async def test_a_turnover_that_is_not_told_is_the_volume_at_the_last_price(exchange: StandIn) -> None:
    source = CcxtSource(Upstream(exchange, exchange.market_clock), "swap", "USDT")
    await source.open()
    await source.read_tickers()
    await source.read_tickers()
    day = source.ticker("ETHUSDT")

    assert day is not None
    assert (day.last, day.volume, day.quote_volume) == ("100.5", "11", "1105.5")
    assert exchange.asked["tickers"] == 1


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        (None, {}),
        ("http://u:p@h:1", {"httpsProxy": "http://u:p@h:1", "wssProxy": "http://u:p@h:1"}),
        ("socks5://h:1", {"socksProxy": "socks5h://h:1", "wsSocksProxy": "socks5h://h:1"}),
    ],
)
async def test_ccxt_takes_the_proxy_for_everything(proxy: str | None, told: dict[str, str]) -> None:
    exchange = exchange_of("bybit", proxy=proxy)

    assert {name: getattr(exchange, name) for name in told} == told
    assert {getattr(exchange, name) for name in ("httpProxy", "wsProxy")} == {None}
    assert exchange.enableRateLimit is True


def test_no_password_is_repeated() -> None:
    error = ValueError("bybit GET http://user:secret@proxy:1/x\nfailed")

    assert says(error, "bybit") == "ccxt:bybit raised ValueError (GET http://***@proxy:1/x?failed)"
