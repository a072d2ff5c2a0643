"""The demo: the contract of its document, on a synthetic market and on recorded ones."""

import json
from pathlib import Path

import pytest
from tests.e2e.conftest import Run

pytestmark = pytest.mark.timeout(150)
AT = "2026-03-05T12:00:10Z"


def test_once_prints_the_whole_contract(run: Run) -> None:
    done = run("demo", "--once", "--json", "--symbols", "40", "--seed", "3", "--at", AT)

    found = json.loads(done.out)
    warmup, scan = found["warmup"], found["scan"]
    assert done.code == 0
    assert (found["symbols"], found["timeframes"]) == (40, ["1m", "5m", "15m", "1h"])
    assert (warmup["requests"], warmup["weight"], warmup["succeeded"], warmup["failed"]) == (160, 320, 160, 0)
    assert warmup["seconds"] > 0
    assert (scan["timeframe"], scan["api_calls"]) == ("15m", 0)
    assert scan["bar_open_time"] == 1_772_711_100_000
    assert scan["symbols"] + len(scan["warming"]) == 40
    assert scan["signals_found"] == len(scan["results"])
    for hit in scan["results"]:
        assert sum(hit["contributions"].values()) == hit["score"]
        assert -100 <= hit["score"] <= 100
        assert hit["side"] in {"long", "short", "flat"}
    sizes = [abs(hit["score"]) for hit in scan["results"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["verify"] == {"checked": 40 * 4 * 498, "different": 0, "failed": {}}


def test_the_same_seed_and_time_give_the_same_ranking(run: Run) -> None:
    command = ("demo", "--once", "--json", "--symbols", "8", "--at", AT)

    first, second, other = (json.loads(run(*command, "--seed", seed).out) for seed in ("3", "3", "4"))

    assert first["scan"]["results"] == second["scan"]["results"]
    assert first["scan"]["results"] != other["scan"]["results"]


def test_the_real_limit_is_kept_when_asked_for(run: Run) -> None:
    done = run("demo", "--once", "--json", "--symbols", "5", "--limits", "--at", AT)

    assert json.loads(done.out)["warmup"]["failed"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--replay", "nowhere"), "nowhere"),
        (("--at", "soon"), "2025-10-10T21:30:00Z"),
    ],
)
def test_a_market_that_cannot_be_made_is_told(run: Run, arguments: tuple[str, ...], said: str) -> None:
    done = run("demo", "--once", *arguments)

    assert done.code == 2, done
    assert said in done.err


def test_recorded_minutes_replay_without_a_difference(run: Run, realdata: Path) -> None:
    folder = realdata / "ohlcv_1m_12field_csv"

    done = run("demo", "--replay", str(folder), "--at", "2026-02-20T13:00:30Z", "--once", "--json")

    found = json.loads(done.out)
    assert (found["symbols"], found["timeframes"]) == (7, ["1m", "5m", "15m", "1h"])
    assert found["scan"]["unavailable"] == ["relative_strength"]
    assert found["verify"]["different"] == 0
    assert found["verify"]["checked"] > 10_000


def test_the_crash_of_october_2025_ranks_the_whole_market_short(run: Run, realdata: Path) -> None:
    folder = realdata / "ohlcv_15m_521"

    done = run("demo", "--replay", str(folder), "--at", "2025-10-10T21:30:00Z", "--once", "--json")

    found = json.loads(done.out)
    scan = found["scan"]
    assert found["timeframes"] == ["15m", "30m", "1h", "2h"]
    assert scan["symbols"] >= 500
    assert scan["unavailable"] == ["taker_delta"]
    assert scan["bar_open_time"] == 1_760_130_000_000
    assert all(hit["side"] == "short" for hit in scan["results"][:100])
    assert found["verify"]["different"] == 0
