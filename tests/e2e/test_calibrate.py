"""`evidence calibrate` as a user runs it, and what a hub makes of the file that it writes."""

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.e2e.conftest import Run

from klinehub.app.calibrated import command, environment, file_of, known
from klinehub.app.calibrating import read_calibrations
from klinehub.app.config import load
from klinehub.errors import DataError
from klinehub.scan.likeness import Calibrations

pytestmark = pytest.mark.timeout(120)
HOUR, DAYS, SYMBOLS = 3_600_000, 90, 8
START = 1_735_689_600_000
HEAD = "symbol,open_time,open,high,low,close,volume,quote_volume,trades,taker_base,taker_quote"


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """Write recorded hours of some symbols that go nowhere in particular."""
    rng, lines = np.random.default_rng(3), [HEAD]
    for row in range(SYMBOLS):
        closes = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, 24 * DAYS)))
        opens = np.concatenate(([100.0], closes[:-1]))
        volumes = rng.uniform(10.0, 20.0, closes.size)
        for bar, (opened, close, volume) in enumerate(zip(opens, closes, volumes, strict=True)):
            prices = f"{opened},{max(opened, close) * 1.001},{min(opened, close) * 0.999},{close}"
            name = "BTCUSDT" if row == 0 else f"S{row}USDT"
            taken = f"{volume / 2},{volume * close / 2}"
            lines.append(f"{name},{START + bar * HOUR},{prices},{volume},{volume * close},9,{taken}")
    (tmp_path / "bars.csv").write_text("\n".join(lines))
    return tmp_path / "bars.csv"


def test_screens_are_calibrated_into_a_file_that_keeps_those_of_others(
    run: Run, bars: Path, tmp_path: Path
) -> None:
    (tmp_path / "klinehub.toml").write_text('[screens.strong]\nwhere = "rsi > 60"\ntimeframe = "1h"\n')
    there = ["--data", str(bars), "--timeframes", "1h", "--calibration", "c.json"]
    first = run("evidence", "calibrate", *there, "--horizons", "1,4,24")
    second = run("evidence", "calibrate", "momentum", *there, "--json")

    assert (first.code, second.code) == (0, 0), (first.err, second.err)
    assert "score  1h, 8 symbols, 2025-01-01 00:00 to 2025-04-01 00:00 UTC" in first.out
    assert "written to c.json" in first.out
    kept = read_calibrations(tmp_path / "c.json")
    assert [one.screen for one in kept.screens] == ["momentum", "score", "strong"]
    assert msgspec.json.decode(second.out.encode(), type=Calibrations).screens == kept.screens[:1]
    score, strong = kept.screens[1:]
    assert [outcome.bars for outcome in score.buckets[0].outcomes] == [1, 4, 24]
    assert len(score.buckets) == 12
    assert sum(bucket.n for bucket in score.buckets) > 7_000
    assert len(strong.buckets) == 1
    assert 0 < strong.buckets[0].n < sum(bucket.n for bucket in score.buckets)
    again = run("evidence", "calibrate", *there, "--horizons", "1,4,24")
    assert again.code == 0
    anew = read_calibrations(tmp_path / "c.json").screens[1:]
    assert [msgspec.structs.replace(one, made=0) for one in anew] == [
        msgspec.structs.replace(one, made=0) for one in (score, strong)
    ]


def test_bars_in_no_store_need_a_file_to_write_to(run: Run, bars: Path) -> None:
    done = run("evidence", "calibrate", "--data", str(bars))

    assert done.code != 0
    assert "--calibration FILE" in done.err


def test_a_damaged_file_is_said_and_a_scan_goes_on_without_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"screens": [{"screen": 1}]}')
    config = load(None, {"KLINEHUB_EVIDENCE_CALIBRATION": str(file)})

    with pytest.raises(DataError, match="holds no calibration"):
        read_calibrations(file)
    assert known(config) == Calibrations()
    assert "holds no calibration" in capfd.readouterr().err


def test_the_file_lies_beside_the_store_and_is_made_of_its_last_days_with_the_same_settings(
    tmp_path: Path,
) -> None:
    file = tmp_path / "klinehub.toml"
    file.write_text('[evidence]\nevery = 24\ndays = 30\n[scan]\ntimeframe = "1h"\n')
    config = load(file, {"KLINEHUB_STORE_PATH": str(tmp_path), "KLINEHUB_MARKET_TIMEFRAMES": "5m,1h"})
    off = load(None, {"KLINEHUB_EVIDENCE_CALIBRATION": "off"})

    place = file_of(config)
    assert place == tmp_path / "binance-usdm" / "calibration.json"
    assert file_of(off) is None
    words = command(config, tmp_path, place)
    assert words[:5] == [sys.executable, "-m", "klinehub.app.cli", "evidence", "calibrate"]
    assert words[words.index("--config") + 1] == str(file)
    assert words[words.index("--market") + 1] == "binance-usdm"
    assert environment(config) == {
        "KLINEHUB_MARKET_TIMEFRAMES": "5m,1h",
        "KLINEHUB_SCAN_TIMEFRAME": "1h",
    }
