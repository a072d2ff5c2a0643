"""`klinehub evidence` as a user runs it: on files and on a store, as table and JSON, with its log."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.e2e.conftest import Run

from klinehub.app.stored import open as open_store
from klinehub.feed.archive_names import Kind
from klinehub.feed.archive_series import COLUMNS
from klinehub.scan.lines import append_lines
from klinehub.scan.universe_history import Change
from klinehub.sim.sample import sample
from klinehub.store.series import SeriesStore

pytestmark = pytest.mark.timeout(120)

HOUR = 3_600_000
EIGHT_HOURS = 8 * HOUR
FIRST = 1_735_689_600_000
KEYS = {"ic", "ic_interval", "rank_ic", "quantiles", "spread", "hit_rate", "turnover", "n"}
REALDATA = Path(__file__).resolve().parents[3] / "shared" / "realdata"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a recording of a made-up market: 24 symbols, 1,400 hours, prices that turn back."""
    rng = np.random.default_rng(5)
    parts = []
    for number in range(24):
        moves = rng.standard_t(4, 1_400) * 0.01
        moves[1:] -= 0.4 * moves[:-1]
        close = 100.0 * np.exp(np.cumsum(moves))
        opened = np.concatenate((close[:1], close[:-1]))
        columns: dict[str, Any] = {
            "symbol": ["BTCUSDT" if number == 0 else f"S{number:02d}USDT"] * 1_400,
            "open_time": FIRST + HOUR * np.arange(1_400),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": np.exp(rng.normal(8, 1, 1_400)),
        }
        parts.append(pa.table(columns))
    folder = tmp_path_factory.mktemp("recorded")
    parquet.write_table(pa.concat_tables(parts), folder / "hours.parquet")
    return folder


def told(run: Run, *arguments: str) -> Any:
    options = arguments.index("--") if "--" in arguments else len(arguments)
    done = run("evidence", *arguments[:options], "--json", *arguments[options:])
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_the_document_has_the_contract_and_a_second_run_the_same_bytes(run: Run, files: Path) -> None:
    one, two = (told(run, "score", "--data", str(files)) for _ in range(2))

    assert {"bars", "symbols", "range", "horizons", "portfolio", "trials", "deflated_sharpe"} <= set(one)
    assert {"verdict", "seconds", "screen", "hash", "version", "code", "data"} <= set(one)
    assert list(one["horizons"]) == ["1", "4", "24", "96"]
    assert all(set(at) >= KEYS for at in one["horizons"].values())
    assert (one["bars"], one["symbols"], one["trials"]) == (1_400, 24, 1)
    assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_the_table_says_what_it_comes_to_and_what_lacks(run: Run, files: Path) -> None:
    done = run("evidence", "--data", str(files), "--no-log")

    assert done.code == 0
    assert "score  1h, 1,400 bars of 24 symbols, 2025-01-01 00:00 to 2025-02-28 08:00 UTC" in done.out
    assert "rank IC" in done.out
    assert "- Estimated, not recorded: quote_volume." in done.out


def test_times_are_shown_in_the_zone_that_is_named(run: Run, files: Path) -> None:
    done = run("evidence", "--data", str(files), "--no-log", "--tz", "Asia/Shanghai")

    assert "24 symbols, 2025-01-01 08:00 to 2025-02-28 16:00 CST" in done.out
    assert "UTC" not in done.out


def test_another_screen_on_the_same_time_is_another_trial_and_lies_beside(run: Run, files: Path) -> None:
    first = told(run, "rsi", "--data", str(files))
    both = run("evidence", "score", "momentum", "--data", str(files), "--", "-rsi")

    assert first["trials"] == 1
    assert both.code == 0, both.err
    assert "side by side" in both.out
    last = told(run, "--data", str(files), "--", "-rsi")
    assert last["trials"] == 4
    assert last["horizons"]["1"]["rank_ic"] == pytest.approx(-first["horizons"]["1"]["rank_ic"])


