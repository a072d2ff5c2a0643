"""Spot from the command line: a market of its own, and beside the futures where a screen reads it."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import KLINEHUB, Run

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def markets() -> Iterator[dict[str, str]]:
    command = [*KLINEHUB, "sim", "--port", "0", "--symbols", "20", "--spot", "--json", "--with-parent"]
    command += ["--churn", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        process.communicate()


def test_the_spot_market_is_followed_alone(run: Run, markets: dict[str, str]) -> None:
    at = ["--rest-url", markets["spot_rest_url"], "--stream-url", markets["spot_stream_url"]]
    at += ["--exchange", "binance-spot"]
    rows = json.loads(run("klines", "pepeusdt", "1m", "--limit", "2", "--json", *at).out)["klines"]
    verified = run("verify", "--timeframes", "1m,1h", "--bars", "100", "--json", *at)
    doctor = run("doctor", "--json", *at)

    assert len(rows) == 2
    assert rows[0][1].startswith("0.00000")
    assert verified.code == 0
    assert json.loads(verified.out)["different"] == []
    assert (doctor.code, json.loads(doctor.out)["exchange"]) == (0, "binance-spot")


def test_a_screen_that_reads_spot_has_it_followed(
    run: Run, markets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLINEHUB_EXCHANGE_SPOT_REST_URL", markets["spot_rest_url"])
    monkeypatch.setenv("KLINEHUB_EXCHANGE_SPOT_STREAM_URL", markets["spot_stream_url"])
    at = ["--rest-url", markets["rest_url"], "--stream-url", markets["stream_url"], "--timeframes", "1m,15m"]
    found = run("scan", "--once", "--json", "--where", "spot_basis > -5 and spot_volume_share > 0", *at)
    hits = {hit["symbol"] for hit in json.loads(found.out)["result"]["results"]}

    assert found.code == 0
    assert {"BTCUSDT", "1000PEPEUSDT"} <= hits
    assert "TSLAUSDT" not in hits


def test_spot_has_nothing_beside_it(run: Run, markets: dict[str, str]) -> None:
    at = ["--rest-url", markets["spot_rest_url"], "--exchange", "binance-spot"]
    refused = run("run", "--spot", *at)

    assert refused.code == 2
    assert "no spot beside it" in refused.err
