"""History in a bucket, as a user meets it: imported, looked at, checked, studied, handed on and deleted."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.conftest import Done, Run
from tests.objects import Server

import klinehub as kh
from klinehub.sim.sample import sample

pytestmark = pytest.mark.timeout(120)
DAYS: Final = ("--from", "2025-01-02", "--to", "2025-01-02")


def told(done: Done, code: int = 0) -> Any:
    assert (done.code, "Traceback" in done.err) == (code, False), done
    return json.loads(done.out)


@pytest.fixture
def place(s3: Server, run: Run, tmp_path: Path) -> str:
    """Give the address of a bucket into which two days of three symbols were imported."""
    sample(tmp_path / "first", symbols=3, days=2)
    assert run("store", "export", "files", "--data", "first").code == 0
    address = s3.url("lake")
    found = told(run("store", "import", "files", "--data", "data", "--history", address, "--json"))
    assert (found["new"], found["failed"]) == (3 * 2 * 1_440, {})
    return address


def test_the_commands_look_and_work_there(place: str, run: Run, tmp_path: Path) -> None:
    at = ("--data", "data", "--history", place)
    (info,) = told(run("store", "info", *at, "--json"))

    assert not (tmp_path / "data" / "binance-usdm" / "history").exists()
    assert (info["market"], info["hot"]) == ("binance-usdm", None)
    assert info["history"]["where"] == "s3://klines/lake/binance-usdm/history"
    assert [(one["timeframe"], one["bars"]) for one in info["history"]["timeframes"]] == [("1m", 8_640)]
    assert told(run("store", "verify", *at, "--json"))["sound"]
    assert run("store", "compact", *at).code == 0
    assert told(run("store", "repair", *at, "--json"))["done"] == []
    assert told(run("store", "export", "again", *at, "--json"))["bars"] == 8_640
    again = kh.open(place).exact("1m")
    first = kh.open("first").exact("1m")
    assert {name: one.rows.tobytes() for name, one in again.items()} == {
        name: one.rows.tobytes() for name, one in first.items()
    }
    gone = told(run("store", "prune", *at, "--before", "2025-02-01", "--timeframes", "1m", "--yes", "--json"))
    assert gone[0]["months"] == ["2025-01"]
    assert kh.open(place).symbols("1m") == ()


def test_a_folder_that_is_named_is_meant_without_the_history_of_another(
    place: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLINEHUB_STORE_HISTORY_PATH", place)

    (info,) = told(run("store", "info", "--data", "first", "--json"))
    assert info["history"]["where"].endswith("first/binance-usdm/history")
    monkeypatch.setenv("KLINEHUB_STORE_PATH", "nothing-here")
    (info,) = told(run("store", "info", "--json"))
    assert info["history"]["where"] == "s3://klines/lake/binance-usdm/history"


def test_a_study_reads_there(place: str, run: Run) -> None:
    def study(*at: str) -> dict[str, Any]:
        found = told(run("evidence", "--timeframes", "5m,1h", *DAYS, "--no-log", "--json", *at))
        return {name: value for name, value in found.items() if name != "seconds"}

    there = study("--data", place)
    assert there == study("--data", "first")
    assert there == study("--data", "nothing", "--history", place)


def test_what_can_not_be_reached_is_said_in_a_sentence(s3: Server, run: Run) -> None:
    nowhere = run("store", "info", "--data", "data", "--history", s3.url("lake", "nobody"))
    secret = run("store", "info", "--data", "data", "--history", "s3://me:hunter2@klines/lake")

    assert (nowhere.code, secret.code) == (1, 2)
    assert "There is no bucket 'nobody'" in " ".join(nowhere.err.split())
    assert "AWS_PROFILE" in secret.err
    assert "hunter2" not in secret.err + secret.out
