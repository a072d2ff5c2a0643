"""What the simulated exchange answers beside what klinehub keeps: bots that trade ask for more than klines.

1. The book is made up around the last price: a level at each tick, all worth the same, and nothing is ever
   taken out of it.
2. The mark price is the last price, so that its klines are those of the trades, without volumes.
3. Past fundings are told at the rates that `funding` draws.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from klinehub.dialect.coinm import CoinRest
from klinehub.dialect.params import Rejected, number
from klinehub.dialect.render import price_text, volume_text
from klinehub.dialect.rest import Answer, Query, Rest, Wanted
from klinehub.dialect.source import Source
from klinehub.dialect.spot import SpotRest
from klinehub.dialect.tally import Tally
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import DAY, MINUTE
from klinehub.sim import funding
from klinehub.sim.market import HOUR, Instrument, Market
from klinehub.sim.truth import OPEN

# What a level of the book is worth, in the quote asset.
WORTH: Final = 20_000
_LEVELS: Final = (5, 10, 20, 50, 100, 500, 1000)
_USUAL_LEVELS: Final = 500
_SPOT_LEVELS, _MOST_SPOT_LEVELS = 100, 5_000
_USUAL_FUNDINGS, _MOST_FUNDINGS = 100, 1_000
_EIGHT: Final = 8
# The longest range of the market that is margined in coins, in ms.
_LONGEST: Final = 200 * DAY


class SimRest(Rest):
    """Answers as the futures do, from a market that it may make more up of."""

    def __init__(self, market: Market, source: Source, tally: Tally) -> None:
        super().__init__(source, tally)
        self.market = market

    def depth(self, query: Query) -> bytes:
        """Give a symbol's book; futures take certain numbers of levels only."""
        listing, limit = self.known(query), number(query, "limit")
        if limit is not None and limit not in _LEVELS:
            raise Rejected(-4021, f"{limit} is not valid depth limit")
        now = self.clock.now()
        times = {"lastUpdateId": now, "E": now, "T": now}
        return msgspec.json.encode(times | self._book(listing, _USUAL_LEVELS if limit is None else limit))

    def best(self, query: Query) -> bytes:
        """Give the best bid and ask of a symbol, or of all that trade."""
        now = self.clock.now()
        return self._of_each(query, lambda one: self._best(one) | {"time": now, "lastUpdateId": now})

    def mark_klines(self, query: Query) -> bytes:
        """Give klines of a symbol's mark price, which tell no volumes."""
        wanted, now = self.of_symbol(query), self.clock.now()
        frame = wanted.timeframe
        rows = []
        for row in self.source.klines(*wanted).rows:
            begun = int(row["open_time"])
            prices = [price_text(float(row[name]), _EIGHT) for name in ("open", "high", "low", "close")]
            end = frame.close_time(frame.index(begun))
            # The mark price is told once a second.
            rows.append([begun, *prices, "0", end, "0", (min(now, end + 1) - begun) // 1000, "0", "0", "0"])
        return msgspec.json.encode(rows)

    def past_fundings(self, query: Query) -> bytes:
        """Give the fundings of a symbol, oldest first, or the last one of each perpetual that trades."""
        start, end = number(query, "startTime"), number(query, "endTime")
        limit = min(number(query, "limit") or _USUAL_FUNDINGS, _MOST_FUNDINGS)
        if "symbol" in query:
            end = self.clock.now() if end is None else end
            return msgspec.json.encode(self._fundings(self.known(query), start, end, limit))
        last = (self._fundings(one, None, self.clock.now(), 1) for one in self._perpetuals())
        rows = sorted((row for told in last for row in told), key=lambda row: int(row["fundingTime"]))
        return msgspec.json.encode(rows[-limit:])

    def _perpetuals(self) -> Iterable[Listing]:
        return (one for one in self.source.listings() if one.perpetual and one.trading)

    def _of_each(self, query: Query, one: Callable[[Listing], dict[str, Any]]) -> bytes:
        if "symbol" in query:
            return msgspec.json.encode(one(self.known(query)))
        return msgspec.json.encode([one(listing) for listing in self.source.listings() if listing.trading])

    def _instrument(self, listing: Listing) -> Instrument:
        return self.market.instruments[self.market.index[listing.symbol]]

    def _book(self, listing: Listing, levels: int) -> dict[str, list[list[str]]]:
        """Give bids and asks, the best first; none where nothing was traded in 24 hours."""
        one = self._instrument(listing)
        found = self.market.last_trade(self.market.index[listing.symbol], self.clock.now())
        if found is None:
            return {"bids": [], "asks": []}
        bids = range(found[0], max(0, found[0] - levels), -1)
        sides = {"bids": bids, "asks": range(found[0] + 1, found[0] + 1 + levels)}
        return {name: [_level(one, ticks) for ticks in side] for name, side in sides.items()}

    def _best(self, listing: Listing) -> dict[str, Any]:
        book = self._book(listing, 1)
        (bid, *_), (ask, *_) = book["bids"] or [["0", "0"]], book["asks"] or [["0", "0"]]
        prices = {"bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}
        return {"symbol": listing.symbol} | prices

    def _fundings(self, listing: Listing, start: int | None, end: int, limit: int) -> list[dict[str, Any]]:
        if not listing.perpetual:
            return []
        one = self._instrument(listing)
        length, end = funding.hours(one.seed) * HOUR, min(end, self.clock.now())
        begin = max(one.onboard, start or 0)
        times = range(-(-begin // length) * length, end + 1, length)
        chosen = times[-limit:] if start is None else times[:limit]
        return [self._funding(listing, one, time) for time in chosen]

    def _funding(self, listing: Listing, one: Instrument, time: int) -> dict[str, Any]:
        """Give a funding; the mark price is left out where no bar begins then."""
        bars = self.market.minutes(self.market.index[listing.symbol], time, time + MINUTE)
        price = volume_text(int(bars[0, OPEN]) * one.tick, one.scale.price) if len(bars) else ""
        rate = f"{funding.rate(one.seed, time - 1):.8f}"
        return {"symbol": listing.symbol, "fundingTime": time, "fundingRate": rate, "markPrice": price}


def _level(one: Instrument, ticks: int) -> list[str]:
    """Give price and quantity of a level."""
    price, base = ticks * one.tick, one.scale.base
    steps = max(1, WORTH * 10 ** (one.scale.price + base) // (price * one.step))
    return [volume_text(price, one.scale.price), volume_text(steps * one.step, base)]


class SimSpotRest(SimRest, SpotRest):
    """Answers as the spot market does, from a market that it may make more up of."""

    def depth(self, query: Query) -> bytes:
        """Give a symbol's book; spot takes any number of levels, and tells no times."""
        limit = min(number(query, "limit") or _SPOT_LEVELS, _MOST_SPOT_LEVELS)
        book = self._book(self.known(query), limit)
        return msgspec.json.encode({"lastUpdateId": self.clock.now()} | book)

    def best(self, query: Query) -> bytes:
        """Give the best bid and ask of a symbol, or of all that trade."""
        return self._of_each(query, self._best)


class SimCoinRest(SimRest, CoinRest):
    """Answers as the market that is margined in coins does, and makes nothing more up."""

    def of_symbol(self, query: Query) -> Wanted:
        """Read a request for the bars of a symbol, of 200 days at most."""
        start, end = number(query, "startTime"), number(query, "endTime")
        if start is not None and end is not None and end - start > _LONGEST:
            raise Rejected(-1127, "More than 4800 hours between startTime and endTime.")
        return super().of_symbol(query)


_FUTURES: Final[dict[str, Answer]] = {
    "/fapi/v1/depth": SimRest.depth,
    "/fapi/v1/ticker/bookTicker": SimRest.best,
    "/fapi/v1/markPriceKlines": SimRest.mark_klines,
    "/fapi/v1/fundingRate": SimRest.past_fundings,
}
_SPOT: Final[dict[str, Answer]] = {
    "/api/v3/depth": SimSpotRest.depth,
    "/api/v3/ticker/bookTicker": SimSpotRest.best,
}
SimRest.routes = Rest.routes | _FUTURES
SimSpotRest.routes = SpotRest.routes | _SPOT
SimCoinRest.routes = CoinRest.routes
SimCoinRest.klines = {**CoinRest.klines, "/dapi/v1/klines": SimCoinRest.of_symbol}
