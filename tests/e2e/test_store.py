"""`klinehub store` on a folder that a hub wrote: looked at, damaged, mended, handed on and made smaller."""

import gzip
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import apsw
import pytest
from tests.e2e.conftest import KLINEHUB, Done, Run, environment, started

import klinehub as kh
from klinehub.app.stored import HISTORY, HOT
from klinehub.domain.kline import Exact
from klinehub.domain.moment import in_zone, written
from klinehub.domain.timeframe import DAY, timeframe
from klinehub.sim.sample import sample
from klinehub.store.base import BAR_BITS
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore
from klinehub.store.sealing import Sealing, Stores
from klinehub.store.sqlite import SqliteTables

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.timeout(120)
HOUR: Final = timeframe("1h")
MARKET: Final = "binance-usdm"


class Kept(NamedTuple):
    """A data folder that a hub wrote, whose days that are over are in history too, and what it held."""

    folder: Path
    said: dict[str, Done]
    truth: dict[str, Exact]
    newest: int


def klinehub(*arguments: str, folder: Path) -> Done:
    done = subprocess.run(
        [*KLINEHUB, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    # A terminal of 80 columns breaks lines wherever a path ends.
    return Done(done.returncode, done.stdout, " ".join(done.stderr.split()))


@pytest.fixture(scope="module")
def kept(exchange: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Run a hub in a process of its own; ask it for its store meanwhile, and move what is over afterwards."""
    folder = tmp_path_factory.mktemp("kept")
    at = ["--rest-url", exchange["rest_url"], "--stream-url", exchange["stream_url"]]
    command = ("run", "--json", "--bars", "300", "--symbols", "BTCUSDT,ETHUSDT,SOLUSDT", *at)
    with started(*command, folder=folder, env={"KLINEHUB_STORE_PATH": str(folder / "data")}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        said = {
            name: klinehub("store", name, "--data", "data", *more, folder=folder)
            for name, more in (
                ("info", ()),
                ("verify", ()),
                ("repair", ()),
                ("prune", ("--before", "2030-01-01", "--timeframes", "1h", "--yes")),
                ("export", ("out", "--json")),
            )
        }
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    market = folder / "data" / MARKET
    hot = HotStore(SqliteTables(market / HOT, origin=None))
    newest = hot.range(HOUR).last
    sealing = Sealing(Stores(hot, HistoryStore(market / HISTORY)), lambda _: 3_650 * DAY)
    while sealing.step(newest + 2 * DAY):
        pass
    hot.tables.close()
    return Kept(folder / "data", said, kh.open(folder / "data").exact("1h"), newest)


@pytest.fixture
def data(kept: Kept, tmp_path: Path) -> Path:
    shutil.copytree(kept.folder, tmp_path / "data")
    return tmp_path / "data" / MARKET


def same(one: dict[str, Exact], other: dict[str, Exact]) -> bool:
    return {name: (exact.rows.tobytes(), exact.scale) for name, exact in one.items()} == {
        name: (exact.rows.tobytes(), exact.scale) for name, exact in other.items()
    }


def told(done: Done, code: int = 0) -> Any:
    assert (done.code, "Traceback" in done.err) == (code, False), done
    return json.loads(done.out)


def flip(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 0x10
    path.write_bytes(body)


def test_while_a_hub_is_running_each_command_says_what_to_do(kept: Kept) -> None:
    said = kept.said

    assert (said["info"].code, "in use by process" in said["info"].err) == (0, True)
    assert (said["verify"].code, "not checked: the hot store" in said["verify"].err) == (1, True)
    for name in ("repair", "prune"):
        assert (said[name].code, "stop it first" in said[name].err) == (1, True)
    assert (said["export"].code, "newest days are left out" in said["export"].err) == (0, True)
    assert "in use" in json.loads(said["export"].out)["newest_missing"]


def test_info_tells_of_both_stores(run: Run, data: Path) -> None:
    (one,) = told(run("store", "info", "--data", "data", "--json"))
    table, moved = (
        run("store", "info", "--data", "data"),
        run("store", "info", "--data", "data", "--tz", "Asia/Tokyo"),
    )
    hot = {each["timeframe"]: each for each in one["hot"]["timeframes"]}
    history = {each["timeframe"]: each for each in one["history"]["timeframes"]}

    assert one["market"] == MARKET
    assert {name: each["symbols"] for name, each in hot.items()} == dict.fromkeys(hot, 3)
    assert hot["1h"]["bars"] >= 900
    assert hot["1h"]["bars"] - 3 * 48 <= history["1h"]["bars"] <= hot["1h"]["bars"]
    assert (hot["1h"]["gaps"], history["1h"]["gaps"]) == (0, 0)
    assert 20 < hot["1h"]["bytes_per_bar"] < 60
    assert one["hot"]["sealed_days"] > 12
    assert "1h" in table.out
    assert written(hot["1h"]["last"], ZoneInfo("Asia/Tokyo"))[:10] in moved.out
    assert "days (by timeframe) are in history already" in table.err


def test_a_sound_store_is_sound_also_by_rest(run: Run, at: list[str], data: Path) -> None:
    found = told(run("store", "verify", "--data", "data", "--rest", "--sample", "20", *at[:2], "--json"))

    assert found["sound"] is True
    assert (found["wrong"], found["unchecked"], found["gaps"]) == ([], [], [])
    assert found["rest"]["bars"] > 500
    assert (found["rest"]["different"], found["rest"]["failed"]) == ([], {})


def test_a_damaged_segment_is_named_set_aside_and_fetched_again(
    run: Run, at: list[str], data: Path, kept: Kept
) -> None:
    (data / HOT).unlink()
    history = HistoryStore(data / HISTORY)
    path = Path(history.paths(HOUR, history.months(HOUR)[0])[0])
    (path.parent / ".x.parquet.unfinished").write_bytes(b"half")
    before = kh.open("data").exact("1h")
    flip(path, 100)

    verdict = told(run("store", "verify", "--data", "data", "--json"), 1)
    assert [str(path.relative_to(data)) in line for line in verdict["wrong"]] == [True]
    info = run("store", "info", "--data", "data")
    assert "1 unfinished files" in info.err
    first = told(run("store", "repair", "--data", "data", "--json"))
    assert [line.split()[0] for line in first["done"]] == ["removed", "set"]
    assert len(history.damaged) == 1
    again = told(run("store", "repair", "--data", "data", "--rest", *at[:2], "--json"))
    assert (again["done"], again["left"], again["missing"], again["failed"]) == ([], [], [], {})
    assert again["bars"] > 0
    assert same(kh.open("data").exact("1h"), before)
    assert told(run("store", "verify", "--data", "data", "--json"))["sound"] is True


def test_a_damaged_slice_is_set_aside_and_history_has_its_bars(run: Run, data: Path, kept: Kept) -> None:
    db = apsw.Connection(str(data / HOT))
    day = kept.newest - kept.newest % DAY - 2 * DAY
    key = HOUR.milliseconds << BAR_BITS | HOUR.index(day)
    db.execute("UPDATE slices SET body = zeroblob(40) WHERE key = ?", (key,))
    db.close()

    verdict = told(run("store", "verify", "--data", "data", "--json"), 1)
    assert [line.startswith("slice 1h") for line in verdict["wrong"]] == [True]
    done = told(run("store", "repair", "--data", "data", "--json"))["done"]
    assert [line.startswith("set aside the slice 1h") for line in done] == [True]
    assert "set aside: 1h" in run("store", "info", "--data", "data").err
    assert same(kh.open("data").exact("1h"), kept.truth)
    assert told(run("store", "verify", "--data", "data", "--json"))["sound"] is True


def test_a_damaged_hot_file_is_rebuilt_of_what_can_be_read(run: Run, data: Path) -> None:
    path = data / HOT
    for time in (1, 2):
        body = bytearray(path.read_bytes())
        at = max(place for place in range(4096, len(body), 4096) if body[place] == 13)
        body[at : at + 64] = bytes(64)
        path.write_bytes(body)

        verdict = told(run("store", "verify", "--data", "data", "--json"), 1)
        assert any(HOT in line for line in verdict["wrong"])
        assert "run `klinehub store repair`" in run("store", "info", "--data", "data").err
        done = run("store", "repair", "--data", "data")
        assert "was damaged" in done.out
        aside = [one for one in data.glob(f"{HOT}.damaged*") if not one.name.endswith(("-wal", "-shm"))]
        assert len(aside) == time
    assert told(run("store", "verify", "--data", "data", "--json"))["sound"] is True


def test_stores_that_disagree_are_told_and_left_to_people(run: Run, data: Path, kept: Kept) -> None:
    bar = kept.truth["BTCUSDT"].rows[:1].copy()
    bar["volume"] += 1
    HistoryStore(data / HISTORY).write(
        HOUR, {"BTCUSDT": Exact(bar, kept.truth["BTCUSDT"].scale)}, replace=True
    )

    verdict, left = run("store", "verify", "--data", "data"), run("store", "repair", "--data", "data")
    elsewhere = run("store", "verify", "--data", "data", "--tz", "Asia/Shanghai")
    assert in_zone(verdict.err, ZoneInfo("Asia/Shanghai")) == elsewhere.err != verdict.err
    assert (verdict.code, "(history and the hot store)" in verdict.err) == (1, True)
    assert (left.code, "left as it is: BTCUSDT 1h" in left.err) == (1, True)


def test_a_bar_that_rest_tells_otherwise_is_found(run: Run, at: list[str], data: Path, kept: Kept) -> None:
    shutil.rmtree(data)
    rows = kept.truth["BTCUSDT"].rows[-120:-60].copy()
    rows["trades"][7] += 1
    HistoryStore(data / HISTORY).write(HOUR, {"BTCUSDT": Exact(rows, kept.truth["BTCUSDT"].scale)})
    done = run("store", "verify", "--data", "data", "--rest", "--sample", "3", *at[:2])

    assert (done.code, "BTCUSDT 1h" in done.err, "trades" in done.err) == (1, True, True)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
def test_what_is_exported_is_imported_exactly(run: Run, data: Path, kept: Kept, kind: str) -> None:
    done = told(run("store", "export", "out", "--format", kind, "--data", "data", "--json"))
    first = told(run("store", "import", "out", "--data", "two", "--json"))
    again = told(run("store", "import", "out", "--data", "two", "--json"))

    assert (first["failed"], first["notes"]) == ({}, [])
    assert first["new"] == first["bars"] == again["bars"] == done["bars"] > 3_000
    assert (again["new"], again["corrected"]) == (0, 0)
    assert not list(Path("out").glob(".*"))
    for name in ("1m", "5m", "15m", "1h"):
        assert same(kh.open("two").exact(name), kh.open("data").exact(name))


def test_recorded_minutes_leave_as_they_came_to_the_last_byte(
    run: Run, realdata: Path, tmp_path: Path
) -> None:
    files = sorted((realdata / "ohlcv_1m_12field_csv").glob("*-2025-11.csv.gz"))
    came = told(run("store", "import", *map(str, files), "--data", "data", "--json"))
    run("store", "export", "out", "--format", "csv", "--data", "data")

    assert (came["bars"], came["notes"]) == (2 * 43_200, [])
    for file in files:
        lines = gzip.decompress(file.read_bytes()).splitlines()
        assert Path("out", file.stem).read_bytes().splitlines() == lines


def test_a_part_is_exported_by_symbol_time_and_timeframe(run: Run, tmp_path: Path) -> None:
    sample("data", symbols=3, days=2)
    given = ("--data", "data", "--symbols", "btcusdt", "--timeframes", "4h", "--since", "2025-01-02")
    done = run("store", "export", "-", "--format", "csv", *given)
    lines = done.out.splitlines()

    assert (done.code, len(lines)) == (0, 7)
    assert lines[0].startswith("open_time,open,high,low,close,volume,close_time,quote_volume,count,")
    assert all(len(line.split(",")) == 12 for line in lines)
    assert lines[1].split(",")[::6] == ["1735776000000", "1735790399999"]
    many = run("store", "export", "-", "--format", "csv", "--data", "data")
    unknown = run("store", "export", "out", "--data", "data", "--symbols", "BTCUSD")
    assert (many.code, "--symbols" in many.err) == (2, True)
    assert (unknown.code, "Did you mean 'BTCUSDT'?" in unknown.err) == (2, True)


def test_a_file_that_disagrees_is_named_and_the_others_are_kept(run: Run, tmp_path: Path) -> None:
    sample("data", symbols=2, days=1)
    run("store", "export", "out", "--format", "csv", "--data", "data", "--timeframes", "1h")
    btc = tmp_path / "out" / "BTCUSDT-1h-2025-01.csv"
    run("store", "import", str(btc), "--data", "two")
    lines = btc.read_text().splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:8], "1", *lines[3].split(",")[9:]])
    btc.write_text("\n".join(lines))
    (tmp_path / "out" / "notes.csv").write_text("what is this")

    done = told(run("store", "import", "out", "--data", "two", "--json"), 1)
    assert sorted(Path(name).name for name in done["failed"]) == ["BTCUSDT-1h-2025-01.csv", "notes.csv"]
    assert "import it with --replace" in str(done["failed"])
    assert kh.open("two").symbols("1h") == ("BTCUSDT", "ETHUSDT")
    fixed = told(run("store", "import", str(btc), "--data", "two", "--replace", "--json"))
    assert (fixed["new"], fixed["corrected"]) == (0, 1)


def test_a_torn_or_foreign_file_is_named(run: Run, tmp_path: Path) -> None:
    sample("data", symbols=1, days=1)
    run("store", "export", "out", "--data", "data")
    (file,) = Path("out").iterdir()
    (tmp_path / "torn.parquet").write_bytes(file.read_bytes()[:-100])
    (tmp_path / "torn.feather").write_bytes(b"ARROW1")
    segment = next(Path("data").rglob("*+*.parquet"))
    shutil.copy(segment, tmp_path / "segment.parquet")
    names = ["torn.parquet", "torn.feather", "segment.parquet"]
    failed = told(run("store", "import", *names, "--data", "two", "--json"), 1)["failed"]
    other = run("store", "import", "out", "--data", "two", "--market", "binance-spot")

    assert "cut short or damaged" in failed["torn.parquet"]
    assert "cut short or damaged" in failed["torn.feather"]
    assert "is no export of klinehub" in failed["segment.parquet"]
    assert (other.code, "holds klines of binance-usdm" in " ".join(other.err.split())) == (1, True)


def test_old_months_are_deleted_when_it_is_said_twice(run: Run, data: Path, kept: Kept) -> None:
    history = HistoryStore(data / HISTORY)
    months = history.months(HOUR)
    given = ("store", "prune", "--data", "data", "--timeframes", "1h", "--before", "2100-01-01")
    (plan,) = told(run(*given, "--dry-run", "--json"))
    refused = subprocess.run(
        [*KLINEHUB, *given], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert plan["months"] == list(months)
    assert plan["slices"] >= 300
    assert (refused.returncode, "add --yes, or --dry-run" in refused.stderr) == (2, True)
    assert "deleted by whole months" in refused.stderr
    assert history.months(HOUR) == months
    done = run(*given, "--yes")
    assert (done.code, history.months(HOUR), "deleted" in done.out) == (0, (), True)
    assert "1h" not in json.dumps(told(run("store", "info", "--data", "data", "--json"))[0]["hot"])
    assert kh.open("data").symbols("5m") != ()


def test_many_segments_become_few(run: Run, data: Path) -> None:
    history = HistoryStore(data / HISTORY)
    month = history.months(HOUR)[0]
    before = len(history.paths(HOUR, month))
    done = told(run("store", "compact", "--data", "data", "--month", month, "--json"))
    wrong = run("store", "compact", "--data", "data", "--month", "2019-01")

    assert {"timeframe": "1h", "month": month, "before": before, "after": 1} in done
    assert before > 1
    assert len(history.paths(HOUR, month)) == 1
    assert (wrong.code, month in wrong.err) == (2, True)


def test_a_folder_without_klines_and_two_markets_are_told_apart(run: Run, tmp_path: Path) -> None:
    nothing = run("store", "info", "--data", str(tmp_path))
    sample("data", symbols=1, days=1)
    sample("data", symbols=1, days=1, market="binance-spot")
    several = run("store", "verify", "--data", "data")

    assert (nothing.code, "keeps no klines" in nothing.err) == (2, True)
    assert (several.code, "--market binance-spot" in several.err) == (2, True)
    assert run("store", "verify", "--data", "data", "--market", "binance-spot").code == 0
    assert len(told(run("store", "info", "--data", "data", "--json"))) == 2
    assert os.environ["XDG_RUNTIME_DIR"] == str(tmp_path)
