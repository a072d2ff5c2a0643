"""The board: what a hub has told of the market so far, a line for each symbol, sorted as it is asked."""

import copy
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple, Self

from klinehub.app.terminal.messages import Answered, Errors, Message, Prices, Spark, Table
from klinehub.domain.timeframe import DAY
from klinehub.scan.likeness import Calibration
from klinehub.serve.board.messages import (
    EvidenceTold,
    Failed,
    HealthTold,
    Hello,
    StaleRows,
    StaleTold,
    Symbols,
    SymbolTold,
    ViewAsked,
)

# Columns that every board has, beside those that a view asks for.
OWN: Final = ("symbol", "price", "change", "day", "turnover24h", "score")
# Those that move between closes, and what they are called where prices are told.
LIVE: Final = {"price": "price", "change": "change", "day": "day", "turnover24h": "turnover"}
# So long a symbol counts as new.
NEW_FOR: Final = 7 * DAY


class Sort(NamedTuple):
    """What lines are sorted by: one of the own columns or a text of the view's, the largest first or last."""

    key: str = "score"
    descending: bool = True

    @classmethod
    def of(cls, text: str) -> Self:
        """Read `rsi` (smallest first) or `-rsi` (largest first)."""
        bare = text.strip()
        return cls(bare.removeprefix("-").strip(), bare.startswith("-"))


class Breadth(NamedTuple):
    """How the market stands at the newest bar: how many rise and fall, and the middle and spread in percent.

    `spread` is the distance from the quarter below to the quarter above.
    """

    up: int = 0
    down: int = 0
    even: int = 0
    median: float | None = None
    spread: float | None = None


class Board:
    """What was told, newest of each kind; `wish` is what was asked for last."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.listed: Sequence[SymbolTold] = ()
        self.table: Table | None = None
        self.spark: Spark | None = None
        self.health: HealthTold | None = None
        # What came after scores on history, by timeframe.
        self.evidence: Mapping[str, Calibration] = {}
        self.errors = Errors()
        self.failure = ""
        self.wish: ViewAsked | None = None
        self.time = 0
        # Which way the newest prices moved, by row.
        self.moved: dict[int, int] = {}
        self._layout = 0
        # The rows that are not proved fresh.
        self.staleness: Mapping[int, StaleTold] = {}
        # The newest prices and changes, by what they are.
        self.live: dict[str, list[float | None]] = {name: [] for name in LIVE}

    def frozen(self) -> "Board":
        """Give the board as it stands, which what comes later does not change."""
        one = copy.copy(self)
        one.moved, one.live = {}, {name: list(values) for name, values in self.live.items()}
        return one

    def take(self, message: Message) -> None:
        """Take in what was told; what is of rows that are not listed yet, or of another view, is left."""
        match message:
            case Hello():
                self.hello, self.time = message, message.time
            case HealthTold():
                self.health, self.time = message, message.time
            case EvidenceTold():
                self.evidence = message.frames
            case Answered(id=self.view):
                self.errors, self.failure = message.errors, ""
            case Failed(view=self.view):
                self.failure = message.message
            case Symbols() | Table() | Spark() | Prices() | StaleRows():
                self._take_rows(message)
            case _:
                pass

    def _take_rows(self, message: Symbols | Table | Spark | Prices | StaleRows) -> None:
        match message:
            case Symbols():
                self._list(message)
            case _ if message.layout > self._layout:
                pass
            case Table(view=self.view):
                self.table = message
            case Spark(view=self.view):
                self.spark = message
            case Prices():
                self._price(message)
            case StaleRows():
                self.staleness = {int(row): one for row, one in message.rows.items()}
            case _:
                pass

    def _list(self, message: Symbols) -> None:
        """Rows never move: what is known of those before stays."""
        self.listed, self._layout = message.symbols, message.layout
        for values in self.live.values():
            values.extend([None] * (len(self.listed) - len(values)))

    def _price(self, message: Prices) -> None:
        live, self.moved = self.live, {}
        for row, price in zip(message.rows, message.price, strict=True):
            if row >= len(self.listed):
                continue
            before = live["price"][row]
            if before is not None and price is not None and price != before:
                self.moved[row] = 1 if price > before else -1
        for name, told in LIVE.items():
            values = live[name]
            for row, value in zip(message.rows, getattr(message, told), strict=True):
                if row < len(values):
                    values[row] = value
        self.time = max(self.time, message.time)

    @property
    def rows(self) -> range:
        """The rows of the table; those that were listed since are in the next one."""
        return range(0 if self.table is None else min(len(self.listed), len(self.table.close)))

    @property
    def view(self) -> int:
        """The number of the wish, 0 before the first."""
        return 0 if self.wish is None else self.wish.id

    @property
    def columns(self) -> tuple[str, ...]:
        """The texts of the columns that were asked for, as far as they are computed."""
        if self.table is None or self.wish is None:
            return ()
        return tuple(text for text in self.wish.columns if text in self.table.values)

    def value(self, key: str, row: int) -> float | None:
        """Give a number of a row, None where it is not known.

        Prices and changes are the newest that were told, else those of the table's bar.
        """
        if key in LIVE:
            found = self.live[key][row] if row < len(self.live[key]) else None
            if found is not None or key not in {"price", "change"}:
                return found
        table = self.table
        if table is None:
            return None
        fixed = {"price": table.close, "change": table.change, "score": table.score}
        values: Sequence[float | None] = fixed.get(key) or table.values.get(key, ())
        return values[row] if row < len(values) else None

    def parts(self, row: int) -> list[tuple[str, float]]:
        """Give what made a row's score, the most first."""
        if self.table is None:
            return []
        found = ((name, points[row]) for name, points in self.table.parts.items() if row < len(points))
        return sorted(((name, value) for name, value in found if value), key=lambda part: -abs(part[1]))

    def badge(self, row: int) -> str:
        """Say in a word what is special about a symbol's listing, nothing for most."""
        one = self.listed[row]
        if one.status != "TRADING":
            return one.status.replace("_", " ").lower() or "not trading"
        if one.delivery_time:
            return "delisting" if one.contract_type == "PERPETUAL" else "delivery"
        return "new" if 0 <= self.time - one.onboard_time < NEW_FOR else ""

    def breadth(self) -> Breadth:
        """Count how the market stands, of all symbols whether they pass the filter or not."""
        found = sorted(value for row in self.rows if (value := self.value("change", row)) is not None)
        if not found:
            return Breadth()
        up, down = sum(value > 0 for value in found), sum(value < 0 for value in found)
        spread = found[3 * (len(found) - 1) // 4] - found[(len(found) - 1) // 4]
        return Breadth(up, down, len(found) - up - down, median(found), spread)

    def lines(self, sort: Sort, *, only: frozenset[str] | None = None) -> list[int]:
        """Give the rows that pass the filter, sorted; unknown values last, ties by the symbol's name.

        With *only* just these symbols are given.
        """
        passes = None if self.table is None else self.table.passes
        rows = [
            row
            for row in self.rows
            if (passes is None or (row < len(passes) and passes[row]))
            and (only is None or self.listed[row].symbol in only)
        ]
        rows.sort(key=lambda row: self.listed[row].symbol)
        if sort.key == "symbol":
            return rows[::-1] if sort.descending else rows
        known = [(value, row) for row in rows if (value := self.value(sort.key, row)) is not None]
        unknown = [row for row in rows if self.value(sort.key, row) is None]
        # Sorting the other way round by a turned sign keeps ties by name.
        known.sort(key=lambda one: -one[0] if sort.descending else one[0])
        return [row for _, row in known] + unknown
