from collections.abc import Callable

import numpy as np
import pytest

from klinehub.factors.engine import Factor, warm_up
from klinehub.factors.library import STOCK
from klinehub.panel.block import Block

MakeMarket = Callable[..., Block]


def make_market(seed: int = 1, symbols: int = 8, bars: int = 300) -> Block:
    """Made-up bars [symbols, bars] of prices from 1e-5 to 1e5, some of them without a trade."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(4, (symbols, bars + 1)) * 0.004
    quiet = rng.random((symbols, bars)) < 0.05
    steps[:, 1:][quiet] = 0.0
    level = np.exp(np.cumsum(steps, axis=1)) * np.logspace(-5, 5, symbols)[:, None]
    first, close = level[:, :-1].copy(), level[:, 1:].copy()
    wick = np.where(quiet, 0.0, rng.random((symbols, bars)) * 0.004)
    high, low = np.maximum(first, close) * (1 + wick), np.minimum(first, close) * (1 - wick)
    volume = np.where(quiet, 0.0, np.exp(rng.normal(5, 1, (symbols, bars))))
    bought = rng.random((symbols, bars))
    quote = volume * close
    return Block(first, high, low, close, volume, quote, np.ceil(volume), volume * bought, quote * bought)


@pytest.fixture
def market() -> MakeMarket:
    return make_market


@pytest.fixture(params=STOCK, ids=[item.name for item in STOCK])
def factor(request: pytest.FixtureRequest) -> Factor:
    picked: Factor = request.param
    return picked


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    warm_up(STOCK)
