"""The soak: seeded faults of every kind against the unmodified hub, and the tools around it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from klinehub.app.soak import run, seeds_of
from klinehub.errors import DefinitionError
from klinehub.sim.campaign import Report, campaign
from klinehub.sim.faults import ALL_KINDS, Fault
from klinehub.sim.scene import draw
from klinehub.sim.shrink import shrink
from klinehub.sim.soak import planned, soak

pytestmark = pytest.mark.timeout(900)

SEEDS: Final = range(1, 21)
# Seeds that found a bug once, and which.
REGRESSIONS: Final[dict[str, str]] = json.loads(Path(__file__).with_name("regressions.json").read_text())
LEAST_CALM: Final = 0.999
LEAST_BETWEEN: Final = 0.95


def no_clock() -> float:
    return 0.0


@pytest.mark.slow
def test_the_cache_equals_the_exchange_whatever_happens() -> None:
    report = campaign(sorted({*SEEDS, *map(int, REGRESSIONS)}), jobs=2, monotonic=no_clock)
    assert report.failed == ()
    assert report.wrong_closed_served == 0
    assert report.availability_fault_free is not None
    assert report.availability_faulty is not None
    assert report.availability_fault_free >= LEAST_CALM
    assert report.availability_faulty >= LEAST_BETWEEN
    assert report.told.stream <= 10
    assert sum(report.faults.values()) > len(SEEDS)


@pytest.mark.slow
def test_equal_seeds_give_equal_traces_in_any_process() -> None:
    code = "from klinehub.sim.soak import soak; print(soak(3).hash)"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": str(salt)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in (1, 2)
    ]
    assert told[0] == told[1]
    assert told[0].strip()


def test_scenes_and_schedules_depend_on_their_seed_alone() -> None:
    assert str(draw(7)) == str(draw(7)) != str(draw(8))
    assert planned(7) == planned(7) != planned(8)
    scenes = [draw(seed) for seed in range(200)]
    assert {len(scene.roles) for scene in scenes} == {5, 6, 7}
    assert {scene.native for scene in scenes} == {scene.flat_closes for scene in scenes} == {True, False}
    assert sum(not planned(seed) for seed in range(200)) in range(5, 40)
    assert {fault.kind for seed in range(200) for fault in planned(seed)} == set(ALL_KINDS)
    assert all(scene.start + 60_000 <= one.at < scene.end for scene in scenes for one in planned(scene.seed))


def test_shrinking_keeps_what_is_needed_and_nothing_else() -> None:
    faults = [Fault("reset", number, 0.0, 0.0, 0.0) for number in range(20)]
    tried: list[int] = []

    def fails(some: Sequence[Fault]) -> bool:
        tried.append(len(some))
        return {3, 11} <= {fault.at for fault in some}

    assert [fault.at for fault in shrink(faults, fails)] == [3, 11]
    assert len(tried) < 60
    assert shrink(faults, lambda _: True) == []
    tried.clear()
    shrink(faults, fails, most=3)
    assert len(tried) == 4


def test_a_run_without_faults_is_told_apart_and_is_always_fresh() -> None:
    lines: list[str] = []
    outcome = soak(1, [], tell=lines.append)
    assert outcome.divergences == ()
    assert outcome.faults == {}
    assert outcome.calm == outcome.symbol_seconds > 0
    assert any("closed 1m" in line for line in lines)
    assert lines[-1].endswith("0 divergences")


def test_a_hub_that_fails_is_a_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("klinehub.feed.live.Live._on_frames", broken)
    outcome = soak(1, [])
    assert [one.kind for one in outcome.divergences][-1] == "crash"
    assert "planted" in outcome.divergences[-1].detail


def test_a_report_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    report = campaign([1], jobs=1, monotonic=no_clock, progress=lambda one: seen.append(one.seed), twice=True)
    assert isinstance(report, Report)
    assert (report.seeds, report.hashes, seen) == (1, 1, [1])
    assert set(report.faults) == set(ALL_KINDS)


def test_seeds_are_read_as_they_are_written() -> None:
    assert seeds_of("3..5") == [3, 4, 5]
    assert seeds_of("7") == [7]
    for wrong in ("5..3", "a..b", "-1..2", ""):
        with pytest.raises(DefinitionError, match=r"1\.\.1000"):
            seeds_of(wrong)


def test_a_failing_seed_is_shown_with_its_smallest_schedule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("klinehub.sim.soak.MOST_UNTOLD", -1)
    monkeypatch.setattr("klinehub.sim.soak.PATIENCE", 1)
    assert run(seeds="1", seed=1, jobs=1, trace=True, twice=False, as_json=False) == 1
    shown = capsys.readouterr().out
    assert "DIVERGENCE I4" in shown
    assert "the smallest schedule that still fails, 0 of" in shown
    assert "klinehub sim soak --seed 1 --trace" in shown
    assert run(seeds="1", seed=1, jobs=1, trace=False, twice=False, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["failed"][0]["seed"] == 1
