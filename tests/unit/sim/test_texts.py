"""What the simulated exchange prints of its exact numbers, digit by digit."""

from typing import Any, Final

import msgspec
import numpy as np

from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.listing import SPOT, Listing
from klinehub.domain.texts import Book, DayTexts
from klinehub.sim.texts import Day, Mark, day_texts, eight, mark_texts

TIME: Final = 1_795_252_512_345
LISTING: Final = Listing("BTCUSDT", "BTCUSDT", "PERPETUAL", "TRADING", "BTC", "USDT", 0, 2, 3)


def day(*, spot: bool = False, **numbers: Any) -> DayTexts:
    rows = np.zeros(1, ROW)
    told = {"open": 100.1, "high": 101.0, "low": 99.5, "close": 100.07, "volume": 3_000, "trades": 7}
    for name, value in ({"quote_volume": 30_030_123} | told | numbers).items():
        rows[name] = value
    listing = msgspec.structs.replace(LISTING, contract_type=SPOT) if spot else LISTING
    return day_texts(Day(listing, Exact(rows, Scale(2, 3, 5)), TIME, 11, 17))


def test_a_day_is_printed_from_its_exact_numbers() -> None:
    expected = DayTexts(
        symbol="BTCUSDT",
        pair="BTCUSDT",
        time=TIME,
        last="100.07",
        open="100.10",
        high="101.00",
        low="99.50",
        volume="3.000",
        quote_volume="300.30123",
        change="-0.03",
        percent="-0.030",
        average="100.10",
        quantity="1.000",
        open_time=TIME - 86_400_000,
        close_time=TIME,
        first_id=11,
        last_id=17,
        trades=7,
    )

    assert expected == day()


def test_a_day_without_trades_has_a_bare_zero_but_on_spot() -> None:
    quiet: dict[str, Any] = {"open": 0.0, "close": 100.07, "volume": 0, "quote_volume": 0, "trades": 0}
    futures, spot = day(**quiet), day(spot=True, **quiet)

    assert (
        futures.volume,
        futures.quote_volume,
        futures.average,
        futures.percent,
    ) == ("0", "0", "100.07", "0.000")
    assert (spot.pair, spot.volume, spot.quote_volume) == ("", "0.000", "0.00000")
    assert Book("0.00", "100.07", "1.000", "100.07", "1.000") == spot.book


def test_a_mark_is_printed_with_eight_decimals() -> None:
    paid = mark_texts(Mark("A", 6_123_410_000_000, 6_125_000_000_001, -3_100, TIME + 1), TIME)
    unpaid = mark_texts(Mark("A", 1, 2, 0, 0), TIME)

    assert (paid.price, paid.index, paid.rate) == ("61234.10000000", "61250.00000001", "-0.00003100")
    assert (paid.average, paid.settle, paid.last_rate) == (paid.price, paid.index, paid.rate)
    assert (unpaid.rate, unpaid.last_rate, unpaid.next_funding) == ("", "0.00000000", 0)
    assert [eight(n) for n in (-(10**8), 0, 7)] == ["-1.00000000", "0.00000000", "0.00000007"]
