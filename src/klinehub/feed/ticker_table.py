"""The newest ticker and mark of every symbol that is listed, in the exchange's own texts and order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from klinehub.domain.listing import Listing
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts, Traded

T = TypeVar("T", bound=MiniTexts | MarkTexts)


class TickerTable:
    """Keeps what is newest of the symbols that *listed* gives; `late` counts what was not.

    What is not listed any more is not given either, and of all symbols those that trade.
    """

    def __init__(self, listed: Callable[[], Mapping[str, Listing]]) -> None:
        self.late = 0
        self._listed = listed
        self._days: dict[str, DayTexts] = {}
        self._minis: dict[str, MiniTexts] = {}
        self._marks: dict[str, MarkTexts] = {}
        # Only REST tells the interest: marks are complete once it has.
        self._complete: set[str] = set()

    def __len__(self) -> int:
        """Give of how many symbols a price is known."""
        return len(self._minis)

    def day(self, symbol: str) -> DayTexts | None:
        """Give the last 24 hours of a symbol; None where they were not told."""
        return self._one(self._days, symbol)

    def days(self) -> list[DayTexts]:
        """Give the last 24 hours of all that trade, in the order of ticker/24hr."""
        return self._all(self._days)

    def mini(self, symbol: str) -> MiniTexts | None:
        """Give the same in short, which on spot is newer."""
        return self._one(self._minis, symbol)

    def minis(self) -> list[MiniTexts]:
        """Give the same of all that trade."""
        return self._all(self._minis)

    def last_trade(self, symbol: str) -> Traded | None:
        """Give the last price of a symbol; its time is that of the telling, a moment after the trade."""
        mini = self.mini(symbol)
        return None if mini is None else Traded(symbol, mini.last, mini.time)

    def last_trades(self) -> list[Traded]:
        """Give the same of all that trade."""
        return [Traded(mini.symbol, mini.last, mini.time) for mini in self.minis()]

    def mark(self, symbol: str) -> MarkTexts | None:
        """Give mark price and funding of a symbol; None where they were not told, or not in full."""
        return self._one(self._marks, symbol) if symbol in self._complete else None

    def marks(self) -> list[MarkTexts]:
        """Give the same of all that trade, in the order of premiumIndex."""
        return [mark for mark in self._all(self._marks) if mark.symbol in self._complete]

    @property
    def incomplete(self) -> bool:
        """Whether a mark of something that trades is not known in full."""
        return any(mark.symbol not in self._complete for mark in self._all(self._marks))

    def take_tickers(self, rows: Iterable[MiniTexts]) -> list[MiniTexts]:
        """Keep what is newer than what is held; gives what is new of last prices."""
        fresh = []
        for row in rows:
            if isinstance(row, DayTexts) and _newer(row, self._days.get(row.symbol)):
                self._days[row.symbol] = row
            if _newer(row, self._minis.get(row.symbol)):
                self._minis[row.symbol] = row
                fresh.append(row)
            else:
                self.late += 1
        return fresh

    def take_marks(self, rows: Iterable[MarkTexts]) -> list[MarkTexts]:
        """Keep what is newer than what is held, which lends what streams do not tell; gives that."""
        fresh = []
        for row in rows:
            held = self._marks.get(row.symbol)
            if not _newer(row, held):
                self.late += 1
                continue
            self._marks[row.symbol] = row if held is None else _lent(row, held)
            fresh.append(self._marks[row.symbol])
        return fresh

    def read_tickers(self, rows: Sequence[DayTexts]) -> list[MiniTexts]:
        """Take a body of REST and its order; gives what is new of last prices."""
        fresh = self.take_tickers(rows)
        self._days, self._minis = self._ordered(rows, self._days), self._ordered(rows, self._minis)
        return fresh

    def read_marks(self, rows: Sequence[MarkTexts]) -> list[MarkTexts]:
        """Take a body of REST and its order, and lend what it tells to what is newer; gives what is new."""
        fresh = []
        for row in rows:
            held = self._marks.get(row.symbol)
            if held is None or _newer(row, held):
                fresh.append(row)
                self._marks[row.symbol] = row
            else:
                self._marks[row.symbol] = _lent(held, row)
        self._complete.update(row.symbol for row in rows)
        self._marks = self._ordered(rows, self._marks)
        self._complete &= self._marks.keys()
        return fresh

    def forget_tickers(self, symbols: Iterable[str]) -> None:
        """Let go of the tickers of symbols of which something was told that could not be read."""
        for symbol in symbols:
            self._days.pop(symbol, None)
            self._minis.pop(symbol, None)

    def forget_marks(self, symbols: Iterable[str]) -> None:
        """Let go of their marks."""
        for symbol in symbols:
            self._marks.pop(symbol, None)
            self._complete.discard(symbol)

    def _one(self, kept: Mapping[str, T], symbol: str) -> T | None:
        return kept.get(symbol) if symbol in self._listed() else None

    def _all(self, kept: Mapping[str, T]) -> list[T]:
        listed = self._listed()
        return [told for symbol, told in kept.items() if symbol in listed and listed[symbol].trading]

    def _ordered(self, rows: Iterable[T | DayTexts], kept: Mapping[str, T]) -> dict[str, T]:
        """Put what is kept in the order of *rows*, what they leave out behind them, if it is listed."""
        listed = self._listed()
        names = dict.fromkeys((*(row.symbol for row in rows), *kept))
        return {name: kept[name] for name in names if name in kept and name in listed}


def _newer(row: MiniTexts | MarkTexts, held: MiniTexts | MarkTexts | None) -> bool:
    return held is None or _moment(row) > _moment(held)


def _moment(row: MiniTexts | MarkTexts) -> tuple[int, int]:
    """Give when a row was true, and when it was told: REST tells the former alone."""
    return (row.close_time if isinstance(row, DayTexts) else row.time, row.time)


def _lent(mark: MarkTexts, other: MarkTexts) -> MarkTexts:
    """Give a mark with what only REST tells taken from another."""
    return replace(mark, interest=other.interest, last_rate=mark.rate or other.last_rate)
