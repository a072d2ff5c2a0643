"""Manners: in what the markets of the exchange speak differently, as one value each."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from klinehub.dialect.params import MOST_ROWS
from klinehub.dialect.weights import LIMIT_PER_MINUTE, SPOT_LIMIT_PER_MINUTE, spot_weight_of, weight_of


class Manner(NamedTuple):
    """How one market speaks.

    A klines request for more than *most_rows* is refused, or cut where *cuts_rows*. With *bare_zero* a volume
    of nothing prints `0`, else with all decimals. *market_topics* and *symbol_topics* are its streams beside
    klines; *contracts* says that klines follow contracts too, and events tell of them. Klines are updated
    every *kline_every* seconds at most. A range gives its first rows, or its last ones where it is counted
    *from_end*.
    """

    weight_limit: int
    weigh: Callable[[str, Mapping[str, str]], int]
    most_rows: int
    cuts_rows: bool
    bare_zero: bool
    market_topics: frozenset[str]
    symbol_topics: frozenset[str]
    contracts: bool
    kline_every: float
    from_end: bool = False


FUTURES: Final = Manner(
    weight_limit=LIMIT_PER_MINUTE,
    weigh=weight_of,
    most_rows=MOST_ROWS,
    cuts_rows=False,
    bare_zero=True,
    market_topics=frozenset(
        {"!miniTicker@arr", "!ticker@arr", "!markPrice@arr", "!markPrice@arr@1s", "!contractInfo"},
    ),
    symbol_topics=frozenset({"miniTicker", "ticker", "markPrice", "markPrice@1s"}),
    contracts=True,
    kline_every=0.25,
)
# `!ticker@arr` was retired on spot in 2026. That more rows than 1,000 are cut and not refused is assumed: the
# documentation names the most and no error.
SPOT: Final = Manner(
    weight_limit=SPOT_LIMIT_PER_MINUTE,
    weigh=spot_weight_of,
    most_rows=1_000,
    cuts_rows=True,
    bare_zero=False,
    market_topics=frozenset({"!miniTicker@arr"}),
    symbol_topics=frozenset({"miniTicker", "ticker"}),
    contracts=False,
    kline_every=2.0,
)
# Margined in coins: futures in all but what their tickers tell, which are asked for by REST alone here.
COINS: Final = FUTURES._replace(
    market_topics=frozenset({"!contractInfo"}), symbol_topics=frozenset(), from_end=True
)
