"""The market family: its formulas, the same bits live and on history, and what is refused."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pytest
from tests.unit.factors.markets import BASE, FIRST, HOUR, names, planes

from klinehub.domain.kline import CLOSED, ROW, Scale
from klinehub.domain.timeframe import in_order
from klinehub.errors import DefinitionError
from klinehub.factors.engine import Engine, usable
from klinehub.factors.expr import Expr, field
from klinehub.factors.stock import stock_factor
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.merge import merge_closed
from klinehub.panel.ring import Ring
from klinehub.panel.view import BESIDE, PLANES

pytestmark = pytest.mark.timeout(120)

SYMBOLS: Final = 6
BARS: Final = 200
SCALE: Final = Scale(8, 6, 6)
# Every third of what is told of open interest falls into a bar, marks into all of them.
TERMS: Final[dict[str, Expr]] = {
    name: stock_factor(name)() for name in ("funding", "funding_annual", "basis", "funding_rank")
} | {
    "open_interest_turnover": stock_factor("open_interest_turnover")(n=12),
    "funding_z": stock_factor("funding_z")(n=12),
    "open_interest_change": stock_factor("open_interest_change")(n=3),
    "hourly": stock_factor("basis")().on("1h").zscore() + field("funding_rate"),
}


def told(name: str, values: Sequence[float], **options: float) -> F64:
    """Give a factor's values over bars in which these numbers of one field were told."""
    bars = np.ones((len(PLANES), 1, len(values)))
    history = History(BASE, ["A"], FIRST, bars, {field: np.array([values], float) for field in BESIDE})
    engine = Engine({"x": stock_factor(name)(**options)}, {"15m": history}, "15m", bars=len(values))
    found: F64 = engine.at(FIRST + len(values) - 1)["x"][0]
    return found


NAN: Final = float("nan")


@pytest.mark.parametrize(
    ("name", "options", "values", "expected"),
    [
        ("funding", {}, [1e-4, NAN], [0.01, NAN]),
        ("funding_annual", {}, [1e-4, -2e-4], [10.95, -21.9]),
        ("funding_z", {"n": 2}, [1e-4, 3e-4, 1e-4, 1e-4], [NAN, 1.0, -1.0, 0.0]),
        ("funding_z", {"n": 3}, [1.0, 1.0, 4.0, NAN, 1.0], [NAN, NAN, 2**0.5, NAN, NAN]),
        ("basis", {}, [7.0, NAN], [0.0, NAN]),
        ("open_interest_change", {"n": 2}, [100.0, 7.0, 110.0, 3.5], [NAN, NAN, 10.0, -50.0]),
        ("open_interest_change", {"n": 1}, [100.0, NAN, 110.0, 121.0], [NAN, NAN, NAN, 10.0]),
        ("turnover", {"n": 3}, [NAN] * 4, [NAN, NAN, 3.0, 3.0]),
        ("open_interest_turnover", {"n": 2}, [3.0, 3.0, NAN, 2.0], [NAN, 4.5, NAN, 2.0]),
    ],
)
def test_a_factor_is_its_formula(
    name: str, options: dict[str, float], values: list[float], expected: list[float]
) -> None:
    assert told(name, values, **options) == pytest.approx(expected, nan_ok=True)


def test_a_rate_that_never_changed_is_not_noise() -> None:
    assert told("funding_z", [1e-4] * 200)[-1] == 0.0


def test_a_length_that_makes_no_window_is_refused() -> None:
    for name in ("funding_z", "open_interest_change", "turnover"):
        with pytest.raises(DefinitionError, match=rf"{name}\(.*a length of 0 bars"):
            stock_factor(name)(n=0)


class Tape:
    """Told numbers and closes in the order in which they come, given to a ring and kept for a history."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        frames = in_order(["15m", "1h"])
        self.ring = Ring(frames, rows=SYMBOLS + 2, bars=300, beside=tuple(BESIDE))
        for name in names(seed, SYMBOLS):
            self.ring.add(name, SCALE)
        self.bars = planes(seed, SYMBOLS, BARS)
        self.kept = {name: {field: {} for field in BESIDE} for name in ("15m", "1h")}  # type: ignore[var-annotated]
        self.closed = {name: np.full((SYMBOLS, BARS), np.nan) for name in ("15m", "1h")}

    def tell(self, fields: tuple[str, ...], row: int, time: int) -> None:
        """Tell a row's numbers; the tape keeps what each bar that has not closed knows last."""
        values = self.rng.normal(size=len(fields)) * 1e-3 + 1.0
        values[self.rng.random(len(fields)) < 0.05] = np.nan
        assert self.ring.beside is not None
        self.ring.beside.tell(fields, np.array([row]), np.array([time]), values[:, None])
        for t, frame in enumerate(self.ring.timeframes):
            index = frame.index(time)
            if not self.ring.is_closed(t, row, index):
                for name, value in zip(fields, values.tolist(), strict=True):
                    self.kept[frame.name][name][row, index] = value

    def close(self, row: int, bar: int) -> None:
        rows = np.zeros(1, ROW)
        opened = BASE.open_time(FIRST + bar)
        one = self.bars[:, row, bar]
        rows[0] = (
            opened,
            *one[:4],
            *(int(x * 1e6) for x in one[4:6]),
            int(one[6]),
            *(int(x * 1e6) for x in one[7:]),
        )
        merge_closed(self.ring.memory, 0, row, rows.view(np.int64))
        self.ring.lift(0, row, opened)

    def history(self) -> dict[str, History]:
        """Give what was recorded: bars as the ring has them, and beside them what the tape says."""
        found = {}
        for frame in self.ring.timeframes:
            panel = self.ring.panel(frame.name)
            first, last = frame.index(BASE.open_time(FIRST)), panel.closed_bar
            beside = {name: np.full((SYMBOLS, last - first + 1), np.nan) for name in BESIDE}
            for name, cells in self.kept[frame.name].items():
                for (row, index), value in cells.items():
                    if index <= last:
                        beside[name][row, index - first] = value
            cube = panel.cube(last, last - first + 1)
            found[frame.name] = History(frame, panel.symbols, first, cube, beside)
        return found


