"""The archive's listing and files over HTTP, with what goes wrong on the way."""

from hashlib import sha256
from itertools import pairwise

import pytest
from tests.proxies import ConnectProxy, running
from tests.unit.feed.archives import NOW, SPOT, archived, kline_file

from klinehub.domain.timeframe import DAY, timeframe
from klinehub.errors import Blocked, DataError, FeedError, ProxyError, Unreachable
from klinehub.feed.archive import Archive, digest_of, parse_listing
from klinehub.feed.archive_csv import read_klines
from klinehub.feed.archive_names import Kind, files_folder, symbols_folder
from klinehub.feed.archive_plan import FIRST_DAY, Series, choose, look
from klinehub.feed.archive_unpack import unpack
from klinehub.feed.network import RealNetwork

pytestmark = pytest.mark.timeout(120)
DAY_FILE = kline_file("BTCUSDT-1h-2026-09-01")


async def test_all_symbols_that_ever_traded_are_listed() -> None:
    async with archived() as scene:
        found = await scene.archive.symbols(symbols_folder("binance-usdm", Kind.KLINES))
        spot = await scene.archive.symbols(symbols_folder("binance-spot", Kind.KLINES))
    ended = [
        one.symbol for one in scene.market.instruments if one.end is not None and one.end < NOW - 9 * DAY
    ]

    assert list(found) == sorted(found)
    assert ended
    assert {*ended, "BTCUSDT", "币安人生USDT"} <= set(found)
    assert set(spot) <= set(SPOT.index)


async def test_a_long_listing_comes_in_pages() -> None:
    folder = files_folder("binance-usdm", "daily", Kind.KLINES, "BTCUSDT", timeframe("1d"))
    async with archived() as scene:
        found = await scene.archive.files(folder, until=NOW)
        pages = scene.server.asked["?"]
        later = await scene.archive.files(folder, since="2026-09-01", until=NOW)
        some = await scene.archive.files(folder, since="2026-09-01", until=NOW - 5 * DAY)
    days = [(one.end - one.start, one.start - before.start) for before, one in pairwise(found)]

    assert len(found) > 2_000
    assert pages == -(-2 * len(found) // 1_000)
    assert set(days) == {(DAY, DAY)}
    assert [one.name[11:21] for one in later[:2]] == ["2026-09-01", "2026-09-02"]
    assert some == later[: len(some)]
    assert len(some) == len(later) - 4


@pytest.mark.parametrize("market", ["binance-usdm", "binance-spot"])
@pytest.mark.parametrize("name", ["1m", "1h", "1w", "1M"])
async def test_files_hold_the_markets_own_bars(market: str, name: str) -> None:
    frame, start = timeframe(name), NOW - 60 * DAY
    async with archived() as scene:
        series = Series(Kind.KLINES, "BTCUSDT" if name != "1M" else "DOGEUSDT", frame)
        listed = await look(scene.archive, market, series, start, NOW)
        files = choose(series, listed, start, NOW, now=NOW, imported=(), alive=True).files
        truth = scene.market if market == "binance-usdm" else SPOT
        for file in (*files[:2], files[-1]):
            got = await scene.archive.fetch(file)
            assert got is not None
            assert got.verified
            text = unpack(file.name, got.data)
            found = read_klines(text, file.name, frame, now=NOW)
            first, last = frame.index(file.start - 1) + 1, frame.index(file.end - 1)
            bars = truth.klines(truth.index[file.symbol], frame, first, last, NOW)

            assert found.notes == ()
            assert found.exact.rows.tolist() == bars.rows.tolist()
            assert found.exact.scale == bars.scale
            assert text.startswith(b"open_time") == (market == "binance-usdm")
            assert len(text.splitlines()[-1].split(b",")[0]) == (13 if market == "binance-usdm" else 16)


async def test_a_listing_begins_where_no_month_is() -> None:
    series = Series(Kind.KLINES, "BTCUSDT", timeframe("1h"))
    async with archived() as scene:
        every = await look(scene.archive, "binance-usdm", series, FIRST_DAY, NOW)
        days = [one for one in every if one.end - one.start == DAY]

    assert days[0].name == "BTCUSDT-1h-2026-09-01.zip"


async def test_what_the_archive_does_not_have_is_none() -> None:
    async with archived() as scene:
        assert await scene.archive.fetch(kline_file("BTCUSDT-1h-2016-01-01")) is None
        assert await scene.archive.fetch(kline_file("NOSUCH-1h-2026-09-01")) is None
        assert await scene.archive.symbols("data/futures/um/daily/nothing/") == ()


async def test_names_that_are_not_ascii_are_found() -> None:
    file = kline_file("币安人生USDT-1h-2026-09-01")
    folder = files_folder("binance-usdm", "daily", Kind.KLINES, file.symbol, file.timeframe)
    async with archived() as scene:
        listed = await scene.archive.files(folder, since="2026-09-01", until=NOW)
        got = await scene.archive.fetch(file)

    assert listed[0].path == file.path
    assert got is not None
    assert got.verified


async def test_a_wrong_checksum_is_fetched_once_more() -> None:
    async with archived() as scene:
        scene.server.trouble.damaged[DAY_FILE.name] = 1
        got = await scene.archive.fetch(DAY_FILE)
        assert got is not None
        assert got.digest == sha256(got.data).hexdigest()
        assert scene.server.asked[DAY_FILE.path] == 2


async def test_a_checksum_that_stays_wrong_is_told() -> None:
    async with archived() as scene:
        scene.server.trouble.damaged[DAY_FILE.name] = 9
        with pytest.raises(DataError, match="does not fit its checksum, fetched twice"):
            await scene.archive.fetch(DAY_FILE)
        assert scene.server.asked[DAY_FILE.path] == 2


@pytest.mark.parametrize("statuses", [[500], [503, 502], [429], [408]])
async def test_bad_moments_pass(statuses: list[int]) -> None:
    async with archived() as scene:
        scene.server.trouble.statuses[""] = statuses
        assert await scene.archive.fetch(DAY_FILE) is not None


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (503, Unreachable, "status 503: wait a little"),
        (451, Blocked, "the exchange refuses this location"),
        (403, Blocked, "a firewall refuses"),
        (407, ProxyError, "other credentials"),
        (302, FeedError, "a redirect to /elsewhere: this is not the archive"),
        (204, FeedError, "this is not the archive"),
    ],
)
async def test_refusals_say_what_to_do(status: int, error: type[Exception], says: str) -> None:
    async with archived() as scene:
        scene.server.trouble.statuses[""] = [status] * 9
        with pytest.raises(error, match=says):
            await scene.archive.fetch(DAY_FILE)


