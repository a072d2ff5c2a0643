"""The streams that are not klines: tickers and mark prices at their own beats, listings as they change."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from klinehub.dialect.board import Board
from klinehub.dialect.prices import mark_event, mini_ticker_event, ticker_event
from klinehub.dialect.source import Source
from klinehub.domain.listing import Listing
from klinehub.domain.texts import MarkTexts
from klinehub.sim.market import Change

# Beats in seconds.
_TICKER_EVENTS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "!miniTicker@arr": mini_ticker_event,
    "!ticker@arr": ticker_event,
}
_SINGLE_EVENTS: Final[dict[str, tuple[Callable[..., dict[str, Any]], int]]] = {
    "miniTicker": (mini_ticker_event, 2),
    "ticker": (ticker_event, 2),
}
# All-market streams tell of contracts margined in coins too; one is enough to trip over.
_ALSO_IN_COINS: Final = "BTCUSDT"
_MARK_BEATS: Final = {"markPrice": 3, "markPrice@1s": 1}


def contract_event(change: Change, now: int) -> bytes:
    """Give a contractInfo event, sent when something is listed, delisted or announced."""
    one = change.listing
    event = {"e": "contractInfo", "E": now, "s": one.symbol, "ps": one.pair, "ct": one.contract_type}
    times = {
        "dt": one.delivery_time,
        "ot": one.onboard_time,
        "cs": one.status,
        "st": 2 if one.contract_size else 1,
    }
    return msgspec.json.encode(event | times)


def _in_coins(listing: Listing, mark: MarkTexts, now: int) -> dict[str, Any]:
    """Give the markPriceUpdate of the contract on the same asset that is margined in it."""
    return {**mark_event(mark, now), "s": f"{listing.base_asset}USD_PERP", "st": 2}


class Tellers:
    """Publishes tickers and mark prices to whoever follows them; *second* is how many pulses it has."""

    def __init__(self, source: Source, board: Board, *, second: int = 4) -> None:
        self.source = source
        self.board = board
        self._second = second
        self._told: dict[str, dict[str, int]] = {}

    def tell(self, now: int, pulses: int) -> None:
        """Publish what is due at this pulse."""
        for name in list(self.board.topics):
            if name in _TICKER_EVENTS and pulses % self._second == 0:
                self._tickers(name, now)
            elif name.startswith("!markPrice@arr"):
                beat = 1 if name.endswith("@1s") else 3
                if pulses % (beat * self._second) == 0:
                    self.board.publish(name, self._marks(now))
            elif not name.startswith("!"):
                self._single(name, now, pulses)
        for name in [name for name in self._told if name not in self.board.topics]:
            del self._told[name]

    def _tickers(self, name: str, now: int) -> None:
        """Publish the tickers of the symbols that traded since the last time."""
        told = self._told.setdefault(name, {})
        changed = []
        for listing in self._trading():
            ticker = self.source.ticker(listing.symbol)
            if ticker is not None and told.get(listing.symbol) != (trades := ticker.last_id):
                told[listing.symbol] = trades
                changed.append(_TICKER_EVENTS[name](ticker, now))
        if changed:
            self.board.publish(name, [msgspec.json.encode(changed)])

    def _marks(self, now: int) -> Iterable[bytes]:
        """Give all mark prices in two frames: what trades elsewhere comes on its own."""
        groups: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for listing in self._trading():
            mark = self.source.mark(listing.symbol)
            if mark is not None:
                groups[listing.contract_type == "TRADIFI_PERPETUAL"].append(mark_event(mark, now))
                if listing.symbol == _ALSO_IN_COINS:
                    groups[0].append(_in_coins(listing, mark, now))
        return [msgspec.json.encode(group) for group in groups if group]

    def _single(self, name: str, now: int, pulses: int) -> None:
        """Publish a stream of one symbol."""
        subject, _, what = name.partition("@")
        symbol = subject.upper()
        if what in _SINGLE_EVENTS:
            render, beat = _SINGLE_EVENTS[what]
            ticker = self.source.ticker(symbol) if pulses % (beat * self._second) == 0 else None
            if ticker is not None:
                self.board.publish(name, [msgspec.json.encode(render(ticker, now))])
        elif pulses % (_MARK_BEATS[what] * self._second) == 0:
            mark = self.source.mark(symbol)
            if mark is not None:
                self.board.publish(name, [msgspec.json.encode(mark_event(mark, now))])

    def _trading(self) -> Iterable[Listing]:
        return [listing for listing in self.source.listings() if listing.trading]
