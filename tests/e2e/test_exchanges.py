"""Exchanges behind ccxt: the commands of docs/exchanges.md, each against the simulated exchange."""

import json
import re
from pathlib import Path

import pytest
from tests.e2e.conftest import Run, started

pytestmark = pytest.mark.timeout(120)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "exchanges.md"
HERE = "ccxt:binanceusdm"
COMMANDS = re.findall(r"^\$ klinehub (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)


def words(command: str, at: list[str]) -> list[str]:
    """Give the words of a command, with the exchange that is there in place of the one it names."""
    found = re.findall(r"'[^']*'|\S+", command)
    return [*(HERE if word.startswith("ccxt:") else word.strip("'") for word in found), *at]


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.startswith("run ")])
def test_the_page_s_commands_end_well(run: Run, at: list[str], command: str) -> None:
    done = run(*words(command, at))

    assert (done.code, "error" in done.err) == (0, False), done.err
    assert done.out


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.startswith("run ")])
def test_a_hub_of_the_page_serves_what_ccxt_brought(at: list[str], tmp_path: Path, command: str) -> None:
    with started(*words(command, at), "--json", folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        scan = json.loads(process.stdout.readline())
        process.terminate()
        said = process.stderr.read()

    assert "not told: quote_volume, taker_base, taker_quote, trades" in said
    assert "taker_delta" in scan["result"]["unavailable"]
    assert scan["result"]["results"]


def test_the_page_has_commands() -> None:
    assert {one.split()[0] for one in COMMANDS} == {"run", "scan", "klines", "verify"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scan", "--once", "--exchange", "ccxt:bybitt"), "Did you mean 'ccxt:bybit'?"),
        (("scan", "--once", "--exchange", "ccxt:okx:spots"), "Did you mean 'ccxt:okx:spot'?"),
        (("run", "--marks", "--exchange", "ccxt:okx"), "no marks"),
        (("doctor", "--exchange", "ccxt:okx"), "does not know ccxt:okx"),
        (("download", "BTCUSDT", "--market", "ccxt:okx"), "does not know ccxt:okx"),
    ],
)
def test_what_can_not_be_is_said(run: Run, arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)

    assert done.code == 2
    assert said in " ".join(done.err.split())


def test_a_screen_that_reads_what_is_not_told_is_refused(run: Run, at: list[str]) -> None:
    done = run("scan", "--once", "--where", "taker_delta > 0", "--exchange", HERE, "--timeframes", "1m", *at)

    assert done.code == 2
    assert "the exchange does not tell it" in " ".join(done.err.split())
