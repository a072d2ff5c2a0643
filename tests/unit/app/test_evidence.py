"""`klinehub evidence --html`: the report is written beside what is printed, or refused before it is made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klinehub.app import evidence
from klinehub.app.cli import cli
from klinehub.errors import DefinitionError

HOUR = 3_600_000
BEGIN = 1_735_689_600_000


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def recording(path: Path, bars: int = 300, symbols: int = 8) -> Path:
    rng = np.random.default_rng(1)
    lines = ["symbol,open_time,open,high,low,close,volume"]
    for symbol in range(symbols):
        prices = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, bars + 1)))
        for bar in range(bars):
            open_, close = prices[bar], prices[bar + 1]
            high, low = max(open_, close), min(open_, close)
            line = (f"S{symbol}USDT", BEGIN + bar * HOUR, open_, high, low, close, rng.uniform(1.0, 9.0))
            lines.append(",".join(map(str, line)))
    path.write_text("\n".join(lines))
    return path


def run(*args: str) -> None:
    cli.main(["evidence", *args], standalone_mode=False)


@pytest.mark.timeout(120)
def test_a_report_is_written_and_the_table_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = recording(tmp_path / "bars.csv")
    given = ("--data", str(data), "--no-log", "--horizons", "1,4", "volume", "close")
    run("--html", "a.html", *given)
    told = capsys.readouterr()
    run("--html", "b.html", *given)
    page = Path("a.html").read_text("utf-8")

    assert "report: a.html" in told.err
    assert "rank IC" in told.out
    assert page.startswith("<!doctype html>")
    assert page == Path("b.html").read_text("utf-8")
    assert page.count("<article") == 3


def test_without_its_library_a_report_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "find_spec", lambda name: None)

    assert evidence.page_path({"html": None}) is None
    with pytest.raises(DefinitionError, match=r"pip install 'klinehub\[report\]'"):
        evidence.page_path({"html": "report.html"})


def test_a_folder_that_is_not_there_is_told_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*given: Any) -> None:
        pytest.fail("the data was read")

    monkeypatch.setattr(evidence, "past_of", nothing)
    with pytest.raises(DefinitionError, match="There is no folder nowhere"):
        run("--html", "nowhere/report.html")
