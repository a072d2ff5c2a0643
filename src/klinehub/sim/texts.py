"""What the simulated exchange prints of a day and of a mark price, from its exact numbers."""

from typing import Final, NamedTuple

from klinehub.dialect.render import price_text, volume_text
from klinehub.domain.kline import Exact
from klinehub.domain.listing import SPOT, Listing
from klinehub.domain.texts import Book, DayTexts, MarkTexts

_DAY: Final = 86_400_000
_EIGHT: Final = 8
_INTEREST: Final = "0.00010000"


class Day(NamedTuple):
    """The last 24 hours of a symbol as one exact bar, with its first and newest trade id."""

    listing: Listing
    bar: Exact
    close_time: int
    first_id: int
    last_id: int


class Mark(NamedTuple):
    """Mark and index price and funding, as mantissas of 8 decimals; no `next_funding` is 0."""

    symbol: str
    price: int
    index_price: int
    funding: int
    next_funding: int


def eight(mantissa: int) -> str:
    """Print a mantissa of 8 decimals."""
    sign = "-" if mantissa < 0 else ""
    return f"{sign}{abs(mantissa) // 10**_EIGHT}.{abs(mantissa) % 10**_EIGHT:08d}"


def day_texts(day: Day) -> DayTexts:
    """Print a day; a spot pair's book is one step around the last price."""
    row, (price, base, quote) = day.bar.rows[0], day.bar.scale
    spot = day.listing.contract_type == SPOT
    opened, last = float(row["open"]), float(row["close"])
    volume, money = int(row["volume"]), int(row["quote_volume"])
    # Quote mantissa over base mantissa is the average price's mantissa when quote has both decimals.
    average = money * 10 ** (price + base - quote) // volume if volume else round(last * 10**price)
    if day.listing.contract_size and money:
        average = volume * day.listing.contract_size * 10 ** (price + quote - base) // money
    change = round(last * 10**price) - round(opened * 10**price)
    first, newest, quantity = price_text(opened, price), price_text(last, price), volume_text(10**base, base)
    return DayTexts(
        symbol=day.listing.symbol,
        pair="" if spot else day.listing.pair,
        time=day.close_time,
        last=newest,
        open=first,
        high=price_text(float(row["high"]), price),
        low=price_text(float(row["low"]), price),
        volume=volume_text(volume, base, bare_zero=not spot),
        quote_volume=volume_text(money, quote, bare_zero=not spot),
        change=f"{'-' if change < 0 else ''}{price_text(abs(change) / 10**price, price)}",
        percent=f"{(last / opened - 1.0) * 100.0:.3f}" if opened else "0.000",
        average=price_text(average / 10**price, price),
        quantity=quantity,
        open_time=day.close_time - _DAY,
        close_time=day.close_time,
        first_id=day.first_id,
        last_id=day.last_id,
        trades=int(row["trades"]),
        book=Book(first, newest, quantity, newest, quantity) if spot else None,
    )


def mark_texts(mark: Mark, now: int) -> MarkTexts:
    """Print a mark price at *now* (ms)."""
    rate, index = eight(mark.funding), eight(mark.index_price)
    return MarkTexts(
        symbol=mark.symbol,
        time=now,
        price=eight(mark.price),
        average=eight(mark.price),
        index=index,
        settle=index,
        rate=rate if mark.next_funding else "",
        last_rate=rate,
        interest=_INTEREST,
        next_funding=mark.next_funding,
    )
