"""The table of tickers and marks: the newest of each, in the order of REST, of what is listed."""

from typing import Any, Final

from msgspec.structs import replace

from klinehub.domain.listing import Listing
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts, Traded
from klinehub.feed.ticker_table import TickerTable

TIME: Final = 1_795_252_512_000


def listing(symbol: str, status: str = "TRADING") -> Listing:
    return Listing(symbol, symbol, "PERPETUAL", status, symbol, "USDT", 0, 2, 3)


LISTED: Final = {name: listing(name) for name in "ABC"} | {"S": listing("S", "SETTLING")}


def day(symbol: str = "A", at: int = 0, *, told: int | None = None, last: str = "1.0") -> DayTexts:
    return DayTexts(
        symbol=symbol,
        pair=symbol,
        time=TIME + (at if told is None else told),
        last=last,
        open="1.0",
        high="1.0",
        low="1.0",
        volume="1",
        quote_volume="1",
        change="0.0",
        percent="0.000",
        average="1.0",
        quantity="1",
        open_time=TIME + at - 86_400_000,
        close_time=TIME + at,
        first_id=1,
        last_id=2,
        trades=2,
    )


def mini(symbol: str = "A", at: int = 0, last: str = "1.0") -> MiniTexts:
    return MiniTexts(symbol, "", TIME + at, last, "1.0", "1.0", "1.0", "1", "1")


def mark(symbol: str = "A", at: int = 0, **other: Any) -> MarkTexts:
    usual = {"price": "1.0", "average": "1.0", "index": "1.0", "settle": "1.0", "rate": "0.1"}
    more = {"last_rate": other.get("rate", "0.1"), "interest": "", "next_funding": TIME + 9}
    return MarkTexts(symbol=symbol, time=TIME + at, **usual | more | other)


def table() -> TickerTable:
    return TickerTable(lambda: LISTED)


def names(rows: Any) -> str:
    return "".join(row.symbol for row in rows)


def test_the_newest_is_kept_and_given_once() -> None:
    made = table()

    assert made.take_tickers([day(at=5, told=6)]) == [day(at=5, told=6)]
    assert made.take_tickers([day(at=5, told=6), day(at=4, told=9), day(at=5)]) == []
    assert made.take_tickers([day(at=5, told=7)]) == [day(at=5, told=7)]
    assert made.day("A") == made.mini("A") == day(at=5, told=7)
    assert (made.late, len(made)) == (3, 1)
    assert made.last_trade("A") == Traded("A", "1.0", TIME + 7)


def test_what_is_not_known_or_not_listed_is_not_given() -> None:
    made = table()
    made.take_tickers([day("B"), day("X")])

    assert [made.day("A"), made.mini("X"), made.last_trade("X"), made.mark("B")] == [None] * 4
    assert names(made.days()) == "B"


def test_bodies_of_everything_are_in_the_order_of_rest_and_of_what_trades() -> None:
    made = table()
    made.take_tickers([day("B", 1), day("A", 1)])
    made.read_tickers([day("C"), day("S"), day("A")])

    assert names(made.days()) == names(made.minis()) == names(made.last_trades()) == "CAB"
    assert made.day("S") == day("S")
    assert made.day("A") == day("A", 1)
    made.take_tickers([day("C", 3)])
    assert names(made.days()) == "CAB"


def test_spot_is_newer_in_short_than_in_full() -> None:
    made = table()
    made.take_tickers([mini(at=9, last="2.0")])

    assert made.day("A") is None
    assert made.read_tickers([day(at=5), day("B", 5)]) == [day("B", 5)]
    assert made.day("A") == day(at=5)
    assert made.mini("A") == mini(at=9, last="2.0")
    assert names(made.minis()) == "AB"


def test_a_mark_is_whole_once_rest_has_told_its_interest() -> None:
    made = table()
    made.take_marks([mark(at=5)])

    assert (made.mark("A"), made.marks(), made.incomplete) == (None, [], True)
    assert made.read_marks([mark(at=3, interest="0.01", average="")]) == []
    assert made.mark("A") == mark(at=5, interest="0.01")
    assert made.take_marks([mark(at=6, price="2.0")]) == [mark(at=6, price="2.0", interest="0.01")]
    assert made.marks() == [mark(at=6, price="2.0", interest="0.01")]
    assert not made.incomplete


def test_what_rest_says_of_no_funding_stays() -> None:
    made = table()
    unpaid: dict[str, Any] = {"rate": "", "next_funding": 0}
    made.read_marks([mark(**unpaid, last_rate="0.00", interest="")])
    made.take_marks([mark(at=1, **unpaid, last_rate="")])

    assert made.mark("A") == mark(at=1, **unpaid, last_rate="0.00")


def test_a_newer_mark_of_rest_takes_the_place_of_one_that_was_heard() -> None:
    made = table()
    made.take_marks([mark(at=1), mark("B", 1)])
    read = [mark("B", 5, interest="0.01", average=""), mark("A", 1, interest="0.02")]

    assert made.read_marks(read) == read[:1]
    assert names(made.marks()) == "BA"
    assert made.mark("A") == mark("A", 1, interest="0.02")


def test_what_is_forgotten_is_not_known_until_it_is_told_again() -> None:
    made = table()
    made.read_tickers([day()])
    made.read_marks([mark(interest="0.01")])
    made.forget_tickers(["A", "X", ""])

    assert (made.day("A"), made.mini("A")) == (None, None)
    assert made.mark("A") is not None
    made.forget_marks(["A", "X", ""])
    made.take_marks([mark(at=2)])
    assert (made.mark("A"), made.incomplete) == (None, True)
    made.take_tickers([replace(day(), last="3.0")])
    assert made.days() == [replace(day(), last="3.0")]


def test_what_is_listed_no_more_leaves_with_the_next_reading() -> None:
    made = table()
    made.take_tickers([day("A"), day("X")])
    made.read_tickers([day("A", 1)])

    assert len(made) == 1
