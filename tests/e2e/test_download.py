"""`klinehub download` against a simulated archive and exchange, with all that goes wrong on the way."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.conftest import KLINEHUB, Run, environment

from klinehub.domain.clock import Clock
from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import DAY, timeframe
from klinehub.feed.archive_names import Kind, month_start
from klinehub.feed.archive_series import COLUMNS, read_series
from klinehub.feed.archive_unpack import unpack
from klinehub.sim.archive import ArchiveServer, ArchiveTrouble
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.market import Market
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic
from klinehub.store.history import HistoryStore
from klinehub.store.series import SeriesStore

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.timeout(120)
NOW = 1_790_000_000_000  # 2026-09-21 13:33:20
DUE = NOW // DAY * DAY - DAY
AUGUST = month_start(month_start(NOW) - DAY)
MISSING = "BTCUSDT-1h-2026-09-10.zip"


class World(NamedTuple):
    """A simulated exchange with its archive, and the options that point a command at both."""

    server: ArchiveServer
    market: Market
    spot: Market
    at: list[str]
    at_spot: list[str]

    def files(self) -> int:
        """Count the zip files that were asked for."""
        return sum(count for path, count in self.server.asked.items() if path.endswith(".zip"))


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    """Serve in a thread of its own, so that tests can reach the truth and the trouble."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    market = synthetic(4, 5, start=NOW)
    spot, clock = SpotMarket(market), Clock(NOW, 1.0, time.monotonic)

    async def start() -> tuple[list[Any], World]:
        server = ArchiveServer([market, spot], clock)
        await server.start("127.0.0.1", 0)
        served = [
            await serve(Exchange(one, clock, limits=False), port=0, ws_port=0) for one in (market, spot)
        ]
        urls = (["--archive-url", server.url, "--rest-url", one.rest_url] for one in served)
        return [server, *served], World(server, market, spot, *urls)

    open_ones, world = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield world
    for one in open_ones:
        asyncio.run_coroutine_threadsafe(one.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def world(running: World) -> World:
    running.server.trouble = ArchiveTrouble()
    running.server.asked.clear()
    return running


def download(run: Run, world: World, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Download with the usual options and give the summary."""
    given = (*arguments, *world.at, "--data", "data", "--yes", "--json")
    done = run("download", *given)
    assert (done.code, done.err) == (code, done.err), done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def bars(
    name: str, symbol: str = "BTCUSDT", market: str = "binance-usdm", since: int = 0, until: int = 2**53
) -> Exact:
    """Give what is kept."""
    kept = HistoryStore(Path("data") / market / "history")
    return kept.read(timeframe(name), [symbol], since, until)[symbol]


def assert_true(market: Market, name: str, symbol: str, since: int, until: int, *, of: str = "usdm") -> None:
    """Hold what is kept of [since, until) against the market's truth, bit for bit."""
    frame, i = timeframe(name), market.index[symbol]
    kept = HistoryStore(Path("data") / f"binance-{of}" / "history").read(frame, [symbol], since, until)[
        symbol
    ]
    truth = market.klines(i, frame, frame.index(since - 1) + 1, frame.index(until - 1), NOW + DAY)

    assert kept.rows.tobytes() == truth.rows.tobytes()
    assert kept.scale == truth.scale


def test_what_is_kept_is_the_truth_and_is_fetched_once(run: Run, world: World) -> None:
    ended = next(o.symbol for o in world.market.instruments if o.end and AUGUST < o.end < DUE - 9 * DAY)
    names = (
        ["BTCUSDT", "币安人生USDT".lower(), ended]
        if "币安人生USDT" in world.market.index
        else ["BTCUSDT", ended]
    )
    given = (*names, "--timeframes", "1m,1h,1M", "--since", "2026-08-01")
    first = download(run, world, *given)
    fetched = world.files()
    again = download(run, world, *given)

    assert first["failed"] == {}
    assert first["notes"] == []
    assert first["files"] == first["plan"]["files"] == fetched > 20
    assert first["rest_bars"] > 0
    assert (again["files"], again["kept"], world.files()) == (0, first["files"], fetched)
    assert again["requests"] <= 1  # a minute may have closed in between
    for name in ("1m", "1h"):
        assert_true(world.market, name, "BTCUSDT", AUGUST, NOW // 3_600_000 * 3_600_000)
    end = world.market.instruments[world.market.index[ended]].end
    assert end is not None
    assert_true(world.market, "1m", ended, AUGUST, -(-end // DAY) * DAY)
    assert_true(world.market, "1M", "BTCUSDT", AUGUST, month_start(NOW))


def test_spot_has_an_archive_of_its_own(run: Run, world: World) -> None:
    given = ("--market", "binance-spot", "--timeframes", "1m", "--since", "2026-08-20", *world.at_spot)
    done = run("download", "BTCUSDT", *given, "--data", "data", "--yes", "--json")

    assert done.code == 0, done.err
    assert_true(world.spot, "1m", "BTCUSDT", AUGUST + 19 * DAY, NOW // 3_600_000 * 3_600_000, of="spot")


def test_all_symbols_of_the_quote_asset_come_without_names(run: Run, world: World) -> None:
    found = download(run, world, "--timeframes", "1d", "--since", "2026-09-01", "--until", "2026-09-09")
    kept = HistoryStore(Path("data/binance-usdm/history")).symbols(timeframe("1d"))
    end = month_start(NOW) + 9 * DAY
    there = [o for o in world.market.instruments if o.symbol.endswith("USDT") and o.onboard < end]

    assert found["requests"] == 0
    assert set(kept) == {o.symbol for o in there if o.end is None or o.end > month_start(NOW)}


def test_a_missing_day_is_named_and_comes_by_rest(run: Run, world: World) -> None:
    world.server.trouble.missing.add(MISSING)
    world.server.trouble.vanished.add("BTCUSDT-1h-2026-09-12.zip")
    given = ("BTCUSDT", "--timeframes", "1h", "--since", "2026-09-01", "--until", "2026-09-14")
    found = download(run, world, *given)
    days = [(one["start"] - month_start(NOW)) // DAY + 1 for one in found["missing"]]

    assert found["plan"]["missing"] == 1
    assert (days, [one["bars"] for one in found["missing"]]) == ([10, 12], [0, 0])
    assert_true(world.market, "1h", "BTCUSDT", month_start(NOW), month_start(NOW) + 14 * DAY)
    table = run("download", *given, *world.at, "--data", "data", "--yes")
    assert "missing in the archive: BTCUSDT 1h 2026-09-10: REST had it" in table.err


def test_without_rest_the_archive_has_to_do(run: Run, world: World) -> None:
    world.server.trouble.missing.add(MISSING)
    at = ["--archive-url", world.server.url, "--rest-url", "http://127.0.0.1:9"]
    given = ("BTCUSDT", "--timeframes", "1h", "--since", "2026-09-01", "--until", "2026-09-14")
    done = run("download", *given, *at, "--data", "data", "--yes", "--json")
    found = json.loads(done.out)

    assert done.code == 1
    assert "refused the connection" in found["failed"]["REST"]
    assert [one["bars"] for one in found["missing"]] == [24]
    assert len(bars("1h").rows) == 13 * 24


@pytest.mark.parametrize("kind", ["damaged", "cut"])
def test_a_bad_file_is_named_and_comes_when_it_is_mended(run: Run, world: World, kind: str) -> None:
    trouble = world.server.trouble
    if kind == "damaged":
        trouble.damaged[MISSING] = 9
    else:
        trouble.cut.add(MISSING)
    given = ("BTCUSDT", "--timeframes", "1h", "--since", "2026-09-01", "--until", "2026-09-14")
    first = download(run, world, *given, code=1)
    told = "fetched twice" if kind == "damaged" else "cut short or damaged"
    world.server.trouble = ArchiveTrouble()
    second = download(run, world, *given)

    assert list(first["failed"]) == [MISSING]
    assert told in first["failed"][MISSING]
    assert first["files"] == 13
    assert_true(world.market, "1h", "BTCUSDT", month_start(NOW), month_start(NOW) + 14 * DAY)
    assert (second["files"], second["kept"], second["failed"]) == (1, 13, {})


def test_bad_moments_pass(run: Run, world: World) -> None:
    world.server.trouble.statuses["BTCUSDT-1h-2026-09-05.zip"] = [503]
    world.server.trouble.damaged[MISSING] = 1
    world.server.trouble.slow = 0.01
    given = ("BTCUSDT", "--timeframes", "1h", "--since", "2026-09-01", "--until", "2026-09-14")

    assert download(run, world, *given)["files"] == 14


@pytest.mark.parametrize(
    ("status", "code", "says"), [(302, 8, "a redirect to"), (451, 6, "refuses this location")]
)
def test_what_concerns_all_files_ends_it(run: Run, world: World, status: int, code: int, says: str) -> None:
    world.server.trouble.statuses["BTCUSDT-1h-2026-09-05.zip"] = [status] * 9
    given = ("BTCUSDT", "--timeframes", "1h", "--since", "2026-09-01", "--until", "2026-09-14")
    done = run("download", *given, *world.at, "--data", "data", "--yes")

    assert (done.code, says in done.err) == (code, True)
    world.server.trouble = ArchiveTrouble()
    assert download(run, world, *given)["failed"] == {}
    assert_true(world.market, "1h", "BTCUSDT", month_start(NOW), month_start(NOW) + 14 * DAY)


@pytest.mark.parametrize(("header", "micro"), [(False, False), (False, True), (True, True)])
def test_every_form_of_the_archive_is_the_same_bars(
    run: Run, world: World, *, header: bool, micro: bool
) -> None:
    tree = world.server.trees["data/futures/um"]
    tree.header, tree.microseconds = header, micro
    tree.content.cache_clear()
    try:
        given = ("BTCUSDT", "--timeframes", "1h", "--since", "2026-09-01", "--until", "2026-09-02")
        assert download(run, world, *given)["notes"] == []
    finally:
        tree.header = tree.microseconds = None
        tree.content.cache_clear()
    assert_true(world.market, "1h", "BTCUSDT", month_start(NOW), month_start(NOW) + 2 * DAY)


def test_funding_and_metrics_are_kept_as_printed(run: Run, world: World) -> None:
    given = ("BTCUSDT", "--timeframes", "1d", "--since", "2026-08-30", "--until", "2026-09-02")
    found = download(run, world, *given, "--funding", "--metrics")
    again = download(run, world, *given, "--funding", "--metrics")
    tree = world.server.trees["data/futures/um"]

    assert found["rows"] == 4 * 288 + 31 * 3 or found["rows"] == 4 * 288 + 31 * 6
    assert (again["rows"], again["kept"]) == (0, found["files"])
    for kind, folder, span, begin in (
        (Kind.FUNDING, "funding", "monthly", AUGUST),
        (Kind.METRICS, "metrics", "daily", AUGUST + 30 * DAY),
    ):
        kept = SeriesStore(Path("data/binance-usdm") / folder, COLUMNS[kind])
        file = next(one for one in tree.names(span, kind, "BTCUSDT", None) if one.start == begin)
        told = read_series(unpack(file.name, tree.content(file._replace(size=0))), file.name, kind)
        table = kept.read("BTCUSDT", told.times[0], told.times[-1] + 1)

        assert table == (told.times, told.columns)
        assert all(isinstance(value, Decimal) for column in table.columns.values() for value in column)


def test_a_dry_run_says_what_it_would_take(run: Run, world: World) -> None:
    given = (
        "BTCUSDT",
        "--timeframes",
        "1m",
        "--since",
        "2026-08-01",
        *world.at,
        "--data",
        "data",
        "--dry-run",
    )
    table, document = run("download", *given), json.loads(run("download", *given, "--json").out)

    assert (table.code, document["files"], document["kept"]) == (0, 20, 0)
    assert document["bars"] > 50 * 1440
    assert document["requests"] > 0
    assert "20 files to fetch" in table.err
    assert "by REST" in table.err
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["BTCUSTD", "--yes"], "Did you mean 'BTCUSDT'"),
        (["BTCUSDT", "--market", "binance-spot", "--funding"], "Spot has neither"),
        (["BTCUSDT", "--since", "2026-09-02", "--until", "2026-09-01"], "--until is not after --since"),
        (["BTCUSDT", "--timeframes", "7m"], "Unknown timeframe"),
        (["BTCUSDT", "--market", "binance"], "Unknown exchange"),
        (["--from-dir", "nowhere"], "There is no folder"),
        (["BTCUSDT", "--since", "2026-09-01"], "add --yes"),
    ],
)
def test_what_cannot_be_is_told(run: Run, world: World, arguments: list[str], says: str) -> None:
    done = run("download", *arguments, *world.at, "--data", "data")

    assert done.code == 2
    assert says in done.err.replace("\n", " ")


def test_what_is_simulated_is_kept_where_the_user_says(run: Run, world: World) -> None:
    done = run("download", "BTCUSDT", *world.at, "--yes")

    assert (done.code, "say where with --data" in done.err) == (2, True)


def test_files_that_are_there_need_no_network(run: Run, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "mirror" / "data" / "futures" / "um"
    folder.mkdir(parents=True)
    tree = world.server.trees["data/futures/um"]
    files = [
        one for one in tree.names("daily", Kind.KLINES, "BTCUSDT", "1h") if one.start >= month_start(NOW)
    ]
    for file in files:
        (folder / file.name).write_bytes(tree.content(file._replace(size=0)))
    (folder / "notes.csv").write_text("x")
    given = ("--from-dir", "mirror", "--data", "data", "--proxy", "http://127.0.0.1:9", "--json")
    first, again = (json.loads(run("download", *given).out) for _ in range(2))
    later = run("download", "--from-dir", "mirror", "--data", "data", "--since", "2030-01-01")

    assert world.files() == 0
    assert (first["files"], first["unverified"], first["failed"]) == (len(files), len(files), {})
    assert first["notes"] == [
        "data/futures/um/notes.csv is not named as the archive of binance-usdm names its files"
    ]
    assert (again["files"], again["kept"]) == (0, len(files))
    assert (later.code, "0 files imported" in later.out) == (0, True)
    assert_true(world.market, "1h", "BTCUSDT", month_start(NOW), month_start(NOW) + len(files) * DAY)
    online = download(run, world, "BTCUSDT", "--timeframes", "1h", "--since", "2026-09-01")
    assert (online["files"], online["kept"]) == (0, (DUE - month_start(NOW)) // DAY)


FEW_AT_A_TIME = (
    "import sys, klinehub.app.importing as importing; importing.BATCH_FILES = 10\n"
    "from klinehub.app.cli import main\nmain()"
)


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_an_interrupted_download_goes_on_where_it_was(
    run: Run, world: World, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    given = ["BTCUSDT", "ETHUSDT", "--timeframes", "1h,4h", "--since", "2026-08-02"]
    command = [sys.executable, "-c", FEW_AT_A_TIME, "download", *given, *world.at, "--data", "data", "--yes"]
    record = tmp_path / "data" / "binance-usdm" / "imported.sha256"
    world.server.trouble.slow = 0.02
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE
    ) as process:
        while not record.exists() or record.read_bytes().count(b"\n") < 20:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(sent)
        process.communicate()
    world.server.trouble.slow = 0.0
    kept = len(record.read_text().splitlines())
    rest = download(run, world, *given)

    assert process.returncode == code
    assert 20 <= kept < 196
    assert rest["kept"] + rest["files"] == 196
    assert kept - 1 <= rest["kept"] <= kept
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for name in ("1h", "4h"):
            assert_true(world.market, name, symbol, AUGUST + DAY, NOW // (4 * 3_600_000) * 4 * 3_600_000)


@pytest.mark.parametrize(("typed", "kept"), [(b"y\n", True), (b"n\n", False), (b"\n", False)])
def test_a_terminal_is_asked_first(world: World, tmp_path: Path, typed: bytes, *, kept: bool) -> None:
    ours, theirs = pty.openpty()
    given = ["BTCUSDT", "--timeframes", "1d", "--since", "2026-09-01", "--until", "2026-09-04"]
    command = [*KLINEHUB, "download", *given, *world.at, "--data", "data"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdin=theirs, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = b""
        while not said.endswith(b"[y/N] "):
            read = os.read(process.stderr.fileno(), 1)
            assert read, said
            said += read
        os.write(ours, typed)
        process.communicate()
    os.close(ours)
    os.close(theirs)

    assert process.returncode == 0
    assert b"4 files to fetch" in said
    assert (tmp_path / "data").exists() == kept
