"""kill -9 at every kind of step from deciding to having delivered: nothing lost, nothing twice unseen."""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from klinehub.alerts.outbox import Outbox

pytestmark = pytest.mark.timeout(240)
PROGRAM: Final = "tests.e2e.mortal_alerts"
# After how many steps each process is gone: odd ones and even ones, soon after the start and later.
LIVES: Final = (1, 2, 3, 4, 5, 6, 7, 8, 13, 20, 33)
FOR_EVER: Final = 10**9


def live(folder: Path, steps: int) -> int:
    """Run a process for so many steps; gives how it ended."""
    command = [sys.executable, "-m", PROGRAM, str(folder), str(steps)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode in {0, -signal.SIGKILL}, found.stderr
    return found.returncode


def received(folder: Path) -> list[dict[str, Any]]:
    path = folder / "received"
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def logged(folder: Path) -> dict[str, str]:
    """Give the state of each alert of the log by its key."""
    outbox = Outbox(folder / "alerts.db", now=0)
    try:
        return {one.kept.alert.key: one.deliveries[0].state for one in outbox.entries(limit=100_000)}
    finally:
        outbox.close()


def test_a_kill_loses_nothing_and_sends_twice_at_most_what_was_being_sent(tmp_path: Path) -> None:
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    calm.mkdir()
    wild.mkdir()
    assert live(calm, FOR_EVER) == 0
    kills = sum(live(wild, steps) == -signal.SIGKILL for steps in LIVES)
    assert live(wild, FOR_EVER) == 0

    wanted, found = received(calm), received(wild)
    keys = Counter(key for one in found for key in one["keys"])
    assert len(wanted) > 30
    assert kills == len(LIVES)
    assert set(keys) == {key for one in wanted for key in one["keys"]}
    assert set(logged(wild).values()) == {"sent"}
    assert logged(wild).keys() == keys.keys()
    # Whatever came twice was under way when a process was killed, and has one and the same id.
    twice = [one for one in found if keys[one["keys"][0]] > 1]
    assert 0 < len({one["id"] for one in twice}) <= kills
    assert all(keys[one["keys"][0]] == Counter(two["id"] for two in found)[one["id"]] for one in twice)
