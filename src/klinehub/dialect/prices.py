"""Tickers and mark prices as REST and the streams print them."""

from typing import Any, Final

from klinehub.dialect.render import price_text, volume_text
from klinehub.dialect.source import Mark, Ticker, Trade
from klinehub.domain.listing import SPOT

_EIGHT: Final = 8
_DAY: Final = 86_400_000


def eight(mantissa: int) -> str:
    """Print a mantissa of 8 decimals."""
    sign = "-" if mantissa < 0 else ""
    return f"{sign}{abs(mantissa) // 10**_EIGHT}.{abs(mantissa) % 10**_EIGHT:08d}"


def ticker_texts(ticker: Ticker, *, bare_zero: bool = True) -> dict[str, str]:
    """Print what REST and streams share of a 24-hour ticker."""
    row, (price, base, quote) = ticker.bar.rows[0], ticker.bar.scale
    opened, last = float(row["open"]), float(row["close"])
    volume, money = int(row["volume"]), int(row["quote_volume"])
    # Quote mantissa over base mantissa is the average price's mantissa when quote has both decimals.
    average = money * 10 ** (price + base - quote) // volume if volume else round(last * 10**price)
    change = round(last * 10**price) - round(opened * 10**price)
    return {
        "change": f"{'-' if change < 0 else ''}{price_text(abs(change) / 10**price, price)}",
        "percent": f"{(last / opened - 1.0) * 100.0:.3f}" if opened else "0.000",
        "average": price_text(average / 10**price, price),
        "last": price_text(last, price),
        "open": price_text(opened, price),
        "high": price_text(float(row["high"]), price),
        "low": price_text(float(row["low"]), price),
        "volume": volume_text(volume, base, bare_zero=bare_zero),
        "quote": volume_text(money, quote, bare_zero=bare_zero),
        "quantity": volume_text(10**base, base),
    }


def day_ticker(ticker: Ticker) -> dict[str, Any]:
    """Give the body of /fapi/v1/ticker/24hr for one symbol."""
    text = ticker_texts(ticker)
    return {
        "symbol": ticker.listing.symbol,
        "priceChange": text["change"],
        "priceChangePercent": text["percent"],
        "weightedAvgPrice": text["average"],
        "lastPrice": text["last"],
        "lastQty": text["quantity"],
        "openPrice": text["open"],
        "highPrice": text["high"],
        "lowPrice": text["low"],
        "volume": text["volume"],
        "quoteVolume": text["quote"],
        "openTime": ticker.close_time - _DAY,
        "closeTime": ticker.close_time,
        "firstId": ticker.first_id,
        "lastId": ticker.last_id,
        "count": int(ticker.bar.rows[0]["trades"]),
    }


def price_ticker(trade: Trade) -> dict[str, Any]:
    """Give the body of ticker/price for one symbol: the time is that of its last trade."""
    price = price_text(trade.price, trade.decimals)
    return {"symbol": trade.listing.symbol, "price": price, "time": trade.time}


def mark_price(mark: Mark, now: int) -> dict[str, Any]:
    """Give the body of premiumIndex for one symbol."""
    return {
        "symbol": mark.listing.symbol,
        "markPrice": eight(mark.price),
        "indexPrice": eight(mark.index_price),
        "estimatedSettlePrice": eight(mark.index_price),
        "lastFundingRate": eight(mark.funding),
        "interestRate": "0.00010000",
        "nextFundingTime": mark.next_funding,
        "time": now,
    }


def funding_info(mark: Mark) -> dict[str, Any]:
    """Give the entry of fundingInfo for one symbol."""
    return {
        "symbol": mark.listing.symbol,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": mark.hours,
        "disclaimer": False,
        "updateTime": None,
    }


def _status(ticker: Ticker) -> dict[str, Any]:
    """Give the pair and the kind of margin, which futures' streams carry since the two were merged."""
    return {} if ticker.listing.contract_type == SPOT else {"ps": ticker.listing.pair, "st": 1}


def _event_texts(ticker: Ticker) -> dict[str, str]:
    return ticker_texts(ticker, bare_zero=ticker.listing.contract_type != SPOT)


def mini_ticker_event(ticker: Ticker, now: int) -> dict[str, Any]:
    """Give a 24hrMiniTicker event."""
    text = _event_texts(ticker)
    return {
        "e": "24hrMiniTicker",
        "E": now,
        "s": ticker.listing.symbol,
        "c": text["last"],
        "o": text["open"],
        "h": text["high"],
        "l": text["low"],
        "v": text["volume"],
        "q": text["quote"],
        **_status(ticker),
    }


def ticker_event(ticker: Ticker, now: int) -> dict[str, Any]:
    """Give a 24hrTicker event."""
    text = _event_texts(ticker)
    return {
        "e": "24hrTicker",
        "E": now,
        "s": ticker.listing.symbol,
        "p": text["change"],
        "P": text["percent"],
        "w": text["average"],
        "c": text["last"],
        "Q": text["quantity"],
        "o": text["open"],
        "h": text["high"],
        "l": text["low"],
        "v": text["volume"],
        "q": text["quote"],
        "O": ticker.close_time - _DAY,
        "C": ticker.close_time,
        "F": ticker.first_id,
        "L": ticker.last_id,
        "n": int(ticker.bar.rows[0]["trades"]),
        **_status(ticker),
    }


def mark_event(mark: Mark, now: int) -> dict[str, Any]:
    """Give a markPriceUpdate event; T is 0 where there is no funding."""
    return {
        "e": "markPriceUpdate",
        "E": now,
        "s": mark.listing.symbol,
        "p": eight(mark.price),
        "ap": eight(mark.price),
        "i": eight(mark.index_price),
        "P": eight(mark.index_price),
        "r": eight(mark.funding) if mark.next_funding else "",
        "T": mark.next_funding,
        "st": 1,
    }


def coin_margined_event(mark: Mark, now: int) -> dict[str, Any]:
    """Give the markPriceUpdate of the contract on the same asset that is margined in it."""
    return {**mark_event(mark, now), "s": f"{mark.listing.base_asset}USD_PERP", "st": 2}
