"""`klinehub evidence … --ray`: a cluster comes to the same as this process, to the bit."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.e2e.conftest import Run
from tests.ray_cluster import ENTRY, REQUIRED, Cluster, NoRay

from klinehub.bench.evidence import FIRST_DAY, year_tape
from klinehub.errors import DefinitionError, Unreachable
from klinehub.evidence.pools import Threads
from klinehub.evidence.replay import replay
from klinehub.panel.view import PLANES
from klinehub.scan.scanner import default_screen

pytestmark = pytest.mark.timeout(180)

FOREVER = 2**60
BARS = 1_300
HOUR = 3_600_000
OWN = """
from beside import doubled
from klinehub import Screen, factor
from klinehub.factors.define import Bar, State

@factor(state=1, warmup=40)
def drift(kept: State, close: Bar) -> float:
    kept[0] = 0.9 * kept[0] + 0.1 * doubled(close)
    return close / kept[0]

screen = Screen(name="drifting", timeframe="1h", order_by=-drift())
"""
BESIDE = """
from numba import njit

@njit
def doubled(value):
    return 2.0 * value
"""


@pytest.fixture(scope="module", autouse=True)
def entry() -> Iterator[None]:
    """Set how a cluster is entered before any test here imports Ray, whichever is the first."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENTRY.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give a cluster of the tests' own, or skip; KLINEHUB_REQUIRE_RAY=1 makes that a failure."""
    try:
        found = Cluster()
    except NoRay as exc:
        if REQUIRED:
            pytest.fail(f"KLINEHUB_REQUIRE_RAY is set, and {exc}")
        pytest.skip(f"SWEEPS ON RAY ARE NOT TESTED: {exc}")
    yield found
    found.stop()
    assert found.left() == []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a recording of a made-up market of hours, and a screen of one's own beside it."""
    panel = year_tape(3, 12, BARS).panels["1h"]
    columns: dict[str, Any] = {name: panel.planes[PLANES.index(name)].ravel() for name in PLANES[:5]}
    opened = FIRST_DAY * 24 * HOUR + HOUR * np.arange(BARS)
    times: dict[str, Any] = {
        "symbol": np.repeat(panel.symbols, BARS),
        "open_time": np.tile(opened, len(panel.symbols)),
    }
    folder = tmp_path_factory.mktemp("recorded")
    parquet.write_table(pa.table({**times, **columns}), folder / "hours.parquet")
    (folder / "own.py").write_text(OWN, "utf-8")
    (folder / "beside.py").write_text(BESIDE, "utf-8")
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klinehub.evidence.pools._PART", 400)


@pytest.mark.parametrize(
    "command",
    [
        ("judge", "score", "OWN", "--horizons", "1,4", "--no-log"),
        ("fit", "--headline", "1", "--timeframes", "1h", "--no-log"),
        ("calibrate", "score", "--calibration", "calibration.json"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_comes_to_the_same_on_ray(
    cluster: Cluster, run: Run, files: Path, command: tuple[str, ...]
) -> None:
    words = [str(files / "own.py") if word == "OWN" else word for word in command]

    def told(*options: str) -> Any:
        done = run("evidence", *words, "--data", str(files / "hours.parquet"), "--json", *options)
        assert done.code == 0, done.err
        assert "Ray" not in done.err
        return json.loads(done.out, object_hook=timeless)

    # Threads first: what is compiled then is not compiled twice at a time by workers.
    here = told("--workers", "1")
    assert told("--ray", cluster.address) == here


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out when something was made, and how long it took."""
    return {name: value for name, value in found.items() if name not in {"seconds", "made"}}


def test_every_bit_is_the_same_and_the_bars_travel_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from klinehub.evidence import ray_pool

    tape = year_tape(1, 12, BARS)
    screen = default_screen(tape.panels, "1h")
    here = replay(screen, tape, 0, FOREVER, pool=Threads(2))
    ending, put = signal.getsignal(signal.SIGTERM), ray.put
    told: list[int] = []
    lent: list[object] = []

    def counted(one: object) -> object:
        lent.append(one)
        return put(one)

    monkeypatch.setattr(ray, "put", counted)
    with ray_pool.connected(cluster.address) as pool:
        assert signal.getsignal(signal.SIGTERM) is ending
        assert pool.workers == 2
        for _ in range(2):
            there = replay(screen, tape, 0, FOREVER, pool=pool, progress=told.append)
            assert there.values.tobytes() == here.values.tobytes()
            assert there.hits.tobytes() == here.hits.tobytes()
        assert (sum(told), len(told)) == (2 * BARS, 2 * 4)
        assert len(lent) == 1

        other = year_tape(2, 12, BARS)
        there = replay(screen, other, 0, FOREVER, pool=pool)
        assert there.values.tobytes() == replay(screen, other, 0, FOREVER).values.tobytes()
        assert len(lent) == 2

        monkeypatch.setattr(ray_pool, "_code", lambda: "another")
        with pytest.raises(DefinitionError, match="has another klinehub, numpy or numba"):
            replay(screen, tape, 0, FOREVER, pool=pool)


def test_nobody_there_is_told_at_once(run: Run, files: Path) -> None:
    pytest.importorskip("ray")
    data = ("--data", str(files / "hours.parquet"), "--no-log")

    done = run("evidence", *data, "--ray", "127.0.0.1:1")
    assert (done.code, "There is no Ray at 127.0.0.1:1" in done.err) == (3, True)

    done = run("evidence", *data, "--ray", "somewhere")
    assert (done.code, "is no address of Ray" in done.err) == (2, True)


def test_without_ray_its_extra_is_named(run: Run, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klinehub.app.replaying.find_spec", lambda _: None)

    done = run("evidence", "--data", str(files / "hours.parquet"), "--no-log", "--ray", "auto")

    assert (done.code, "pip install 'klinehub[ray]'" in done.err) == (2, True)


def test_the_benchmark_starts_a_ray_and_leaves_nothing(cluster: Cluster) -> None:
    from klinehub.bench import sweep

    before = children()
    told = sweep.measure(1, symbols=8, bars=BARS, presets=("squeeze",)).detail

    assert told["equal"] is True
    assert min(told["pool_s"], told["ray_s"], told["starting_s"], told["replays"]["ray_s"]) > 0
    assert children() == before


def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    from klinehub.evidence import ray_pool

    start = ray.init

    def failing(*asked: Any, **options: Any) -> None:
        start(*asked, **options)
        assert children() > before
        raise ConnectionError("its servers are there, and do not answer")

    before = children()
    monkeypatch.setattr(ray, "init", failing)

    with pytest.raises(Unreachable, match="do not answer"), ray_pool.connected(ray_pool.LOCAL, 1):
        pytest.fail("there is no Ray to work with")

    assert children() == before


def children() -> set[str]:
    """List the processes that this one has begun, by their numbers."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split())