def test_another_version_on_a_time_that_was_judged_is_told_as_tuned(
    run: Run, files: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "klinehub.toml"
    settings.write_text('[screens.dip]\nwhere = "rsi < 30"\norder_by = "rsi"\n')
    first = told(run, "dip", "--data", str(files))
    settings.write_text('[screens.dip]\nwhere = "rsi < 35"\norder_by = "rsi"\n')
    found = told(run, "dip", "--data", str(files))

    assert not first["notes"][0].startswith("Tuned")
    assert found["notes"][0].startswith("Tuned on what it is judged on: 1 other version of dip")
    fresh = told(run, "dip", "--data", str(files), "--no-log")
    assert not fresh["notes"][0].startswith("Tuned")


def test_fitted_weights_are_written_when_asked_and_judged_as_tuned_where_they_were_fitted(
    run: Run, files: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "klinehub.toml"
    # One timeframe: the larger one would warm up over most of the recording.
    fitting = ("--data", str(files), "--headline", "1", "--timeframes", "1h")
    plain = told(run, "fit", *fitting)
    assert not settings.exists()
    assert plain["out_of_sample"] > 0
    assert sum(map(abs, plain["weights"].values())) == pytest.approx(100, abs=0.1)

    assert run("evidence", "fit", *fitting, "--write", str(settings)).code == 0
    written = tomllib.loads(settings.read_text("utf-8"))["scan"]["weights"]
    assert written == {name: value for name, value in plain["weights"].items() if value}
    judged = told(run, *fitting)
    assert "its weights were fitted on this time" in judged["notes"][0]
    again = run("evidence", "fit", *fitting, "--write", str(settings))
    assert (again.code, "has weights already" in again.err) == (2, True)


def test_a_store_is_judged_with_exact_bars_and_the_rules_of_the_universe(run: Run, tmp_path: Path) -> None:
    sample(str(tmp_path / "data"), symbols=8, days=3)
    found = told(
        run,
        "--data",
        str(tmp_path / "data"),
        "--timeframe",
        "15m",
        "--horizons",
        "1,4",
        "--universe",
        "rules",
    )

    assert (found["source"], found["timeframe"]) == ("store", "15m")
    assert found["universe"].startswith("as the rules of the universe")
    assert not any("Estimated" in note for note in found["notes"])
    part = told(run, "--data", str(tmp_path / "data"), "--timeframe", "15m", "--from", "2025-01-03")
    assert part["bars"] < found["bars"]


def test_imported_funding_is_paid_and_a_hubs_record_says_who_was_in(run: Run, tmp_path: Path) -> None:
    sample(str(tmp_path / "data"), symbols=8, days=3)
    store = open_store(tmp_path / "data")
    asked = ("rsi", "--data", str(tmp_path / "data"), "--timeframe", "15m", "--horizons", "1", "--no-log")
    plain = told(run, *asked)
    start, end = store.span("1m")
    times = range(start - start % EIGHT_HOURS, end, EIGHT_HOURS)
    funding = SeriesStore(tmp_path / "data" / "binance-usdm" / "funding", COLUMNS[Kind.FUNDING])
    names = store.symbols("1m")
    for name in names[:4]:
        rates = {
            "funding_interval_hours": [Decimal(8)] * len(times),
            "last_funding_rate": [Decimal("0.01")] * len(times),
        }
        funding.write(name, list(times), rates)
    paid = told(run, *asked)

    assert plain["portfolio"]["funding"] is None
    assert paid["portfolio"]["funding"] != 0.0
    assert paid["data"] != plain["data"]
    assert not any("No funding" in note for note in paid["notes"])
    record = tmp_path / "universe.jsonl"
    append_lines(record, [Change(start, name, entered=True, why="turnover") for name in names[:6]])
    inside = told(run, *asked, "--universe-record", str(record))
    assert (plain["symbols"], inside["symbols"]) == (8, 6)
    assert inside["universe"] == "as a hub recorded it in universe.jsonl"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rsj",), "Did you mean 'rsi'"),
        (("--timeframe", "5m"), "5m"),
        (("--timeframes", "1m"), "can not be had"),
        (("--horizons", "a"), "--horizons 1,4,24"),
        (("--headline", "5"), "choose one of"),
        (("--from", "2030-01-01"), "no 1h bars"),
        (("nothing.py",), "no file nothing.py"),
    ],
)
def test_what_can_not_be_judged_is_said(run: Run, files: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run("evidence", *arguments, "--data", str(files), "--no-log")

    assert done.code != 0
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_path_that_is_nothing_is_told(run: Run, tmp_path: Path) -> None:
    assert "klinehub download" in run("evidence", "--data", str(tmp_path / "none")).err


@pytest.mark.skipif(not REALDATA.exists(), reason="the recorded data is not here")
def test_the_recorded_month_is_judged_through_its_crash(run: Run) -> None:
    found = told(run, "--data", str(REALDATA / "ohlcv_15m_521"), "--no-log", "--horizons", "1,24")

    assert (found["bars"], found["timeframe"]) == (3_200, "15m")
    assert found["horizons"]["24"]["n"] > 1_000_000
    assert "nan" not in json.dumps(found).lower()
    assert found["horizons"]["24"]["rank_ic_interval"] is not None
