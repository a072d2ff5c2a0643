"""Binance as a feed sees it: USDⓈ-M's addresses, paths and weights, stream names and the shapes of bodies."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

import msgspec

from klinehub.domain.listing import NO_DELIVERY, SPOT, Listing
from klinehub.domain.ticker import Ticker
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
# No time is further from 1970 than this, in ms; it leaves room to count with in 64 bits.
MOST_TIME: Final = 2**53
# When each symbol last traded, of all symbols at once.
PRICES: Final = "/fapi/v2/ticker/price"
PRICES_WEIGHT: Final = 2
# The stream that tells of every contract that is listed, settled or otherwise changed.
CONTRACT_INFO: Final = "!contractInfo"
SUBSCRIBE: Final = "SUBSCRIBE"
UNSUBSCRIBE: Final = "UNSUBSCRIBE"
# The refusal of one stream too many; the exchange also ends the connection.
TOO_MANY: Final = 4
# The status of a symbol that trades, though not on spot: our own word, the exchange's are upper case.
TRADING: Final = "TRADING"
NOT_ON_SPOT: Final = "not on spot"
# The most rows of a klines request, and what it weighs.
KLINES_WEIGHTS: Final = ((99, 1), (499, 2), (1000, 5), (MOST_ROWS, 10))


def klines_weight(limit: int, weights: Sequence[tuple[int, int]] = KLINES_WEIGHTS) -> int:
    """Give the documented weight of a klines request for *limit* rows; *weights* are those of the market."""
    for rows, weight in weights:
        if limit <= rows:
            return weight
    return weights[-1][1]


def routes(url: str) -> tuple[str, ...]:
    """Give the WebSocket addresses to try in turn: the given one, then the same without its route."""
    bare = url.replace("/market/", "/")
    return (url,) if bare == url else (url, bare)


def stream_name(symbol: str, timeframe: str) -> str:
    """Give the name of a kline stream; symbols are lower case on the wire."""
    return f"{symbol.lower()}@kline_{timeframe}"


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: str = ""
    step_size: str = ""


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_asset: str
    quote_asset: str
    pair: str = ""
    contract_type: str = ""
    delivery_date: int = NO_DELIVERY
    onboard_date: int = 0
    price_precision: int = 0
    quantity_precision: int = 0
    underlying_type: str = "COIN"
    # Only spot says whether it trades there; what it lists says nothing of contracts.
    is_spot_trading_allowed: bool | None = None
    quote_precision: int = 0
    base_asset_precision: int = 0
    filters: list[_Filter] = []
    status: str = ""
    # COIN-M has another name for the status, and contracts of so many dollars.
    contract_status: str = ""
    contract_size: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0

    def __post_init__(self) -> None:
        """Take the status by either name; one without any is no entry."""
        self.status = self.status or self.contract_status
        if not self.status:
            raise ValueError("a symbol has no status")


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[_Symbol]


Amount = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]


class _Ticker(msgspec.Struct, rename="camel"):
    symbol: str
    quote_volume: Amount
    price_change_percent: Annotated[float, msgspec.Meta(ge=-100, le=sys.float_info.max)] = math.nan
    close_time: Annotated[int, msgspec.Meta(ge=0, le=MOST_TIME)] = 0


class _CoinTicker(_Ticker, rename="camel"):
    """What COIN-M tells: a volume in contracts, and no turnover."""

    quote_volume: Amount = math.nan
    volume: Amount = math.nan


class _Price(msgspec.Struct):
    symbol: str
    time: Annotated[int, msgspec.Meta(ge=-MOST_TIME, le=MOST_TIME)]


class _Time(msgspec.Struct, rename="camel"):
    server_time: Annotated[int, msgspec.Meta(ge=0, le=MOST_TIME)]


# What msgspec raises for bodies of any bytes: no JSON, no UTF-8, too many brackets in each other.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_info = msgspec.json.Decoder(_ExchangeInfo).decode
_tickers = msgspec.json.Decoder(list[_Ticker], strict=False).decode
_coin_tickers = msgspec.json.Decoder(list[_CoinTicker], strict=False).decode
_prices = msgspec.json.Decoder(list[_Price]).decode
_time = msgspec.json.Decoder(_Time).decode


def _listing(raw: _Symbol) -> Listing:
    """Turn the exchange's entry into a listing."""
    steps = {f.filter_type: f for f in raw.filters}
    tick = steps["PRICE_FILTER"].tick_size if "PRICE_FILTER" in steps else ""
    step = steps["LOT_SIZE"].step_size if "LOT_SIZE" in steps else ""
    spot = raw.is_spot_trading_allowed is not None
    barred = raw.is_spot_trading_allowed is False and raw.status == TRADING
    return Listing(
        symbol=raw.symbol,
        pair=raw.pair or raw.symbol,
        contract_type=SPOT if spot else raw.contract_type,
        status=NOT_ON_SPOT if barred else raw.status,
        base_asset=raw.base_asset,
        quote_asset=raw.quote_asset,
        onboard_time=raw.onboard_date,
        delivery_time=raw.delivery_date,
        price_decimals=raw.quote_precision if spot else raw.price_precision,
        quantity_decimals=raw.base_asset_precision if spot else raw.quantity_precision,
        tick_size=tick,
        step_size=step,
        underlying_type=raw.underlying_type,
        contract_size=raw.contract_size,
    )


