"""The streams that are not klines: tickers and mark prices, told again as they were told.

1. Arrays of the whole market go on frame by frame, as they come: tickers of what traded, marks in two frames.
2. The slower of two beats gets every so many of the faster one's.
3. The ticker of one symbol is told at its own beat, whether it traded or not.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from klinehub.dialect.board import Board
from klinehub.dialect.prices import mark_event, mini_ticker_event, ticker_event
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts
from klinehub.feed.tickers import Tickers

_TICKERS: Final = "!ticker@arr"
_MINIS: Final = "!miniTicker@arr"
_SECOND: Final = 1_000
# Which marks a stream tells, by the whole seconds of exchange time.
_MARK_BEATS: Final = {"markPrice@1s": 1, "markPrice": 3}
_ALL_MARKS: Final = {"!markPrice@arr@1s": 1, "!markPrice@arr": 3}
_TICKER_BEAT: Final = 2
_TICKER_EVENTS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "miniTicker": mini_ticker_event,
    "ticker": ticker_event,
}


class TickerStreams:
    """Publishes to *board* what *tickers* are told, while `heard` lasts."""

    def __init__(self, board: Board, tickers: Tickers) -> None:
        self._board = board
        self._tickers = tickers
        self._beat = 0

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen while the block runs."""
        self._tickers.on_tickers.append(self._on_tickers)
        self._tickers.on_marks.append(self._on_marks)
        try:
            yield
        finally:
            self._tickers.on_tickers.remove(self._on_tickers)
            self._tickers.on_marks.remove(self._on_marks)

    def tell(self, now: int) -> None:
        """Tell the tickers of single symbols when their beat has come, at exchange time *now* (ms)."""
        beat = now // (_TICKER_BEAT * _SECOND)
        if beat == self._beat:
            return
        self._beat = beat
        for name in list(self._board.topics):
            subject, _, what = name.partition("@")
            event = _TICKER_EVENTS.get(what)
            table, symbol = self._tickers.table, subject.upper()
            told = table.day(symbol) if what == "ticker" else table.mini(symbol)
            if event is not None and told is not None:
                self._publish(name, event(told, told.time))

    def _on_tickers(self, rows: Sequence[MiniTexts]) -> None:
        topics = self._board.topics
        if _MINIS in topics:
            self._publish(_MINIS, [mini_ticker_event(row, row.time) for row in rows])
        days = [row for row in rows if isinstance(row, DayTexts)] if _TICKERS in topics else []
        if days:
            self._publish(_TICKERS, [ticker_event(row, row.time) for row in days])

    def _on_marks(self, rows: Sequence[MarkTexts]) -> None:
        topics, second = self._board.topics, rows[0].time // _SECOND
        for name, beat in _ALL_MARKS.items():
            if name in topics and second % beat == 0:
                self._publish(name, [mark_event(row, row.time) for row in rows])
        if all(name in _ALL_MARKS or "@markPrice" not in name for name in topics):
            return
        for row in rows:
            for what, beat in _MARK_BEATS.items():
                name = f"{row.symbol.lower()}@{what}"
                if name in topics and second % beat == 0:
                    self._publish(name, mark_event(row, row.time))

    def _publish(self, name: str, event: object) -> None:
        self._board.publish(name, [msgspec.json.encode(event)])
