"""What holds for every stock factor."""

import math
import re
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.factors.runs import PRICES, Market, Series, a_market, one_tick, run, scaled, still

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.define import Factor
from klinehub.factors.lanes import LANES
from klinehub.factors.loops import in_lanes, loop_of, slots
from klinehub.factors.stepping import Bars, aligned, stepped
from klinehub.factors.stepping import run as run_together
from klinehub.factors.stock import BY_NAME, STOCK, stock_factor
from klinehub.panel.view import PLANES

pytestmark = pytest.mark.timeout(120)

STEPPED: Final = [item for item in STOCK if item.kind == "step"]
# The bars after which a hub's cache still holds a whole block.
MOST_WARMUP: Final = 360

each = pytest.mark.parametrize("item", STEPPED, ids=[item.name for item in STEPPED])


def defaults(item: Factor) -> tuple[int | float, ...]:
    return tuple(item.options.values())


def test_there_are_at_least_45_with_names_of_their_own_in_the_order_of_their_families() -> None:
    families = list(dict.fromkeys(item.family for item in STOCK))

    assert len(BY_NAME) == len(STOCK) >= 45
    assert families == ["trend", "momentum", "volatility", "volume", "structure", "cross", "market", "spot"]
    assert [item.family for item in STOCK] == sorted((item.family for item in STOCK), key=families.index)


def test_what_the_issue_of_old_had_is_still_there() -> None:
    old = "trend macd rsi momentum donchian volume_z taker_delta relative_strength volatility adx_direction"

    assert set(old.split()) <= set(BY_NAME)


@pytest.mark.parametrize("item", STOCK, ids=BY_NAME)
def test_each_is_documented(item: Factor) -> None:
    assert all((item.family, item.formula, item.unit, item.span, item.source))
    assert item.title.endswith(".")
    assert re.search(r"NaN|\d\.\d", item.function.__doc__ or ""), "say where it is NaN or neutral"


@each
def test_the_warm_up_leaves_a_block_in_the_cache(item: Factor) -> None:
    assert 1 <= item.lookback(defaults(item)) <= MOST_WARMUP


@each
def test_a_length_that_makes_no_window_is_refused_when_it_is_given(item: Factor) -> None:
    for option, default in item.options.items():
        for wrong in (0, -3, 20_000):
            if isinstance(default, int):
                with pytest.raises(DefinitionError, match=rf"{item.name}\(.*a length of {wrong}\b"):
                    item(**{option: wrong})


@each
def test_other_lengths_stay_within_their_state(item: Factor) -> None:
    market = a_market(bars=60)
    for length in (3, 4, 11):
        options = {name: length for name, value in item.options.items() if isinstance(value, int)}
        if item.name.startswith("swing"):
            options["n"] = 1

        assert run(item, market, **options).size == 60


def test_a_misspelt_factor_is_answered_with_the_nearest() -> None:
    assert stock_factor("rsi") is BY_NAME["rsi"]
    with pytest.raises(UnknownName, match=r"Unknown factor 'momentun'.*'momentum'"):
        stock_factor("momentun")


# What stands still, and nobody trades, is neutral: 0.0 but for these.
NEUTRAL: Final = {
    "rsi": 50.0,
    "stochastic_k": 50.0,
    "stochastic_d": 50.0,
    "stoch_rsi": 50.0,
    "williams_r": -50.0,
    "ultimate_oscillator": 50.0,
    "bollinger_b": 0.5,
    "volume_surge": 1.0,
    "mfi": 50.0,
    "taker_ratio": 0.5,
    "trade_size": 1.0,
    "amihud": math.nan,
    "donchian_position": 0.5,
    "range_compression": 0.5,
}


@each
@pytest.mark.parametrize("price", [60000.1, 0.0000123, 1.0])
def test_where_nothing_moves_and_nobody_trades_a_factor_is_neutral(item: Factor, price: float) -> None:
    values = run(item, still(400, price))[item.lookback(defaults(item)) :]
    expected = NEUTRAL.get(item.name, 0.0)
    # The sum of n equal prices is rounded.
    within = 1e-14 if item.name.startswith("sma") else 0.0

    assert values == pytest.approx(np.full(values.size, expected), rel=0.0, abs=within, nan_ok=True)


