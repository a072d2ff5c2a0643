"""Upstream: one exchange of ccxt, asked under its throttle, with its time as we can prove it.

1. Every request goes through ccxt's throttle, and what that counts is told as the weight that was used.
2. Exchange time is never taken for later than the exchange has said: what `fetch_time` told, or the `Date` of
   an answer, was true at the latest when it arrived. A close is thereby proved too late, never too early.
3. A range of klines is as many requests as the exchange's own limit of rows makes of it.
"""

from collections.abc import Iterable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from klinehub.bridge.library import AWAY, Trouble, says
from klinehub.dialect.params import Rejected
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE, Timeframe
from klinehub.errors import DefinitionError

# Rows of one request where ccxt does not say how many an exchange gives.
USUAL_ROWS: Final = 200
# Where bars are left out, an answer goes back so often at most until it is as long as was asked for.
MOST_STEPS: Final = 8
# So many rows every exchange gives at once.
SURELY_WHOLE: Final = 100
# The time is read so often in a row, and what was read is forgotten after so many ms of market time.
READS: Final = 3
FORGOTTEN: Final = 600_000
# Requests that wait for the throttle; who comes then is told to come again.
MOST_WAITING: Final = 512
_TOO_BUSY: Final = -1001


class Bar(NamedTuple):
    """One bar as ccxt gives it; the volume is in base units, or in contracts where these are counted."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class ProvedClock(Clock):
    """The latest time that the exchange is known to have reached, by a local clock between its words."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.now(), clock.rate, clock.monotonic)
        self._clock = clock
        self._offset: int | None = None
        self._since = 0

    def now(self) -> int:
        """Give the exchange time in ms UTC; before the exchange has told any, the machine's."""
        return self._clock.now() + (self._offset or 0)

    @property
    def told(self) -> bool:
        """Whether the exchange has told its time."""
        return self._offset is not None

    def learn(self, told: int) -> None:
        """Take note that the exchange told this time (ms) just now, or earlier."""
        now = self._clock.now()
        stale = not 0 <= now - self._since < FORGOTTEN
        if self._offset is None or stale or told - now > self._offset:
            self._offset, self._since = told - now, now


