"""Tickers and mark prices as REST and the streams print them, from their texts."""

from typing import Any, Final

from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts, Traded

# The kind of margin that futures' streams tell since the two markets were merged: this one is in dollars.
_IN_DOLLARS: Final = 1
_BOOK: Final = ("bidPrice", "bidQty", "askPrice", "askQty")


def day_ticker(day: DayTexts) -> dict[str, Any]:
    """Give the body of ticker/24hr for one symbol; only spot prints a book."""
    book = day.book
    return {
        "symbol": day.symbol,
        "priceChange": day.change,
        "priceChangePercent": day.percent,
        "weightedAvgPrice": day.average,
        **({} if book is None else {"prevClosePrice": book.previous_close}),
        "lastPrice": day.last,
        "lastQty": day.quantity,
        **({} if book is None else dict(zip(_BOOK, book[1:], strict=True))),
        "openPrice": day.open,
        "highPrice": day.high,
        "lowPrice": day.low,
        "volume": day.volume,
        "quoteVolume": day.quote_volume,
        "openTime": day.open_time,
        "closeTime": day.close_time,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.trades,
    }


def price_ticker(traded: Traded) -> dict[str, Any]:
    """Give the body of ticker/price for one symbol."""
    return {"symbol": traded.symbol, "price": traded.price, "time": traded.time}


def mark_price(mark: MarkTexts) -> dict[str, Any]:
    """Give the body of premiumIndex for one symbol."""
    return {
        "symbol": mark.symbol,
        "markPrice": mark.price,
        "indexPrice": mark.index,
        "estimatedSettlePrice": mark.settle,
        "lastFundingRate": mark.last_rate,
        "interestRate": mark.interest,
        "nextFundingTime": mark.next_funding,
        "time": mark.time,
    }


def funding_info(symbol: str, hours: int) -> dict[str, Any]:
    """Give the entry of fundingInfo for one symbol."""
    return {
        "symbol": symbol,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": hours,
        "disclaimer": False,
        "updateTime": None,
    }


def _status(told: MiniTexts) -> dict[str, Any]:
    """Give the pair and the kind of margin, which spot has not."""
    return {"ps": told.pair, "st": _IN_DOLLARS} if told.pair else {}


def mini_ticker_event(mini: MiniTexts, now: int) -> dict[str, Any]:
    """Give a 24hrMiniTicker event."""
    return {
        "e": "24hrMiniTicker",
        "E": now,
        "s": mini.symbol,
        "c": mini.last,
        "o": mini.open,
        "h": mini.high,
        "l": mini.low,
        "v": mini.volume,
        "q": mini.quote_volume,
        **_status(mini),
    }


def ticker_event(day: DayTexts, now: int) -> dict[str, Any]:
    """Give a 24hrTicker event; only spot prints a book."""
    book = day.book
    return {
        "e": "24hrTicker",
        "E": now,
        "s": day.symbol,
        "p": day.change,
        "P": day.percent,
        "w": day.average,
        **({} if book is None else {"x": book.previous_close}),
        "c": day.last,
        "Q": day.quantity,
        **({} if book is None else dict(zip("bBaA", book[1:], strict=True))),
        "o": day.open,
        "h": day.high,
        "l": day.low,
        "v": day.volume,
        "q": day.quote_volume,
        "O": day.open_time,
        "C": day.close_time,
        "F": day.first_id,
        "L": day.last_id,
        "n": day.trades,
        **_status(day),
    }


def mark_event(mark: MarkTexts, now: int) -> dict[str, Any]:
    """Give a markPriceUpdate event; T is 0 where there is no funding."""
    return {
        "e": "markPriceUpdate",
        "E": now,
        "s": mark.symbol,
        "p": mark.price,
        **({"ap": mark.average} if mark.average else {}),
        "i": mark.index,
        "P": mark.settle,
        "r": mark.rate,
        "T": mark.next_funding,
        "st": _IN_DOLLARS,
    }