@each
def test_where_nothing_moves_any_more_a_factor_has_no_noise(item: Factor) -> None:
    """Wilder's averages and the like decay to nothing, and nothing is divided by it."""
    market = a_market(bars=800)
    for name in PRICES:
        market[name][200:] = market["close"][199]
    values = run(item, market)

    assert np.nanmax(np.abs(values[790:]), initial=0.0) <= max(
        1e4, np.nanmax(np.abs(values[:200]), initial=0.0)
    )


BOUNDS: Final = {
    "adx": (0, 100),
    "adx_direction": (-100, 100),
    "di_spread": (-100, 100),
    "aroon_oscillator": (-100, 100),
    "linreg_r2": (0, 1),
    "rsi": (0, 100),
    "stochastic_k": (0, 100),
    "stochastic_d": (0, 100),
    "stoch_rsi": (0, 100),
    "williams_r": (-100, 0),
    "tsi": (-100, 100),
    "cmo": (-100, 100),
    "ultimate_oscillator": (0, 100),
    "mfi": (0, 100),
    "chaikin_money_flow": (-1, 1),
    "taker_ratio": (0, 1),
    "taker_delta": (-1, 1),
    "donchian_position": (0, 1),
    "breakout_age": (-100, 100),
    "range_compression": (0, 1),
    "relative_strength": (-math.sqrt(48), math.sqrt(48)),
    "correlation": (-1, 1),
    "volatility": (-1.45, 1.45),
}
NEVER_NEGATIVE: Final = {
    "atr_percent",
    "bollinger_width",
    "keltner_squeeze",
    "realised",
    "parkinson",
    "garman_klass",
    "volatility_of_volatility",
    "volume_surge",
    "trade_size",
    "amihud",
}