def engine(panels: object, bars: int = 1) -> Engine:
    return Engine(TERMS, panels, "15m", bars=bars)  # type: ignore[arg-type] # histories or panels


def played(seed: int, each: Callable[[Tape, int], None]) -> Tape:
    """Play a market bar by bar: tellings, some late and some lost, and closes, some of them missing."""
    tape = Tape(seed)
    for bar in range(BARS):
        opened = BASE.open_time(FIRST + bar)
        for part in range(3):
            for row in range(SYMBOLS):
                time = opened + part * 300_000 + int(tape.rng.integers(0, 200_000))
                if tape.rng.random() < 0.9 and bar > BARS // 3:
                    tape.tell(("mark_price", "index_price", "funding_rate"), row, time)
                if tape.rng.random() < 0.8 and bar > BARS // 4:
                    tape.tell(("open_interest",), row, time)
        for row in range(SYMBOLS):
            if tape.rng.random() < 0.98:
                tape.close(row, bar)
            if tape.rng.random() < 0.3:
                tape.tell(("mark_price", "index_price", "funding_rate"), row, opened + 899_999)
        each(tape, bar)
    return tape


@pytest.mark.parametrize("seed", [1, 2])
def test_live_and_a_replay_of_what_was_told_agree_in_every_bit(seed: int) -> None:
    seen: list[dict[str, F64]] = []
    running: list[Engine] = []

    def scan(tape: Tape, bar: int) -> None:
        if not running:
            running.append(engine({tf.name: tape.ring.panel(tf.name) for tf in tape.ring.timeframes}))
        seen.append(running[0].at(FIRST + bar))

    tape = played(seed, scan)
    history = tape.history()
    whole = engine(history, bars=BARS).at(FIRST + BARS - 1)
    for name in TERMS:
        live = np.concatenate([values[name] for values in seen], axis=1)
        assert live.tobytes() == np.ascontiguousarray(whole[name]).tobytes(), name
        assert np.isfinite(live).sum() > SYMBOLS * 20, name
    for bar in range(BARS // 2, BARS, 7):
        known = {"15m": history["15m"].head(FIRST + bar)}
        known["1h"] = history["1h"].head(usable(HOUR, BASE, FIRST + bar))
        cut = engine(known).at(FIRST + bar)
        assert all(np.array_equal(cut[name][:, 0], whole[name][:, bar], equal_nan=True) for name in TERMS)


def test_a_bar_that_comes_late_brings_what_was_told_of_it() -> None:
    """It counts as a change: a row is run again when its bar is there."""
    tape = Tape(3)
    tape.tell(("funding_rate",), 0, BASE.open_time(FIRST) + 1_000)
    tape.close(1, 0)
    panels = {"15m": tape.ring.panel("15m")}
    one = Engine({"x": stock_factor("funding")()}, panels, "15m")

    assert np.isnan(one.at(FIRST)["x"]).all()
    tape.close(0, 0)
    values = one.at(FIRST)["x"][:, 0]
    assert np.flatnonzero(~np.isnan(values)).tolist() == [0]
    assert tape.ring.memory.state[0, 0].max() >= CLOSED


def test_a_late_number_of_a_history_counts_at_the_next_scan() -> None:
    tape = Tape(4)
    assert tape.ring.beside is not None
    for bar in range(3):
        tape.close(0, bar)
    one = Engine({"x": stock_factor("funding")()}, {"15m": tape.ring.panel("15m")}, "15m", bars=3)
    assert np.isnan(one.at(FIRST + 2)["x"]).all()

    tape.ring.beside.put(0, "funding_rate", 0, FIRST + 1, np.array([1e-4]))
    assert one.at(FIRST + 2)["x"][0].tolist() == pytest.approx([NAN, 0.01, NAN], nan_ok=True)


def test_what_the_exchange_does_not_tell_is_refused() -> None:
    panel = History(BASE, ["A"], FIRST, np.ones((9, 1, 5)))
    panel.lacks = frozenset({"taker_base"})
    Engine({"x": field("volume")}, {"15m": panel}, "15m")

    with pytest.raises(DefinitionError, match=r"taker_base is not available here"):
        Engine({"x": field("taker_base")}, {"15m": panel}, "15m")
    with pytest.raises(
        DefinitionError, match=r"taker_quote, which taker_delta\(20\) reads, is not available"
    ):
        Engine({"x": stock_factor("taker_delta")()}, {"15m": with_lacks(panel, "taker_quote")}, "15m")


def with_lacks(panel: History, name: str) -> History:
    """Give a copy of a panel that lacks a field."""
    made = History.copied(panel, panel.closed_bar, panel.bars)
    made.lacks = frozenset({name})
    return made


def test_what_is_not_kept_is_refused_with_the_setting_that_keeps_it() -> None:
    panels = {"15m": History(BASE, ["A"], FIRST, np.ones((9, 1, 5)))}

    with pytest.raises(
        DefinitionError, match=r"funding_rate, which funding reads, is not kept.*`market.marks`"
    ):
        Engine({"x": stock_factor("funding")()}, panels, "15m")
    with pytest.raises(DefinitionError, match=r"open_interest is not kept.*`market.open_interest`"):
        Engine({"x": field("open_interest")}, panels, "15m")
