"""Loops: compiled once, kept by all that they depend on, and started where the bars say, not the program."""

import tempfile
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import pytest
from tests.unit.factors.markets import BASE, FIRST, names, planes
from tests.unit.factors.test_engine import average, surge

from klinehub.errors import DefinitionError
from klinehub.factors import loops
from klinehub.factors.define import Factor, Window, factor
from klinehub.factors.engine import Engine
from klinehub.factors.expr import field
from klinehub.factors.loops import BLOCK, _written, fingerprint, loop_of, slots, source_of
from klinehub.panel.history import History
from klinehub.panel.memory import F64

pytestmark = pytest.mark.timeout(120)
BARS: Final = 640


def history(bars: F64) -> dict[str, History]:
    return {"15m": History(BASE, names(3, bars.shape[1]), FIRST, bars)}


def test_a_loop_is_made_once() -> None:
    assert loop_of(average) is loop_of(average)


def test_as_many_runs_are_kept_as_are_under_way() -> None:
    """Those that warm up for a later block, that of the block, and one that is being replaced."""
    for need in (0, 1, 127, 128, 129, 400):
        begun = [{block for block in range(99) if block * BLOCK - need <= bar} for bar in range(2_000)]
        most = max(
            len([block for block in now if bar < (block + 1) * BLOCK]) for bar, now in enumerate(begun)
        )
        assert most <= slots(need) <= most + 1


@pytest.mark.parametrize("at", [200, 383, 384, 400])
def test_a_hole_starts_a_run_anew_and_costs_the_rest_of_its_block(at: int) -> None:
    """By hand: after a hole a value comes once the warm-up has passed, from the hole or a block's start."""
    bars = planes(3, 2, BARS)
    bars[:, 1, at] = np.nan
    got = Engine({"a": average()}, history(bars), "15m", bars=BARS).at(FIRST + BARS - 1)["a"]
    closes, need = bars[3, 1], 80

    for t in range(at - 5, BARS):
        begin = max((FIRST + t) // BLOCK * BLOCK - need - FIRST, at + 1 if t > at else 0)
        if t == at or t - begin < need or begin < 0:
            assert np.isnan(got[1, t])
            continue
        state = np.zeros(2)
        run = [average.function(state, float(close), 20) for close in closes[begin : t + 1]]
        assert got[1, t] == run[-1]
    assert not np.isnan(got[0, at - 5 :]).any()


def test_a_window_with_a_hole_has_no_value_and_the_next_whole_one_has() -> None:
    bars = planes(3, 1, 100)
    bars[:, 0, 50] = np.nan
    got = Engine({"a": surge()}, history(bars), "15m", bars=100).at(FIRST + 99)["a"][0]

    assert np.flatnonzero(np.isnan(got)).tolist() == [*range(24), *range(50, 75)]


@factor(window=3)
def beyond(close: Window, n: int = 3) -> float:
    """Reads what it did not ask for when told to."""
    return float(close[n])


def test_a_factor_that_reaches_beyond_its_window_is_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    bars = history(planes(3, 1, 100))

    assert Engine({"a": beyond(n=2)}, bars, "15m").at(FIRST + 99)["a"][0, 0] == bars["15m"].planes[3, 0, -1]
    for n in (3, -4, 10**6):
        with pytest.raises(DefinitionError, match=r"beyond\(.*\) raised IndexError"):
            Engine({"a": beyond(n=n)}, bars, "15m").at(FIRST + 99)


@factor(window=3)
def sorting(close: Window) -> float:
    close.sort()
    return float(close[1])


@factor(window=3)
def speaking(close: Window) -> float:
    return float(f"{close[0]:.3f}".strip())


@pytest.mark.parametrize("wrong", [sorting, speaking], ids=lambda one: one.name)
def test_what_can_not_be_compiled_or_writes_into_the_bars_of_all_is_refused(wrong: Factor) -> None:
    with pytest.raises(DefinitionError, match=rf"{wrong.name}\(\) can not be compiled: .*…") as refused:
        Engine({"a": wrong()}, history(planes(3, 1, 9)), "15m").compile()

    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_values_are_the_reader_s_own() -> None:
    """What was given does not change when the next bar is computed in the same memory."""
    engine = Engine({"a": field("close"), "b": average()}, history(planes(3, 4, BARS)), "15m", bars=50)
    first = engine.at(FIRST + BARS - 2)
    kept = {name: values.copy() for name, values in first.items()}
    engine.at(FIRST + BARS - 1)

    assert all(np.array_equal(first[name], kept[name]) for name in kept)


def closing(by: Any) -> Any:
    def closed(close: Window) -> float:
        return float(close[-1] * by)

    return closed


def test_equal_code_around_other_numbers_is_another_loop() -> None:
    """numba's own cache looks at the code alone, and gave the second the first one's."""
    one, two = (factor(window=1)(closing(by)) for by in (2.0, 3.0))
    got = Engine({"a": one(), "b": two()}, history(planes(3, 1, 9)), "15m").at(FIRST + 8)

    assert got["b"][0, 0] == pytest.approx(got["a"][0, 0] * 1.5)


SOURCE: Final = """
import math, statistics
{extra}
def inner(x, k={k}):
    return other(x) {sign} k
def other(x):
    return x * {by}
def f(x):
    return inner(x) + part.VALUE + TABLE[0] + math.pi + NOTHING_THERE
"""


def digest(value: int = 1, table: float = 1.0, **changes: object) -> bytes:
    class Part:
        VALUE = value

    part = type(loops)("part")
    part.__dict__["VALUE"] = value
    scope: dict[str, Any] = {"part": part, "TABLE": np.array([table])}
    exec(SOURCE.format(**{"extra": "", "k": 1, "sign": "+", "by": 2, **changes}), scope)
    return fingerprint(scope["f"])


def test_a_fingerprint_is_of_all_that_a_function_reads_and_calls() -> None:
    changes: list[dict[str, Any]] = [{}, {"k": 2}, {"sign": "-"}, {"by": 3}, {"value": 2}, {"table": 2.0}]

    assert len({digest(**one) for one in changes}) == len(changes)
    assert digest() == digest(extra="unused = 3")


def test_a_fingerprint_sees_a_compiled_function_as_the_plain_one() -> None:
    assert fingerprint(numba.njit(surge.function)) == fingerprint(surge.function)


def test_a_function_that_calls_itself_has_a_fingerprint() -> None:
    def down(x: float) -> float:
        return down(x - 1.0) if x > 0.0 else x

    assert fingerprint(down) == fingerprint(down)


def test_the_source_of_a_loop_names_its_fields_and_options() -> None:
    text = source_of(surge)

    assert "cube[5, s]" in text
    assert "option_n" in text
    compile(text, "loop", "exec")
    compile(source_of(average), "loop", "exec")


def test_where_a_folder_can_not_be_written_the_next_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("no folder", "utf-8")
    monkeypatch.setattr(loops, "__file__", str(occupied / "loops.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = Path(_written("loop_a", "a = 1\n"))

    assert path.parent == tmp_path / "cache" / "klinehub"
    assert path.read_text("utf-8") == "a = 1\n"
    assert _written("loop_a", "a = 2\n") == str(path)
    assert path.read_text("utf-8") == "a = 1\n"
    assert [one.name for one in path.parent.iterdir()] == ["loop_a.py"]

    monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(occupied))
    assert _written("loop_a", "a = 1\n") == "<loop_a>"