class Upstream:
    """One ccxt *exchange*: klines, tickers, markets and time, each error as the answer that a hub knows.

    `weight` is the throttle's cost of a minute and `spent` that of all requests. `failures` count answers
    that were none, `last_failure` says the newest, and `set_aside` counts rows that were no bars.
    """

    def __init__(self, exchange: Any, clock: Clock) -> None:  # noqa: ANN401 - ccxt is untyped
        self.exchange = exchange
        self.name = str(exchange.id)
        self.clock = ProvedClock(clock)
        self.trouble = Trouble()
        self.weight = max(1, round(MINUTE / float(exchange.rateLimit)))
        self.failures = self.set_aside = 0
        self.last_failure = ""
        self.spent = 0.0
        self._minute, self._used = -1, 0.0
        self._waiting = 0
        self._throttle = exchange.throttle
        exchange.throttle = self._throttled

    @property
    def used(self) -> int:
        """How much of the weight was used in this minute of exchange time."""
        return round(self._used) if self.clock.now() // MINUTE == self._minute else 0

    @property
    def spacing(self) -> float:
        """Real seconds between two requests under the throttle."""
        return float(self.exchange.rateLimit) / 1000.0

    def has(self, what: str) -> bool:
        """Whether the exchange has something natively."""
        return self.exchange.has.get(what) is True

    async def _throttled(self, cost: float | None = None) -> None:
        """Wait for the throttle, and count what it counts."""
        await self._throttle(cost)
        minute = self.clock.now() // MINUTE
        if minute != self._minute:
            self._minute, self._used = minute, 0.0
        counted = 1.0 if cost is None else float(cost)
        self._used, self.spent = self._used + counted, self.spent + counted

    async def ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever ccxt answers
        """Call a method of the exchange; raises Rejected for whatever that raises."""
        if self._waiting >= MOST_WAITING:
            raise Rejected(_TOO_BUSY, f"{MOST_WAITING} requests wait for ccxt's throttle already", 503)
        self._waiting += 1
        try:
            answer = await getattr(self.exchange, method)(*arguments)
        except Exception as error:
            # ccxt reads what exchanges send, and raises whatever comes of that, its own errors or not.
            self.note(error)
            raise self.trouble.refusal(error, self.name, self._away()) from error
        finally:
            self._waiting -= 1
        self._read_date()
        return answer

    def note(self, error: Exception) -> None:
        """Count what went wrong, and remember what ccxt said."""
        self.failures += 1
        self.last_failure = says(error, self.name)

    def _headers(self) -> dict[str, str]:
        headers = getattr(self.exchange, "last_response_headers", None) or {}
        return {str(name).lower(): str(value) for name, value in dict(headers).items()}

    def _away(self) -> int:
        """Give the seconds that the exchange wants nobody to ask in, after it has refused."""
        said = self._headers().get("retry-after", "")
        return int(said) if said.isascii() and said.isdigit() and len(said) < 6 else AWAY

    def _read_date(self) -> None:
        """Learn from the `Date` of the last answer, where nothing better tells the time."""
        told = self._headers().get("date")
        if self.has("fetchTime") or told is None:
            return
        try:
            self.clock.learn(int(parsedate_to_datetime(told).timestamp() * 1000))
        except ValueError:
            self.failures += 1

    async def read_time(self) -> None:
        """Ask for the exchange's time, where it tells it."""
        if not self.has("fetchTime"):
            return
        for _ in range(READS):
            told = await self.ask("fetch_time")
            if isinstance(told, int):
                self.clock.learn(told)

    def check(self, frames: Iterable[Timeframe]) -> None:
        """Refuse timeframes that the exchange does not have."""
        known = self.exchange.timeframes or {}
        for frame in frames:
            if frame.name not in known:
                raise DefinitionError(
                    f"ccxt:{self.name} has no {frame.name} klines: choose --timeframes of {', '.join(known)}."
                )

    def rows(self, kind: str) -> int:
        """Give how many rows one request for klines of a *kind* of market brings."""
        told = (getattr(self.exchange, "features", None) or {}).get(kind) or {}
        if kind == "swap" and "linear" in told:
            told = told["linear"] or {}
        return int((told.get("fetchOHLCV") or {}).get("limit") or USUAL_ROWS)

    async def newest(self, unified: str, frame: Timeframe, limit: int, most: int) -> list[Bar]:
        """Give up to *limit* of the newest bars, the open one included, *most* of them a request."""
        found = await self._some(unified, frame, None, min(limit, most))
        for _ in range(MOST_STEPS):
            if not found or len(found) >= limit:
                break
            oldest = frame.index(found[0].open_time)
            older = await self.between(unified, frame, oldest - limit + len(found), oldest - 1, most)
            if not older:
                break
            found = older + found
        return found[-limit:]

    async def between(self, unified: str, frame: Timeframe, first: int, last: int, most: int) -> list[Bar]:
        """Give the bars with absolute indices from *first* to *last*, *most* of them a request."""
        found: dict[int, Bar] = {}
        at = first
        while at <= last:
            count = min(last - at + 1, most)
            some = await self._some(unified, frame, frame.open_time(at), count)
            found |= {frame.index(bar.open_time): bar for bar in some}
            # Few rows are believed to be all there are; of many an exchange may give fewer than asked for.
            cut = count > SURELY_WHOLE and max(found, default=at) >= at
            at = max(found) + 1 if cut else at + count
        return [found[index] for index in sorted(found) if first <= index <= last]

    async def _some(self, unified: str, frame: Timeframe, since: int | None, limit: int) -> list[Bar]:
        rows = await self.ask("fetch_ohlcv", unified, frame.name, since, limit)
        return self.bars(rows, frame)

    def bars(self, rows: Sequence[Sequence[Any]], frame: Timeframe) -> list[Bar]:
        """Read ccxt's rows, oldest first; what is no bar of the timeframe is counted and left out."""
        read = [bar for row in rows if (bar := bar_of(row, frame)) is not None]
        self.set_aside += len(rows) - len(read)
        return sorted(read)


def bar_of(row: Sequence[Any], frame: Timeframe) -> Bar | None:
    """Read one row; None where it is no bar of the timeframe, or lacks a number."""
    if len(row) < len(Bar._fields) or any(type(cell) not in {int, float} for cell in row[:6]):
        return None
    bar = Bar(int(row[0]), *(float(cell) for cell in row[1:6]))
    ordered = 0.0 <= bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high < float(
        "inf"
    )
    on_grid = frame.open_time(frame.index(bar.open_time)) == bar.open_time
    return bar if ordered and on_grid and 0.0 <= bar.volume < float("inf") else None