def a_wild_market(seed: int, bars: int = 420) -> dict[str, Series]:
    """Leaps over ten orders of magnitude, stand-stills, ticks, and volumes from nothing to 1e12."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(rng.integers(0, 3, bars // 20 + 1), 20)[: bars + 1]
    steps = np.choose(kind, [np.zeros(bars + 1), rng.normal(0, 1e-6, bars + 1), rng.normal(0, 1.5, bars + 1)])
    level = np.exp(np.clip(np.cumsum(steps), -11, 11))
    first, close = level[:-1], level[1:]
    wick = 1 + np.where(rng.random((2, bars)) < 0.5, 0.0, rng.exponential(0.1, (2, bars)))
    volume = np.where(rng.random(bars) < 0.4, 0.0, np.exp(rng.normal(0, 9, bars)))
    bought = rng.choice([0.0, 0.5, 1.0], bars)
    return {
        "open": first,
        "high": np.maximum(first, close) * wick[0],
        "low": np.minimum(first, close) / wick[1],
        "close": close,
        "volume": volume,
        "quote_volume": volume * close,
        "trades": np.ceil(volume),
        "taker_base": volume * bought,
        "taker_quote": volume * close * bought,
        "benchmark": np.exp(
            np.clip(np.cumsum(np.choose(kind[1:], rng.normal(0, [[0], [1], [0]], (3, bars)))), -9, 9)
        ),
    }


@each
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_factor_is_never_infinite_and_within_its_bounds_whatever_happens(item: Factor, seed: int) -> None:
    values = run(item, a_wild_market(seed))
    known = values[~np.isnan(values)]
    low, high = BOUNDS.get(item.name, (0.0 if item.name in NEVER_NEGATIVE else -math.inf, math.inf))

    assert np.isfinite(known).all()
    assert (known >= low - 1e-9 * abs(low)).all()
    assert (known <= high * (1 + 1e-9)).all()


@each
def test_a_factor_is_known_once_it_is_warm_but_where_it_says_so(item: Factor) -> None:
    values = run(item, a_wild_market(3))[item.lookback(defaults(item)) :]

    assert "NaN" in (item.function.__doc__ or "") or not np.isnan(values).any()


@each
@pytest.mark.parametrize("power", [-17, 1, 16])
def test_the_unit_of_the_price_changes_nothing(item: Factor, power: int) -> None:
    market = a_market(seed=21, bars=400)
    values, other = run(item, market), run(item, scaled(market, 2.0**power))
    if item.name == "amihud":
        other *= 2.0**power

    assert other.tobytes() == values.tobytes()


@each
def test_the_past_does_not_know_the_future(item: Factor) -> None:
    market, other = a_market(seed=22, bars=400), a_market(seed=23, bars=400)
    for cut in (item.lookback(defaults(item)) + 1, 380):
        spliced = {name: np.concatenate((market[name][:cut], other[name][cut:])) for name in market}

        assert run(item, spliced)[:cut].tobytes() == run(item, market)[:cut].tobytes()


# The bar of a run at which a recursive average has its seed; the others are windows.
SEEDED: Final = {
    "ema_distance": 49,
    "kama_distance": 10,
    "ema_slope": 24,
    "trend": 49,
    "macd_line": 25,
    "macd": 33,
    "ppo": 25,
    "adx": 27,
    "adx_direction": 27,
    "di_spread": 13,
    "supertrend": 10,
    "momentum": 24,
    "rsi": 14,
    "stoch_rsi": 29,
    "tsi": 38,
    "atr_percent": 14,
    "keltner_squeeze": 20,
    "swing_high_distance": 14,
    "swing_low_distance": 14,
    "fair_value_gap": 14,
    "order_block_distance": 14,
}


def late(market: Market, by: int) -> dict[str, Series]:
    return {name: series[by:] for name, series in market.items()}


@each
def test_a_later_start_is_forgotten_once_the_value_counts(item: Factor) -> None:
    """A window is the same wherever a run began; of a seed about a thousandth is left."""
    need, by = item.lookback(defaults(item)), 291
    seeded = SEEDED.get(item.name, need)
    markets = [a_market(seed, by + need + 30) for seed in range(25)]
    early, left, size = 0.0, 0.0, 0.0
    for market in markets:
        whole, short = run(item, market)[by:], unwarmed(item, late(market, by))
        early += np.nan_to_num(abs(short[seeded] - whole[seeded]))
        left += np.nan_to_num(abs(short[need] - whole[need]))
        size += float(np.nanmean(np.abs(whole)))
        assert np.isnan(short[need:]).tolist() == np.isnan(whole[need:]).tolist()

    assert left <= (3e-3 * early if item.name in SEEDED else 1e-12 * size)


def unwarmed(item: Factor, market: Market) -> Series:
    """The values of a run, those too that do not count yet."""
    state = np.zeros(item.size(defaults(item)))
    columns = zip(*(market[name].tolist() for name in item.fields), strict=True)
    return np.array([item.function(state, *row, *defaults(item)) for row in columns], dtype=np.float64)


@each
def test_compiled_it_is_the_same_to_the_last_bit(item: Factor) -> None:
    market, tick = a_market(seed=24, bars=420), one_tick(seed=25, bars=420)
    need, options = item.lookback(defaults(item)), defaults(item)
    # A run that begins with the recording: its first block starts `need` bars after.
    first = 128 * 8 - need
    cube = np.array([[one[name] for one in (market, tick)] for name in PLANES])
    out = np.full((2, 420), np.nan)
    times, known = np.arange(420, dtype=np.float64) * 60_000.0, np.full(2, first)
    if in_lanes(item):
        values = aligned((1, 420, LANES))
        bars = Bars(cube, times, market["benchmark"])
        run_together(stepped((item(),), 2), bars, first + 419, 420, known, values, np.zeros(1, np.int64))
        out = values[0, :, :2].T
    else:
        state, age = np.zeros((slots(need), item.size(options), 2)), np.full((slots(need), 2), -1)
        given = (cube, times, market["benchmark"], first, first, known)
        loop_of(item)(*given, state, age, need, np.empty((item.size(options), 1)), out, *options)
    block = slice(need, min(need + 128, 420))
    for row, one in zip(out, (market, tick | {"benchmark": market["benchmark"]}), strict=True):
        plain = run(item, one)
        # One NaN for all: the sign of a NaN is nobody's.
        assert row[block].tobytes() == np.where(np.isnan(plain), np.nan, plain)[block].tobytes()