def _is_printable(raw: _Symbol) -> bool:
    texts = (raw.symbol, raw.pair, raw.base_asset, raw.quote_asset, raw.status, raw.contract_type)
    return all(text.isprintable() for text in (*texts, raw.underlying_type))


def parse_listings(body: bytes) -> list[Listing]:
    """Read an exchangeInfo body; raises FeedError when it is none.

    What cannot be printed, as a symbol with a line's end in it, is left out: names go to terminals and logs.
    """
    try:
        return [_listing(raw) for raw in _info(body).symbols if _is_printable(raw)]
    except _UNREADABLE as exc:
        raise FeedError(
            f"The exchange's listing could not be read ({exc}). Check `exchange.rest_url`."
        ) from exc


def contract_sizes(listings: Iterable[Listing]) -> dict[str, int]:
    """Give the dollars of a contract by symbol, of those that are margined in a coin."""
    return {one.symbol: one.contract_size for one in listings if one.contract_size}


def parse_tickers(body: bytes, sizes: Mapping[str, int] | None = None) -> dict[str, Ticker]:
    """Read a 24hr ticker body of all symbols: the last 24 hours by symbol.

    Where contracts have *sizes* in dollars, the turnover is what those that changed hands were worth.
    """
    try:
        if sizes:
            return {
                one.symbol: Ticker(
                    one.symbol,
                    one.volume * sizes.get(one.symbol, math.nan),
                    one.price_change_percent,
                    one.close_time,
                )
                for one in _coin_tickers(body)
            }
        return {
            one.symbol: Ticker(one.symbol, one.quote_volume, one.price_change_percent, one.close_time)
            for one in _tickers(body)
        }
    except _UNREADABLE as exc:
        raise FeedError(f"The 24 h tickers could not be read ({exc}). Check `exchange.rest_url`.") from exc


def parse_trade_times(body: bytes) -> dict[str, int]:
    """Read a price ticker body of all symbols: exchange time in ms of the last trade by symbol."""
    try:
        return {price.symbol: price.time for price in _prices(body)}
    except _UNREADABLE as exc:
        raise FeedError(f"The last prices could not be read ({exc}). Check `exchange.rest_url`.") from exc


def parse_time(body: bytes) -> int:
    """Read the exchange's time in ms."""
    try:
        return _time(body).server_time
    except _UNREADABLE as exc:
        raise FeedError(f"The exchange's time could not be read ({exc}). Check `exchange.rest_url`.") from exc


def packed(names: Iterable[str], *, most: int = 200, size: int = 4096) -> list[tuple[str, ...]]:
    """Part stream names so that each part fits one control message of *most* names and *size* bytes."""
    parts: list[tuple[str, ...]] = []
    part: list[str] = []
    used = 0
    for name in names:
        length = len(name.encode()) + 3
        if part and (len(part) == most or used + length > size - 64):
            parts.append(tuple(part))
            part, used = [], 0
        part.append(name)
        used += length
    return [*parts, tuple(part)] if part else parts


def control_message(method: str, names: Iterable[str], number: int) -> str:
    """Write a message that asks to follow (SUBSCRIBE) or to leave (UNSUBSCRIBE) stream names."""
    return msgspec.json.encode({"method": method, "params": tuple(names), "id": number}).decode()


def subscribe_messages(names: Iterable[str], *, most: int = 200, size: int = 4096) -> list[str]:
    """Pack stream names into SUBSCRIBE messages of at most *most* names and *size* bytes each."""
    parts = packed(names, most=most, size=size)
    return [control_message(SUBSCRIBE, part, number) for number, part in enumerate(parts, 1)]


class Refusal(msgspec.Struct, frozen=True):
    """What the exchange has against a control message."""

    code: int = 0
    msg: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The answer to the control message of this number; without an error it was obeyed."""

    id: int
    error: Refusal | None = None


_answer = msgspec.json.Decoder(Answer).decode


def parse_answer(frame: bytes) -> Answer | None:
    """Read the answer to a control message; None when the frame is something else."""
    try:
        return _answer(frame)
    except _UNREADABLE:
        return None
