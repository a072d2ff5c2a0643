"""Binance USDⓈ-M as a feed sees it: addresses, paths, weights, stream names and the listing's shape."""

from collections.abc import Iterable
from typing import Final

import msgspec

from klinehub.domain.listing import NO_DELIVERY, Listing
from klinehub.errors import FeedError

REST_URL: Final = "https://fapi.binance.com"
# Klines travel on the /market route; the unrouted address still connects, and stays silent.
STREAM_URL: Final = "wss://fstream.binance.com/market/stream"
WEIGHT_LIMIT: Final = 2400
MOST_ROWS: Final = 1500
KLINES: Final = "/fapi/v1/klines"
EXCHANGE_INFO: Final = "/fapi/v1/exchangeInfo"
TICKER_24H: Final = "/fapi/v1/ticker/24hr"
TIME: Final = "/fapi/v1/time"
TICKER_24H_WEIGHT: Final = 40
# The most rows of a klines request, and what it weighs.
KLINES_WEIGHTS: Final = ((99, 1), (499, 2), (1000, 5), (MOST_ROWS, 10))


def klines_weight(limit: int) -> int:
    """Give the documented weight of a klines request for *limit* rows."""
    for rows, weight in KLINES_WEIGHTS:
        if limit <= rows:
            return weight
    return KLINES_WEIGHTS[-1][1]


def stream_name(symbol: str, timeframe: str) -> str:
    """Give the name of a kline stream; symbols are lower case on the wire."""
    return f"{symbol.lower()}@kline_{timeframe}"


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: str = ""
    step_size: str = ""


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    pair: str = ""
    contract_type: str = ""
    delivery_date: int = NO_DELIVERY
    onboard_date: int = 0
    price_precision: int = 0
    quantity_precision: int = 0
    underlying_type: str = "COIN"
    filters: list[_Filter] = []


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[_Symbol]


class _Ticker(msgspec.Struct, rename="camel"):
    symbol: str
    quote_volume: float


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


_info = msgspec.json.Decoder(_ExchangeInfo).decode
_tickers = msgspec.json.Decoder(list[_Ticker], strict=False).decode
_time = msgspec.json.Decoder(_Time).decode


def _listing(raw: _Symbol) -> Listing:
    """Turn the exchange's entry into a listing."""
    steps = {f.filter_type: f for f in raw.filters}
    tick = steps["PRICE_FILTER"].tick_size if "PRICE_FILTER" in steps else ""
    step = steps["LOT_SIZE"].step_size if "LOT_SIZE" in steps else ""
    return Listing(
        symbol=raw.symbol,
        pair=raw.pair or raw.symbol,
        contract_type=raw.contract_type,
        status=raw.status,
        base_asset=raw.base_asset,
        quote_asset=raw.quote_asset,
        onboard_time=raw.onboard_date,
        delivery_time=raw.delivery_date,
        price_decimals=raw.price_precision,
        quantity_decimals=raw.quantity_precision,
        tick_size=tick,
        step_size=step,
        underlying_type=raw.underlying_type,
    )


def parse_listings(body: bytes) -> list[Listing]:
    """Read an exchangeInfo body; raises FeedError when it is none."""
    try:
        return [_listing(raw) for raw in _info(body).symbols]
    except msgspec.DecodeError as exc:
        raise FeedError(
            f"The exchange's listing could not be read ({exc}). Check `exchange.rest_url`."
        ) from exc


def parse_turnover(body: bytes) -> dict[str, float]:
    """Read a 24hr ticker body of all symbols: quote volume by symbol."""
    try:
        return {ticker.symbol: ticker.quote_volume for ticker in _tickers(body)}
    except msgspec.DecodeError as exc:
        raise FeedError(f"The 24 h tickers could not be read ({exc}). Check `exchange.rest_url`.") from exc


def parse_time(body: bytes) -> int:
    """Read the exchange's time in ms."""
    try:
        return _time(body).server_time
    except msgspec.DecodeError as exc:
        raise FeedError(f"The exchange's time could not be read ({exc}). Check `exchange.rest_url`.") from exc


def subscribe_messages(names: Iterable[str], *, most: int = 200, size: int = 4096) -> list[str]:
    """Pack stream names into SUBSCRIBE messages of at most *most* names and *size* bytes each."""
    messages: list[str] = []
    batch: list[str] = []
    used = 0
    for name in [*names, ""]:
        length = len(name.encode()) + 3
        if batch and (not name or len(batch) == most or used + length > size - 64):
            body = {"method": "SUBSCRIBE", "params": batch, "id": len(messages) + 1}
            messages.append(msgspec.json.encode(body).decode())
            batch, used = [], 0
        if name:
            batch.append(name)
            used += length
    return messages
