"""The rows of what the own API lists, and the bars that it gives."""

from collections.abc import Mapping
from typing import Any

import msgspec

from klinehub.alerts.outbox import Delivered
from klinehub.scan.likeness import Likeness
from klinehub.serve.answers import Time


class Symbol(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol that is followed; `pair` is its name in ccxt and freqtrade, `stale` why it is not fresh."""

    symbol: str
    pair: str
    base_asset: str
    quote_asset: str
    contract_type: str
    status: str
    onboard_time: Time
    close: float | None
    turnover: float | None
    in_universe: bool
    stale: str | None
    stale_since: Time | None


class Kline(msgspec.Struct, frozen=True):
    """A bar; volumes are in units of the asset, and `state` 1 is forming, 2 closed, 3 verified."""

    open_time: Time
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: Time
    quote_volume: float
    trades: int
    taker_base: float
    taker_quote: float
    state: int


class KlineColumns(msgspec.Struct, frozen=True):
    """The same bars, a list for each field."""

    open_time: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    close_time: list[int]
    quote_volume: list[float]
    trades: list[int]
    taker_base: list[float]
    taker_quote: list[float]
    state: list[int]


class KlineRows(msgspec.Struct, frozen=True):
    """Bars of one series, oldest first; `stale` says why they are not proven to be the newest."""

    symbol: str
    timeframe: str
    stale: str | None
    klines: list[Kline]


class KlinesByColumn(msgspec.Struct, frozen=True):
    """Bars of one series by columns, oldest first."""

    symbol: str
    timeframe: str
    stale: str | None
    columns: KlineColumns


class Bars(msgspec.Struct, frozen=True):
    """Bars that were asked for, and how JSON is to lay them out."""

    symbol: str
    timeframe: str
    klines: Any
    layout: str


class ScreenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A screen that can be asked for by name; expressions are written as text.

    `kind` is score, preset or own; `failure` says why it was given up.
    """

    name: str
    kind: str
    timeframe: str | None
    where: str | None
    columns: Mapping[str, str]
    order_by: str | None
    top: int | None
    scored: bool
    min_score: float
    side: str | None
    cooldown: int
    symbols: tuple[str, ...]
    hash: str
    failure: str | None


class FactorRow(msgspec.Struct, frozen=True):
    """A factor; `bars` are those before its first value that counts, null where that is of others."""

    name: str
    family: str
    title: str
    options: Mapping[str, int | float]
    formula: str
    unit: str
    range: str
    bars: int | None
    source: str
    text: str


class GapRow(msgspec.Struct, frozen=True):
    """A run of bars that lacks, from the open time of its first to that of its last.

    A `confirmed` one lacks at the exchange too.
    """

    symbol: str
    timeframe: str
    start: Time
    end: Time
    bars: int
    confirmed: bool


class CorrectionRow(msgspec.Struct, frozen=True):
    """A closed bar that was changed: what it was, what it is, why and when."""

    symbol: str
    timeframe: str
    open_time: Time
    time: Time
    cause: str
    old: Kline
    new: Kline


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert of the log, with what became of it for each target; `key` tells alerts apart for ever.

    `rule` is the rule or the screen of the user's own that fired, `time` when it was decided. `change` is in
    percent since the bar's open, `change_24h` in percent and `turnover` in the quote asset over 24 hours,
    null where not known. `link` leads to the board at that moment, `evidence` is what came after scores like
    this on history, null where nothing is known of it.
    """

    id: int
    key: str
    rule: str
    symbol: str
    pair: str
    timeframe: str
    bar_open_time: Time
    time: Time
    price: float
    change: float | None
    change_24h: float | None
    turnover: float | None
    side: str
    score: float | None
    contributions: Mapping[str, float]
    columns: Mapping[str, float | None]
    forming: bool
    stale: str | None
    link: str
    evidence: Likeness | None
    deliveries: tuple[Delivered, ...]
