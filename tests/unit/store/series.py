"""Bars for tests of the store: drawn at random with odd decimals, and plain ones."""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import Timeframe

WIDE = 2**63 - 1
SCALE = Scale(2, 3, 5)
# Open times around which bars are drawn: 1970, a leap day, the turns of a month and of a year, 2038.
PLACES = (604_800_000, 1_709_164_800_000, 1_740_787_000_000, 1_767_225_500_000, 2_147_483_000_000)


def same(one: Exact, other: Exact) -> bool:
    """Whether two series are the same, bit for bit and digit for digit."""
    return one.scale == other.scale and one.rows.tobytes() == other.rows.tobytes()


def printed(price: int, decimals: int) -> float:
    """Give the float64 nearest to a printed price."""
    return float(Fraction(price, 10**decimals))


def plain(frame: Timeframe, first: int, count: int, seed: int = 1, scale: Scale = SCALE) -> Exact:
    """Give *count* bars from absolute index *first* on, of a symbol that is printed with *scale*."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, ROW)
    rows["open_time"] = [frame.open_time(bar) for bar in range(first, first + count)]
    prices = np.sort(rng.integers(10_000, 20_000, (count, 4)), axis=1)
    for name, column in (("low", 0), ("open", 1), ("close", 2), ("high", 3)):
        rows[name] = [printed(int(price), scale.price) for price in prices[:, column]]
    for name in ("volume", "quote_volume", "trades", "taker_base", "taker_quote"):
        rows[name] = rng.integers(0, 10**9, count)
    return Exact(rows, scale)


def changed(exact: Exact, at: int, **fields: float) -> Exact:
    """Give the same bars with other values in one of them."""
    rows = exact.rows.copy()
    for name, value in fields.items():
        rows[name][at] = value
    return Exact(rows, exact.scale)


def part(exact: Exact, low: int, high: int) -> Exact:
    """Give some of the bars."""
    return Exact(exact.rows[low:high].copy(), exact.scale)


@st.composite
def exacts(draw: st.DrawFn, frame: Timeframe, most: int = 12) -> Exact:
    """Draw bars with holes, any decimals, and mantissas up to all that 64 bits hold."""
    scale = Scale(*(draw(st.integers(0, 18)) for _ in range(3)))
    place = frame.index(draw(st.sampled_from(PLACES)))
    bars = sorted(draw(st.sets(st.integers(place, place + 3 * most), min_size=1, max_size=most)))
    rows = np.zeros(len(bars), ROW)
    rows["open_time"] = [frame.open_time(bar) for bar in bars]
    # Few numbers are drawn and dealt out, for drawing each would take a second an example.
    pool = draw(st.lists(st.one_of(st.integers(0, 10**6), st.integers(0, WIDE)), min_size=1, max_size=8))
    dealt = np.random.default_rng(draw(st.integers(0, 2**32))).choice([0, *pool], (9, len(bars)))
    for name, column in zip((ROW.names or ())[1:], dealt, strict=True):
        decimals = scale.price if name in {"open", "high", "low", "close"} else None
        # The greatest integer below 2**63 that is a float64.
        prices = [printed(min(int(one), 2**63 - 1024), decimals or 0) for one in column]
        rows[name] = column if decimals is None else prices
    return Exact(rows, scale)


symbols = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8
) | st.sampled_from(["BTCUSDT", "BTCUSDT_250627", "币安人生USDT", ".", "..", "A/B", "a+b", "-", "%2E"])
