"""Hubs on a relay as a user starts them: one publishes, one is fed, and both answer the same."""

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.e2e.conftest import KLINEHUB, Run, environment, started

from klinehub.bench import cluster
from klinehub.bench.nats import Server

pytestmark = pytest.mark.timeout(300)
SYMBOLS = "BTCUSDT,ETHUSDT,SOLUSDT"


def line(process: "subprocess.Popen[str]", begin: str) -> str:
    """Give the first line that a command says on stderr that begins so."""
    assert process.stderr is not None
    said = []
    for text in process.stderr:
        said.append(text)
        if text.startswith(begin):
            return text
    raise AssertionError("".join(said))


def asked(folder: Path, *arguments: str) -> str:
    """Ask the hub that runs in *folder*."""
    done = subprocess.run(
        [*KLINEHUB, *arguments], env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_hub_that_is_fed_answers_as_the_one_that_publishes(
    at: list[str], tmp_path: Path, nats_server: Server
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    frames = ["--timeframes", "1m,5m", "--bars", "120", "--json"]
    with ExitStack() as stack:
        for folder in (here, there):
            folder.mkdir()
        fed = stack.enter_context(
            started(
                "run",
                "--subscribe",
                nats_server.url,
                *frames,
                folder=there,
                env={"KLINEHUB_STORE_PATH": "off"},
            )
        )
        assert "No hub has told of binance-usdm there yet" in line(fed, "relay:")
        tells = stack.enter_context(
            started("run", "--publish", nats_server.url, "--symbols", SYMBOLS, *at, *frames, folder=here)
        )
        for process in (tells, fed):
            line(process, "serving:")
        status = [json.loads(asked(folder, "status", "--json")) for folder in (here, there)]
        rows = [
            json.loads(asked(folder, "klines", "ETHUSDT", "5m", "--limit", "100", "--json"))["klines"]
            for folder in (here, there)
        ]
        for process in (tells, fed):
            process.terminate()
            process.communicate()

    stats = status[1]["stats"] if "stats" in status[1] else status[1]
    assert stats["symbols"] == 3
    assert stats["rest_calls"] == 0
    assert stats["relay_hubs"] == 1
    assert stats["relay_fault"] == ""
    assert len(rows[0]) == 100
    # A bar may have closed between the two questions.
    assert [row for row in rows[0] if row in rows[1]][-98:] == rows[0][-98:] or rows[0][2:] == rows[1][1:-1]


def test_the_benchmark_of_clusters_keeps_its_contract(nats_program: str) -> None:
    assert nats_program
    found = cluster.measure(1, n=1, symbols=20, closes=10, shared=6, settled=150_000).detail

    for name in ("publish_ms", "subscriber_ms"):
        assert 0 < found[name]["p50"] <= found[name]["p99"]
    assert found["subscriber_by_closes_ms"]["1"]["p50"] > 0
    assert (found["kills"], found["missing"], found["doubled"]) == (1, 0, 0)
    assert (found["wrong_series"], found["lost"], found["crowd"]["lost"]) == (0, 0, 0)
    assert found["closed"] > 0
    assert found["takeover_s"]["max"] > 0


def test_two_ways_at_once_are_refused(run: Run, at: list[str]) -> None:
    refused = run("run", "--publish", "nats://127.0.0.1:1", "--cluster", "nats://127.0.0.1:1", *at)

    assert refused.code == 2
    assert "Set one of `relay.publish`, `relay.subscribe` and `relay.cluster`" in refused.err


def test_what_only_the_exchange_tells_is_refused_to_a_hub_that_is_fed(run: Run) -> None:
    refused = run("run", "--subscribe", "nats://127.0.0.1:1", "--marks")

    assert refused.code == 2
    assert "`market.marks` needs the exchange" in refused.err
