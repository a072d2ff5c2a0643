"""The journal: hits once a bar, and their returns as each horizon comes due."""

import pytest

from klinehub.errors import DefinitionError
from klinehub.scan.journal import Journal
from klinehub.scan.scanner import Hit, ScanResult


def scan(bar: int, *symbols: str, name: str = "mine", timeframe: str = "15m") -> ScanResult:
    hits = tuple(Hit(symbol, 50.0, "long", 100.0, {}) for symbol in symbols)
    return ScanResult(timeframe, bar, 0, 3, (), (), (), {}, 0.0, len(hits), hits, screen=name, hash="abc")


PRICES = {("A", 11): 110.0, ("A", 14): 90.0, ("B", 12): 105.0, ("B", 15): None}


def price(symbol: str, bar: int) -> float | None:
    return PRICES[symbol, bar]


def test_returns_come_as_their_horizons_come_due() -> None:
    journal = Journal((1, 4))
    assert journal.note(scan(10, "A")) == 1
    assert journal.note(scan(11, "B")) == 1
    assert journal.close("1h", 99, price) == []

    (first,) = journal.close("15m", 11, price)
    assert first.returns == {1: pytest.approx(0.1)}
    changed = journal.close("15m", 14, price)
    assert [one.symbol for one in changed] == ["A", "B"]
    assert changed[0].returns == {1: pytest.approx(0.1), 4: pytest.approx(-0.1)}
    assert changed[1].returns == {1: pytest.approx(0.05)}
    (last,) = journal.close("15m", 20, price)
    assert last.returns == {1: pytest.approx(0.05), 4: None}
    assert journal.close("15m", 21, price) == []
    assert [one.symbol for one in journal.entries] == ["A", "B"]


def test_a_bar_that_is_scanned_again_adds_nothing() -> None:
    journal = Journal()
    journal.note(scan(10, "A"))

    assert journal.note(scan(10, "A", "B")) == 0
    assert journal.note(scan(9, "A")) == 0
    assert journal.note(scan(10, "A", name="other")) == 1
    assert len(journal.entries) == 2


def test_the_oldest_are_let_go_when_it_is_full() -> None:
    journal = Journal((1_000,), most=3)
    for bar in range(10):
        journal.note(scan(bar, "A"))

    assert [one.bar for one in journal.entries][-3:] == [7, 8, 9]
    assert len(journal.entries) <= 6


@pytest.mark.parametrize("horizons", [(), (0,), (-1, 4), (1.5,)])
def test_horizons_that_are_none_are_refused(horizons: tuple[int, ...]) -> None:
    with pytest.raises(DefinitionError, match="give whole numbers from 1"):
        Journal(horizons)
