"""Live: open bars as the exchange tells them, passed on to who follows them; never a close.

1. Where ccxt watches many symbols at once it is given them a hundred at a time, where it watches one each has
   its own watch, and where it watches none, or refuses to, open bars are asked for in turn, in a fifth of the
   throttle.
2. What ccxt was told it keeps; a few times a second what is new in that is passed on as updates of open bars.
   ccxt drops what an exchange says of a bar's end, and so no update says so: REST proves closes.
3. While a watch is broken all connections are ended and none is let in: nobody shall take silence for calm.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from aiohttp import web

from klinehub.bridge.digits import Digits
from klinehub.bridge.source import CcxtSource
from klinehub.bridge.upstream import READS, Bar, bar_of
from klinehub.dialect.board import Board, Line
from klinehub.dialect.frames import Events
from klinehub.dialect.params import Rejected
from klinehub.dialect.prices import mini_ticker_event
from klinehub.dialect.stream import Rules, Streams
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.merge import PROOF

# Real seconds between two looks at what ccxt was told, and between two askings for the same open bar.
PULSE: Final = 0.25
POLL_EVERY: Final = 2.0
# Open bars are asked for in this part of the throttle, where nobody watches them.
POLL_SHARE: Final = 0.2
MANY: Final = 100
# Real seconds until a broken watch is tried again, doubled up to the second number.
AGAIN: Final = (0.5, 30.0)
# Tickers are told so often (real seconds), where one request for all costs at most this part of a minute.
TICKERS_EVERY: Final = 10.0
TICKERS_SHARE: Final = 0.01
TICKERS: Final = "!miniTicker@arr"
_GOING: Final = 1012

Pair = tuple[str, Timeframe]


class BridgeStreams(Streams):
    """Connections that follow a board, as long as what it tells is whole: `broken` is why it is not."""

    broken = ""

    async def connect(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Serve one connection at *path* until it ends; nobody is let in while a watch is broken."""
        if self.broken:
            return web.Response(status=503, text=self.broken)
        return await super().connect(request, path)

    async def cut(self, why: str) -> None:
        """End all connections, and let nobody in until `broken` is empty again."""
        self.broken = why
        await asyncio.gather(
            *(one.close(_GOING, "The exchange's stream is lost") for one in [*self.connections])
        )


