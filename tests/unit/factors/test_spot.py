"""The spot family: its formulas, late spot bars, and what is refused without spot."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pytest
from tests.unit.factors.markets import BASE, FIRST

from klinehub.domain.kline import ROW, Scale
from klinehub.errors import DefinitionError
from klinehub.factors.engine import Engine
from klinehub.factors.stock import stock_factor
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.merge import merge_closed
from klinehub.panel.pairs import PAIR_FIELDS, Pairs
from klinehub.panel.ring import Ring
from klinehub.panel.view import PLANES

pytestmark = pytest.mark.timeout(120)
NAN: Final = float("nan")
SCALE: Final = Scale(8, 6, 6)
BARS: Final = 40


def over(name: str, quotes: Sequence[float], spot: Sequence[float], **options: int) -> F64:
    """Give a factor's values over bars of these quote volumes on both markets, spot closing at them too."""
    bars = np.ones((len(PLANES), 1, len(quotes)))
    bars[PLANES.index("quote_volume"), 0] = quotes
    beside = {"spot_quote_volume": np.array([spot], float), "spot_close": np.array([spot], float)}
    history = History(BASE, ["A"], FIRST, bars, beside)
    engine = Engine({"x": stock_factor(name)(**options)}, {"15m": history}, "15m", bars=len(quotes))
    found: F64 = engine.at(FIRST + len(quotes) - 1)["x"][0]
    return found


@pytest.mark.parametrize(
    ("name", "options", "quotes", "spot", "expected"),
    [
        ("spot_basis", {}, [1] * 4, [1.0, 0.8, NAN, 1.25], [0.0, 25.0, NAN, -20.0]),
        ("spot_volume_share", {"n": 1}, [3, 0, 4, 1], [1, 0, NAN, 0], [0.25, 0.0, NAN, 0.0]),
        ("spot_volume_share", {"n": 2}, [3, 1, 0, 1, 1], [1, 3, 0, NAN, 1], [NAN, 0.5, 0.75, NAN, NAN]),
        ("spot_led_volume", {"n": 1}, [2, 2, 4, 4], [1, 3, 3, NAN], [NAN, 0.5, -1 / 3, NAN]),
        ("spot_led_volume", {"n": 2}, [0, 0, 5, 0], [0, 0, 0, 0], [NAN, NAN, 0.0, 1.0]),
        ("spot_led_volume", {"n": 2}, [1, 3, 0, 0], [2, 4, 6, 0], [NAN, NAN, 1.0, 0.0]),
    ],
)
def test_a_factor_is_its_formula(
    name: str, options: dict[str, int], quotes: list[float], spot: list[float], expected: list[float]
) -> None:
    assert over(name, quotes, spot, **options) == pytest.approx(expected, nan_ok=True)


def test_a_length_that_makes_no_window_is_refused() -> None:
    for name in ("spot_volume_share", "spot_led_volume"):
        with pytest.raises(DefinitionError, match=rf"{name}\(.*a length of 0 bars"):
            stock_factor(name)(n=0)


def test_without_spot_the_setting_that_keeps_it_is_named() -> None:
    panels = {"15m": History(BASE, ["A"], FIRST, np.ones((len(PLANES), 1, 5)))}

    with pytest.raises(DefinitionError, match=r"spot_close, which spot_basis reads.*`market.spot`"):
        Engine({"x": stock_factor("spot_basis")()}, panels, "15m")


def close(ring: Ring, bar: int, rng: np.random.Generator) -> None:
    rows = np.zeros(1, ROW)
    low, high = np.sort(rng.uniform(1.0, 2.0, 2))
    volume = int(rng.integers(1, 10**9))
    rows[0] = (BASE.open_time(FIRST + bar), low, high, low, high, volume, volume, 1, 0, 0)
    merge_closed(ring.memory, 0, 0, rows.view(np.int64))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_live_and_history_agree_however_late_spot_bars_come(seed: int) -> None:
    """A spot bar that closes after its contract's bar was scanned is a change of that row."""
    rng = np.random.default_rng(seed)
    futures = Ring([BASE], rows=2, bars=BARS + 5, beside=PAIR_FIELDS)
    spot = Ring([BASE], rows=2, bars=BARS + 5)
    futures.add("1000XUSDT", SCALE)
    spot.add("XUSDT", SCALE)
    assert futures.beside is not None
    pairs = Pairs(futures, futures.beside, spot)
    pairs.join({"1000XUSDT": ("XUSDT", 1_000)})
    terms = {name: stock_factor(name)(n=4) for name in ("spot_volume_share", "spot_led_volume")}
    terms["spot_basis"] = stock_factor("spot_basis")()
    live = Engine(terms, {"15m": futures.panel("15m")}, "15m", bars=BARS)
    spot_at = 0
    values: dict[str, F64] = {}
    for bar in range(BARS):
        close(futures, bar, rng)
        while spot_at <= bar and rng.random() < 0.6:
            if rng.random() > 0.1:
                close(spot, spot_at, rng)
            spot_at += 1
        pairs.copy("15m")
        values = live.at(FIRST + bar)
    panel = futures.panel("15m")
    cube = panel.cube(FIRST + BARS - 1, BARS, beside=PAIR_FIELDS)
    beside = dict(zip(PAIR_FIELDS, cube[-len(PAIR_FIELDS) :], strict=True))
    history = History(BASE, panel.symbols, FIRST, cube[: len(PLANES)], beside)
    whole = Engine(terms, {"15m": history}, "15m", bars=BARS).at(FIRST + BARS - 1)

    for name in terms:
        assert np.array_equal(values[name], whole[name], equal_nan=True), name
        assert np.isfinite(values[name]).sum() > 3, name
