"""Alerts of a demo at the command line: fired, logged, delivered, tested, read from disk."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.conftest import Run, started

pytestmark = pytest.mark.timeout(200)
# Market time runs ten times as fast as real time: a bar of one minute closes every six seconds.
SPEED: Final = "10"
PATIENCE: Final = 90.0


class Receiver(BaseHTTPRequestHandler):
    """Takes what it is sent."""

    got: Final[list[tuple[str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((str(self.headers["X-Klinehub-Id"]), json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.got.clear()
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/alerts"
        server.shutdown()
        thread.join()


def settings(url: str) -> str:
    return f"""
[alerts]
path = "log/alerts.db"
url = "http://board.lan"

[rules.rising]
where = "close > lag(close, 1)"
timeframe = "1m"

[webhooks.desk]
url = "{url}"
secret = "sixteen characters and more"
allow_private = true
"""


def test_a_rule_of_the_file_fires_is_delivered_and_can_be_read_while_the_hub_runs_and_after(
    run: Run, receiver: str, tmp_path: Path
) -> None:
    (tmp_path / "klinehub.toml").write_text(settings(receiver))
    with started("demo", "--symbols", "8", "--speed", SPEED, "--json", folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        sent = delivered(run)
        tested = run("alerts", "test", "rising", "--json")
        unknown = run("alerts", "test", "risin")
        process.terminate()
        process.communicate()

    assert json.loads(tested.out) == [{"target": "desk", "ok": True, "detail": ""}]
    assert (unknown.code, "rising" in unknown.err) == (2, True)
    got = {body["alert"]["key"]: body for _, body in Receiver.got if body.get("type") != "test"}
    for one in sent:
        assert got[one["key"]]["id"] == one["id"]
        assert one["link"].startswith(f"http://board.lan/?view=symbol&symbol={one['symbol']}&tf=1m&at=")
    assert any(body.get("type") == "test" for _, body in Receiver.got)

    after = json.loads(run("alerts", "--json", "--limit", "1000").out)
    assert after[: len(sent)] == sent
    shown = run("alerts", "--symbol", sent[0]["symbol"]).out
    assert "rising" in shown
    assert "desk sent" in shown


def delivered(run: Run) -> list[dict[str, Any]]:
    """Wait for alerts that have arrived; gives those of the log that have."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        done = run("alerts", "--json")
        found: list[dict[str, Any]] = json.loads(done.out)
        if found and all(one["deliveries"][0]["state"] == "sent" for one in found):
            return found
        time.sleep(0.5)
    pytest.fail("nothing was delivered")


def test_without_a_hub_and_without_a_log_the_way_out_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "klinehub.toml").write_text('[alerts]\npath = "nowhere.db"\n')

    done = run("alerts")

    assert done.code == 1
    assert "nowhere.db" in done.err
    assert "klinehub run" in done.err
    assert "NoHub" not in done.err


def test_a_target_of_the_settings_is_tested_without_a_hub_by_its_name_or_by_a_rule(
    run: Run, receiver: str, tmp_path: Path
) -> None:
    (tmp_path / "klinehub.toml").write_text(settings(receiver))

    assert run("alerts", "test", "desk").out == "desk: sent\n"
    assert json.loads(run("alerts", "test", "rising", "--json").out) == [
        {"target": "desk", "ok": True, "detail": ""}
    ]
    assert [body["type"] for _, body in Receiver.got] == ["test", "test"]
    unknown = run("alerts", "test", "dsk")
    assert (unknown.code, "'desk'" in unknown.err) == (2, True)
    (tmp_path / "klinehub.toml").write_text(settings("http://127.0.0.1:1/nobody"))
    lost = run("alerts", "test", "desk")
    assert (lost.code, "no answer" in lost.out) == (1, True)