class Live:
    """Passes open bars and tickers on to who follows them on a *board*.

    `lost` counts watches that broke, `watched` and `polled` are how many series each way brings.
    """

    def __init__(self, source: CcxtSource, board: Board, streams: BridgeStreams) -> None:
        self.lost = 0
        self.watched = self.polled = 0
        self._source = source
        self._upstream = source.upstream
        self._board = board
        self._streams = streams
        self._pairs: set[Pair] = set()
        self._polled: dict[Pair, None] = {}
        self._newest: dict[Pair, Bar] = {}
        self._told: dict[Pair, Bar] = {}
        self._broken: set[int] = set()
        self._watches = 0

    @property
    def watches(self) -> bool:
        """Whether ccxt watches klines of this exchange, however many at once."""
        return any(self._upstream.has(what) for what in ("watchOHLCVForSymbols", "watchOHLCV"))

    async def run(self) -> None:
        """Follow what is followed until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            group.create_task(self._tell_tickers())
            while True:
                self._begin(group, self._wanted())
                self.tell()
                await asyncio.sleep(PULSE)

    def _followed(self) -> Iterable[tuple[int, Line]]:
        """Give the kline streams that somebody follows, with their numbers."""
        counts = self._board.counts
        return [(n, line) for n, line in enumerate(self._board.lines) if counts[n] and "@kline_" in line.name]

    def _wanted(self) -> list[Pair]:
        pairs = dict.fromkeys((line.symbol, line.timeframe) for _, line in self._followed())
        return [pair for pair in pairs if pair not in self._pairs]

    def _begin(self, group: asyncio.TaskGroup, pairs: Sequence[Pair]) -> None:
        """Watch series that nobody watches yet, or ask for them in turn."""
        self._pairs.update(pairs)
        if not self.watches:
            self._poll_instead(pairs)
            return
        size = MANY if self._upstream.has("watchOHLCVForSymbols") else 1
        for at in range(0, len(pairs), size):
            self._watches += 1
            self.watched += len(pairs[at : at + size])
            group.create_task(self._watch(self._watches, pairs[at : at + size]))

    def _poll_instead(self, pairs: Iterable[Pair]) -> None:
        self._polled.update(dict.fromkeys(pairs))
        self.polled = len(self._polled)

    async def _watch(self, number: int, pairs: Sequence[Pair]) -> None:
        """Keep a watch for good; what breaks it is told by cutting who follows."""
        names, frames = (
            [[self._source.unified(s), tf.name] for s, tf in pairs],
            {tf.name: tf for _, tf in pairs},
        )
        symbols, failures = {self._source.unified(symbol): symbol for symbol, _ in pairs}, 0
        while True:
            try:
                told = await self._told_by(names)
            except Exception as error:  # noqa: BLE001 - ccxt raises whatever comes of what exchanges send
                if self._upstream.trouble.lasts(error):
                    self._upstream.note(error)
                    self._poll_instead(pairs)
                    self.watched -= len(pairs)
                    self._mend(number)
                    return
                await self._break(number, error)
                await asyncio.sleep(min(AGAIN[0] * 2 ** min(failures, 9), AGAIN[1]))
                failures += 1
                continue
            failures = 0
            self._mend(number)
            for unified, series in told.items():
                for name, rows in series.items():
                    if unified in symbols and name in frames:
                        self.take(symbols[unified], frames[name], rows[-1:])
            # What comes meanwhile ccxt keeps; to wait for many series anew costs as much as for all of them.
            await asyncio.sleep(PULSE)

    async def _told_by(self, names: Sequence[Sequence[str]]) -> dict[str, dict[str, Any]]:
        exchange = self._upstream.exchange
        if self._upstream.has("watchOHLCVForSymbols"):
            told: dict[str, dict[str, Any]] = await exchange.watch_ohlcv_for_symbols(list(names))
            return told
        ((unified, frame),) = names
        return {unified: {frame: await exchange.watch_ohlcv(unified, frame)}}

    async def _break(self, number: int, error: Exception) -> None:
        self._upstream.note(error)
        if number not in self._broken:
            self._broken.add(number)
            self.lost += 1
            await self._streams.cut(self._upstream.last_failure)

    def _mend(self, number: int) -> None:
        self._broken.discard(number)
        if not self._broken:
            self._streams.broken = ""

    async def _poll(self) -> None:
        """Ask for open bars in turn, where nobody watches them."""
        while True:
            if not self._polled:
                await asyncio.sleep(PULSE)
                continue
            pause = max(self._upstream.spacing / POLL_SHARE, POLL_EVERY / len(self._polled))
            for symbol, frame in list(self._polled):
                try:
                    rows = await self._upstream.ask(
                        "fetch_ohlcv", self._source.unified(symbol), frame.name, None, 2
                    )
                    self.take(symbol, frame, rows[-1:])
                except Rejected:
                    # It is counted, and the next one is not asked for at once.
                    await asyncio.sleep(AGAIN[1] / 3)
                await asyncio.sleep(pause)

    def take(self, symbol: str, frame: Timeframe, rows: Sequence[Sequence[Any]]) -> None:
        """Take ccxt's newest rows of a series: the last one is passed on as it stands."""
        bar = bar_of(rows[-1], frame) if rows else None
        before = self._newest.get((symbol, frame))
        if bar is not None and (before is None or bar.open_time >= before.open_time):
            self._newest[symbol, frame] = bar

    def came(self, symbol: str, frame: Timeframe, bars: Sequence[Bar]) -> None:
        """Take bars that somebody has asked for, where nothing else tells of their series."""
        if (symbol, frame) in self._polled:
            self.take(symbol, frame, bars[-1:])

    def _kept(self, symbol: str, frame: Timeframe) -> None:
        """Take what ccxt keeps of a series: it wakes who watches many of them for one at a time."""
        kept = getattr(self._upstream.exchange, "ohlcvs", None) or {}
        rows = (kept.get(self._source.unified(symbol)) or {}).get(frame.name) or ()
        self.take(symbol, frame, list(rows)[-1:])

    def tell(self) -> None:
        """Pass on the open bars that have changed."""
        now, lines, payloads = self._source.clock.now(), [], []
        for number, line in self._followed():
            pair = (line.symbol, line.timeframe)
            self._kept(*pair)
            bar = self._newest.get(pair)
            if bar is None or bar == self._told.get(pair):
                continue
            self._told[pair] = bar
            if line.timeframe.close_time(line.timeframe.index(bar.open_time)) + PROOF < now:
                continue
            lines.append(number)
            payloads.append(kline_event(line, bar, self._source.learned(line.symbol, [bar]), now))
        if lines:
            cuts = np.cumsum([0, *map(len, payloads)], dtype=np.int64)
            buffer = np.frombuffer(b"".join(payloads), np.uint8)
            self._board.publish_klines(Events(np.array(lines, np.int64), buffer, cuts))

    async def _tell_tickers(self) -> None:
        """Tell tickers now and then, where that is cheap; else who wants them asks for them."""
        upstream, most = self._upstream, TICKERS_SHARE * self._upstream.weight
        # Others ask meanwhile, so that the least of a few is what it costs.
        least, reads = float("inf"), 0
        while upstream.has("fetchTickers") and (least <= most or reads < READS):
            await asyncio.sleep(TICKERS_EVERY)
            if TICKERS not in self._board.topics:
                continue
            before = upstream.spent
            try:
                await self._source.read_tickers()
            except Rejected:
                continue
            least, reads = min(least, upstream.spent - before), reads + 1
            now = self._source.clock.now()
            events = [mini_ticker_event(day, now) for day in self._source.tickers()]
            self._board.publish(TICKERS, [msgspec.json.encode(events)])


def kline_event(line: Line, bar: Bar, digits: Digits, now: int) -> bytes:
    """Write the event of an open bar; what ccxt does not tell is 0, and no close is ever told."""
    frame = line.timeframe
    return msgspec.json.encode(
        {
            "e": "kline",
            "E": max(now, bar.open_time),
            "s": line.symbol,
            "k": {
                "t": bar.open_time,
                "T": frame.close_time(frame.index(bar.open_time)),
                "s": line.symbol,
                "i": frame.name,
                "f": -1,
                "L": -1,
                "o": digits.of_price(bar.open),
                "c": digits.of_price(bar.close),
                "h": digits.of_price(bar.high),
                "l": digits.of_price(bar.low),
                "v": digits.of_volume(bar.volume),
                "n": 0,
                "x": False,
                "q": "0",
                "V": "0",
                "Q": "0",
                "B": "0",
            },
        }
    )


RULES: Final = Rules(burst=200, rate=50.0, ping_every=20.0, pong_within=60.0, legacy_silent=False)
