"""Screens of market data as a user runs them: what they need is switched on, or named."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import KLINEHUB, Run, environment

pytestmark = pytest.mark.timeout(120)

WHERE = "funding < 5 and abs(basis) < 5 and open_interest_turnover > 0"


def test_a_screen_that_needs_market_data_has_it_at_once(run: Run, at: list[str]) -> None:
    done = run("scan", "--once", "--json", "--where", WHERE, *at)

    found = json.loads(done.out)
    assert done.code == 0
    result = found["result"]
    assert (result["symbols"], result["warming"], result["missing"]) == (12, [], [])
    assert result["signals_found"] > 0
    for hit in result["results"]:
        assert -2 <= hit["columns"]["funding"] <= 2
        assert hit["columns"]["basis"] != 0.0
        assert hit["columns"]["open_interest"] > 0
    assert found["api_calls"] == 0


def test_the_preset_is_a_table_of_what_pays_most(run: Run, at: list[str]) -> None:
    table = run("scan", "--once", "--screen", "funding_extremes", *at)
    found = json.loads(run("scan", "--once", "--json", "--screen", "funding_extremes", *at).out)["result"]

    assert table.code == 0
    assert "12 symbols judged" in table.out
    paid = [abs(hit["columns"]["funding"]) for hit in found["results"]]
    assert paid == sorted(paid, reverse=True)
    for hit in found["results"]:
        assert hit["columns"]["funding_annual"] == pytest.approx(1095 * hit["columns"]["funding"])


def test_a_running_hub_without_it_says_what_to_switch_on(run: Run, at: list[str], tmp_path: Path) -> None:
    """Its other screens go on."""
    command = [*KLINEHUB, "run", "--json", "--timeframes", "1m,5m", *at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)) as hub:
        assert hub.stdout is not None
        hub.stdout.readline()
        refused = run("scan", "--once", "--where", "funding > 0.01")
        plain = run("scan", "--once", "--json", "--where", "close > 0")
        hub.terminate()
        hub.communicate()

    assert refused.code == 2
    assert "funding_rate, which funding reads, is not kept: switch `market.marks` on" in refused.err
    assert plain.code == 0
