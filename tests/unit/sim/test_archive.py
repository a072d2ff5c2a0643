"""The simulated archive: what is there at which time, and the switches of its trouble."""

import zipfile
from collections.abc import Callable
from decimal import Decimal
from io import BytesIO

import aiohttp
import pytest
from tests.unit.feed.archives import FUTURES, NOW, SPOT, archived, kline_file

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import DAY
from klinehub.errors import DataError
from klinehub.feed.archive import parse_listing
from klinehub.feed.archive_names import ArchiveFile, Kind, file_of, month_start
from klinehub.feed.archive_series import read_series
from klinehub.feed.archive_unpack import unpack
from klinehub.sim import funding
from klinehub.sim.archive_files import HEADER, ArchiveFiles
from klinehub.sim.exchange import MarketSource

pytestmark = pytest.mark.timeout(120)
HOUR = 3_600_000
MIDNIGHT = NOW // DAY * DAY


def files_at(now: int) -> ArchiveFiles:
    return ArchiveFiles(FUTURES, Clock(now, 1.0, lambda: 0.0))


def newest(now: int, span: str) -> ArchiveFile:
    return [*files_at(now).names(span, Kind.KLINES, "BTCUSDT", "1h")][-1]


def series_file(kind: Kind, date: str) -> ArchiveFile:
    span = "monthly" if kind is Kind.FUNDING else "daily"
    found = file_of(f"data/futures/um/{span}/{kind}/BTCUSDT/BTCUSDT-{kind}-{date}.zip")
    assert found is not None
    return found


@pytest.mark.parametrize(("hour", "days"), [(0.0, 2), (8.5, 2), (8.6, 1), (23.9, 1)])
def test_a_day_is_there_in_the_next_morning(hour: float, days: int) -> None:
    assert newest(MIDNIGHT + int(hour * HOUR), "daily").start == MIDNIGHT - days * DAY


def test_a_month_is_there_on_its_first_monday() -> None:
    september = month_start(NOW)  # 2026-09-01, a Tuesday; the Monday is the 7th
    monday = september + 6 * DAY + 9 * HOUR

    assert newest(monday - DAY, "monthly").end == month_start(september - DAY)
    assert newest(monday, "monthly").end == september


def test_what_trades_no_more_has_no_later_files() -> None:
    ended = next(one for one in FUTURES.instruments if one.end is not None and one.end < NOW - 40 * DAY)
    last = [*files_at(NOW).names("daily", Kind.KLINES, ended.symbol, "1h")][-1]

    assert ended.end is not None
    assert last.start < ended.end <= last.end


def test_the_same_file_has_the_same_bytes() -> None:
    file = kline_file("BTCUSDT-1h-2026-09-01")

    assert files_at(NOW).content(file) == files_at(NOW + DAY).content(file)


async def test_the_tree_is_listed_from_its_root() -> None:
    async def folders(session: aiohttp.ClientSession, prefix: str) -> tuple[str, ...]:
        async with session.get("/", params={"delimiter": "/", "prefix": prefix}) as answer:
            return parse_listing(await answer.read(), "x").folders

    async with archived() as scene, aiohttp.ClientSession(scene.server.url) as session:
        assert await folders(session, "") == ("data/",)
        assert await folders(session, "data/") == ("data/futures/", "data/spot/")
        um = "data/futures/um/"
        daily, monthly = f"{um}daily/", f"{um}monthly/"
        assert await folders(session, um) == (daily, monthly)
        assert await folders(session, daily) == (f"{daily}klines/", f"{daily}metrics/")
        assert await folders(session, monthly) == (f"{monthly}fundingRate/", f"{monthly}klines/")
        assert f"{um}daily/klines/BTCUSDT/1mo/" in await folders(session, f"{um}daily/klines/BTCUSDT/")
        assert await folders(session, "data/spot/daily/") == ("data/spot/daily/klines/",)
        assert await folders(session, "data/spot/daily/metrics/") == ()


def test_klines_are_printed_as_the_time_wants_it() -> None:
    futures, spot = files_at(NOW), ArchiveFiles(SPOT, Clock(NOW, 1.0, lambda: 0.0))
    new, old = "BTCUSDT-1h-2026-09-01", "BTCUSDT-1h-2022-04-30"
    at = "data/spot"

    def first(tree: ArchiveFiles, file: ArchiveFile) -> bytes:
        return unpack(file.name, tree.content(file)).splitlines()[0]

    assert first(futures, kline_file(new)) + b"\n" == HEADER
    assert first(futures, kline_file(old)).startswith(b"1651276800000,")
    assert first(spot, kline_file(new, root=at)).startswith(b"1788220800000000,")
    assert first(spot, kline_file(old, root=at)).startswith(b"1651276800000,")
    futures.header, futures.microseconds = False, True
    futures.content.cache_clear()
    assert first(futures, kline_file(new)).startswith(b"1788220800000000,")


def test_funding_is_what_the_exchange_told_before_it() -> None:
    file = series_file(Kind.FUNDING, "2026-08")
    told = read_series(unpack(file.name, files_at(NOW).content(file)), file.name, Kind.FUNDING)
    seed = FUTURES.instruments[FUTURES.index["BTCUSDT"]].seed
    rates = [Decimal(round(funding.rate(seed, time - 1) * 10**8)).scaleb(-8) for time in told.times]

    assert list(told.columns["last_funding_rate"]) == rates
    assert set(told.columns["funding_interval_hours"]) == {funding.hours(seed)}
    assert told.times[0] == file.start
    assert len(told.times) == 31 * 24 // funding.hours(seed)


def test_open_interest_is_what_the_exchange_told() -> None:
    file = series_file(Kind.METRICS, "2026-09-01")
    told = read_series(unpack(file.name, files_at(NOW).content(file)), file.name, Kind.METRICS)

    assert len(told.times) == 288
    for n in (0, 100, 287):
        time, amount = told.times[n], told.columns["sum_open_interest"][n]
        now = MarketSource(FUTURES, Clock(time - 1, 1.0, lambda: 0.0)).open_interest("BTCUSDT")
        assert amount is not None
        assert amount == pytest.approx(Decimal(now), rel=Decimal("1e-4"))


@pytest.mark.parametrize(
    ("spoil", "lists", "serves"),
    [
        (lambda trouble, name: trouble.missing.add(name), False, False),
        (lambda trouble, name: trouble.vanished.add(name), True, False),
        (lambda trouble, name: trouble.cut.add(name), True, True),
    ],
)
async def test_trouble_can_be_switched_on(spoil: Callable[..., None], *, lists: bool, serves: bool) -> None:
    file = kline_file("BTCUSDT-1h-2026-09-01")
    folder = file.path.removesuffix(file.name)
    async with archived() as scene:
        spoil(scene.server.trouble, file.name)
        listed = await scene.archive.files(folder, since="2026-09-01", until=NOW)
        got = await scene.archive.fetch(file)

    assert (file.name in [one.name for one in listed]) == lists
    assert (got is not None) == serves
    if got is not None:
        with pytest.raises((DataError, zipfile.BadZipFile)):
            zipfile.ZipFile(BytesIO(got.data))