async def test_a_file_that_takes_too_long_is_given_up() -> None:
    async with archived(within=0.2, pauses=()) as scene:
        scene.server.trouble.slow = 1.0
        with pytest.raises(Unreachable, match="did not answer in time"):
            await scene.archive.fetch(DAY_FILE)


async def test_nobody_there_is_told() -> None:
    archive = Archive(RealNetwork(), "http://127.0.0.1:9", "http://127.0.0.1:9", pauses=(0.0,))
    with pytest.raises(Unreachable, match="refused the connection"):
        await archive.symbols("data/")
    await archive.close()


async def test_a_proxy_is_gone_through() -> None:
    async with archived() as scene, running(ConnectProxy()) as proxy:
        url = scene.server.url.replace("127.0.0.1", "archive.test")
        archive = Archive(RealNetwork(f"http://127.0.0.1:{proxy.port}"), url, url, pauses=())
        try:
            assert await archive.fetch(DAY_FILE) is not None
            assert "BTCUSDT" in await archive.symbols(symbols_folder("binance-usdm", Kind.KLINES))
        finally:
            await archive.close()

    assert {host for host, _ in proxy.asked} == {"archive.test"}


@pytest.mark.parametrize("told", [b"", b"abc  x.zip", b"0" * 64, b"0" * 64 + b"  y.zip\n", b"\xff"])
def test_what_is_no_checksum_is_told(told: bytes) -> None:
    with pytest.raises(DataError, match="no line of sha256sum"):
        digest_of(told, "x.zip")


@pytest.mark.parametrize("told", ["{}  x.zip", "{} *x.zip\r\n", "{}  some/where/x.zip\n"])
def test_a_checksum_is_a_line_of_sha256sum(told: str) -> None:
    assert digest_of(told.format("AB" * 32).encode(), "x.zip") == "ab" * 32


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Sign in</body>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<r><Contents><Key>a</Key><Size>x</Size></Contents></r>",
    ],
)
def test_what_is_no_listing_is_told(body: bytes) -> None:
    with pytest.raises(FeedError, match=r"no listing: check `exchange.archive_listing_url`"):
        parse_listing(body, "https://archive.test")


def test_a_page_without_a_marker_goes_on_after_its_last_name() -> None:
    keys = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in "ab")
    page = parse_listing(f"<r><IsTruncated>true</IsTruncated>{keys}</r>".encode(), "x")

    assert page == ((), (("a", 1), ("b", 1)), "b")
