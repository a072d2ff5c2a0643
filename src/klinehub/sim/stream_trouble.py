"""Faults of the streams: silence, doubles, disorder, closes late or never, garbage, cuts and refusals."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from aiohttp import web

from klinehub.dialect.frames import kline_events
from klinehub.dialect.stream import Connection
from klinehub.dialect.wire import envelope, frame
from klinehub.sim.exchange import Exchange
from klinehub.sim.faults import Fault
from klinehub.sim.mishap import Cure, Deed, Dice, nothing, one_of
from klinehub.sim.spoiled import spoiled, with_more_fields
from klinehub.sim.truth import I64, TRADES, WORDS
from klinehub.sim.wire import Address

Mask = npt.NDArray[np.bool_]
# Says which of the rows that are to be told now are told: lines, exact rows, event time (ms), closed.
Effect = Callable[[I64, I64, int, bool], Mask]

HUGE: Final = 2 << 20
_LATEST_CLOSE: Final = 60.0
_DISORDER: Final = 3.0
_PONG_WITHIN: Final = 10.0
# A frame sent this many seconds ago has arrived, however slow the line, unless it is stalled.
_ARRIVED: Final = 5.0


class StreamTrouble:
    """Carries out the faults of the WebSocket side of an exchange; *stalled* connections hear nothing."""

    def __init__(self, exchange: Exchange, dice: Dice, *, stalled: set[Address]) -> None:
        self._exchange = exchange
        self._streams = exchange.streams
        self._board = exchange.board
        self._pacer = exchange.pacer
        self._clock = exchange.clock
        self._dice = dice
        self._stalled = stalled
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._lines: dict[int, Effect] = {}
        self._mutes: dict[int, Callable[[Connection], bool]] = {}
        self._doubled: dict[int, np.random.Generator] = {}
        self._refused: dict[int, str] = {}
        self._deaf: set[int] = set()
        self._closed_door: set[int] = set()
        self._speaking: set[int] = set()
        self._rules = exchange.streams.rules
        self._closing: list[tuple[int, str, int]] = []
        self._heard: dict[tuple[str, Connection], tuple[int, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pacer.tap = self._told
        self._streams.tap = self

    @property
    def deeds(self) -> dict[str, Deed]:
        """What this can carry out, by the kind of fault."""
        return {
            "mute_stream": self.mute_stream,
            "mute_socket": self.mute_socket,
            "mute_all": lambda _: self._mute(lambda _: True),
            "duplicates": self.duplicates,
            "disorder": self.disorder,
            "late_close": self.late_close,
            "lost_close": self.lost_close,
            "garbage": self.garbage,
            "huge_frame": self.huge_frame,
            "no_pong": lambda _: self._flag(self._deaf),
            "ping_test": self.ping_test,
            "day_cut": lambda fault: self._cut(fault, 1001, "Connection lifetime is over"),
            "shutdown": self.shutdown,
            "refused_name": self.refused_name,
            "policy_cut": lambda fault: self._cut(fault, 1008, "Invalid request"),
            "route_gone": self.route_gone,
        }

    def newest_told(self, symbol: str) -> int:
        """Give the end (ms) of the newest 1m bar that a connection, still open, was told closed."""
        now = self._loop.time()
        return max(
            (
                end
                for (name, connection), (end, sent) in self._heard.items()
                if name == symbol and sent + _ARRIVED <= now and self._hears(connection)
            ),
            default=0,
        )

    def hush(self, symbol: str) -> Callable[[], None]:
        """Tell no trade-less close of a symbol until what this gives is called."""

        def effect(lines: I64, words: I64, _: int, closed: bool) -> Mask:  # noqa: FBT001 - as a tap is called
            flat = (words[:, TRADES] == 0) & self._of(lines, {symbol})
            return ~flat if closed else np.ones(len(lines), bool)

        return self._filter(effect)

    def admit(self, request: web.BaseRequest) -> web.Response | None:  # noqa: ARG002 - the same for all
        """Turn handshakes away while the door is closed."""
        return web.Response(status=451, text="Restricted location") if self._closed_door else None

    def passed(self, connection: Connection, data: bytes) -> bytes:
        """Give what a connection gets in place of these frames."""
        if any(mute(connection) for mute in self._mutes.values()):
            return b""
        for line, symbol, end in self._closing:
            if line < len(connection.wanted) and connection.wanted[line]:
                self._heard[symbol, connection] = (end, self._loop.time())
        twice = [rng.random() < 0.5 for rng in self._doubled.values()]
        return data + data if any(twice) else data

    def pongs(self, connection: Connection) -> bool:  # noqa: ARG002 - as above
        """Say whether pings are answered."""
        return not self._deaf

    def refusal(self, connection: Connection, names: Sequence[str]) -> str:  # noqa: ARG002 - as above
        """Refuse subscriptions with a name that is refused now."""
        bad = [name for name in names for symbol in self._refused.values() if name.startswith(f"{symbol}@")]
        return f"Invalid request: {bad[0]} is refused" if bad else ""

    def mute_stream(self, fault: Fault) -> Cure | None:
        """Say nothing of one symbol's klines."""
        mask = self._symbol_mask(fault, alone=True)
        return None if mask is None else self._filter(mask)

    def mute_socket(self, fault: Fault) -> Cure | None:
        """Send no data to one connection."""
        hit = self._hit(fault, alone=True)
        return self._mute(lambda one: one is hit[0]) if hit else None

    def route_gone(self, fault: Fault) -> Cure | None:
        """Send no data to any connection, old or new, on one of the routes in use; the others all speak."""
        routes = sorted({one.route or "" for one in self._streams.connections})
        if not routes:
            return None
        gone = one_of(routes, fault.pick)
        speak = self._flag(self._speaking)
        self._streams.rules = replace(self._rules, legacy_silent=False)
        unmute = self._mute(lambda one: (one.route or "") == gone)

        def over() -> None:
            unmute()
            speak()
            if not self._speaking:
                self._streams.rules = self._rules

        return over

    def close_door(self) -> Cure:
        """Turn every new connection away with 451."""
        return self._flag(self._closed_door)

    def duplicates(self, fault: Fault) -> Cure:
        """Send half of all frames twice."""
        return self._keep(self._doubled, self._dice(fault))

    def disorder(self, fault: Fault) -> Cure | None:
        """Hold half of what is told back for up to three seconds, in which newer things are told."""
        mask, rng = self._symbol_mask(fault), self._dice(fault)
        if mask is None:
            return None

        def effect(lines: I64, words: I64, now: int, closed: bool) -> Mask:  # noqa: FBT001 - as a tap is called
            if rng.random() < 0.5:
                return np.ones(len(lines), bool)
            held = ~mask(lines, words, now, closed)
            wait = _DISORDER * rng.random()
            self._loop.call_later(wait, self._tell, lines[held], words[held], now, closed)
            return ~held

        return self._filter(effect)

    def lost_close(self, fault: Fault) -> Cure | None:
        """Never tell that a bar is closed."""
        mask = self._symbol_mask(fault)
        if mask is None:
            return None

        def effect(lines: I64, words: I64, now: int, closed: bool) -> Mask:  # noqa: FBT001 - as a tap is called
            return mask(lines, words, now, closed) if closed else np.ones(len(lines), bool)

        return self._filter(effect)

    def late_close(self, fault: Fault) -> Cure | None:
        """Tell late that a bar is closed, as the truth has it by then."""
        mask, rng = self._symbol_mask(fault), self._dice(fault)
        if mask is None:
            return None
        last = [0.0]

        def effect(lines: I64, words: I64, now: int, closed: bool) -> Mask:  # noqa: FBT001 - as a tap is called
            if not closed:
                return np.ones(len(lines), bool)
            kept = mask(lines, words, now, closed)
            for line, word in zip(lines[~kept].tolist(), words[~kept], strict=True):
                wait = rng.random() * _LATEST_CLOSE / self._clock.rate
                last[0] = max(last[0], self._loop.time() + wait)
                self._loop.call_later(wait, self._tell_truth, line, int(word[0]))
            return kept

        end = self._filter(effect)

        async def over() -> None:
            end()
            await asyncio.sleep(max(0.0, last[0] - self._loop.time()))

        return over

    def garbage(self, fault: Fault) -> Cure:
        """Send frames that are wrong now and then, and instead of some closes first a wrong one."""
        rng = self._dice(fault)
        timer: list[asyncio.TimerHandle] = []

        def now_and_then() -> None:
            for connection in self._in_order():
                self._spoil(connection, rng)
            timer[:] = [self._loop.call_later(0.1 + 2.0 * rng.random(), now_and_then)]

        def effect(lines: I64, words: I64, now: int, closed: bool) -> Mask:  # noqa: FBT001 - as a tap is called
            if closed:
                self._spoil_closes(lines, words, now, rng)
            return np.ones(len(lines), bool)

        end = self._filter(effect)
        now_and_then()

        def over() -> None:
            _stop(timer)
            end()

        return over

    def huge_frame(self, fault: Fault) -> Cure | None:
        """Send one connection, or all, more in one frame than anybody should take."""
        hit = self._hit(fault)
        data = frame(b'{"e":"kline","pad":"' + b"x" * HUGE + b'"}')
        for connection in hit:
            connection.send(data)
        return nothing if hit else None

    def ping_test(self, _: Fault) -> Cure:
        """Ping every second and cut who has not said anything for ten."""
        timer: list[asyncio.TimerHandle] = []
        begun = self._loop.time()

        def ping() -> None:
            for connection in self._in_order():
                if self._loop.time() - max(begun, connection.heard) > _PONG_WITHIN:
                    connection.abort()
                else:
                    connection.ping()
            timer[:] = [self._loop.call_later(1.0, ping)]

        ping()
        return lambda: _stop(timer)

    def shutdown(self, fault: Fault) -> Cure | None:
        """Announce the end of one connection, or of all, and cut them when the fault is over."""
        hit = self._hit(fault)
        for connection in hit:
            event = b'{"e":"serverShutdown","E":%d}' % self._clock.now()
            self._send(connection, "!serverShutdown", event)
        return (lambda: self._close(hit, 1001, "Going away")) if hit else None

    def refused_name(self, fault: Fault) -> Cure | None:
        """Refuse each subscription with a certain symbol, after a connection that had it was broken."""
        symbol = self._symbol(fault)
        if symbol is None:
            return None
        lines = [n for n, line in enumerate(self._board.lines) if line.symbol == symbol]
        for connection in self._in_order():
            if any(n < len(connection.wanted) and connection.wanted[n] for n in lines):
                connection.abort()
        return self._keep(self._refused, symbol.lower())

    def _cut(self, fault: Fault, code: int, reason: str) -> Cure | None:
        """Close one connection, or all, with a code."""
        hit = self._hit(fault)
        self._close(hit, code, reason)
        return nothing if hit else None

    def _close(self, connections: Sequence[Connection], code: int, reason: str) -> None:
        for connection in connections:
            self._spawn(connection.close(code, reason))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _mute(self, mute: Callable[[Connection], bool]) -> Cure:
        return self._keep(self._mutes, mute)

    def _filter(self, effect: Effect) -> Callable[[], None]:
        return self._keep(self._lines, effect)

    def _flag(self, flags: set[int]) -> Callable[[], None]:
        self._number += 1
        number = self._number
        flags.add(number)
        return lambda: flags.discard(number)

    def _keep(self, things: dict[int, Any], thing: object) -> Callable[[], None]:
        """Keep something as long as a fault lasts."""
        self._number += 1
        number = self._number
        things[number] = thing

        def drop() -> None:
            del things[number]

        return drop

    def _told(self, lines: I64, words: I64, now: int, closed: bool) -> None:  # noqa: FBT001 - as a tap is called
        """Tell what the effects of now leave of the pacer's rows."""
        if not self._lines:
            self._tell(lines, words, now, closed)
            return
        for effect in list(self._lines.values()):
            kept = effect(lines, words, now, closed)
            lines, words = lines[kept], words[kept]
        self._tell(lines, words, now, closed)

    def _tell(self, lines: I64, words: I64, now: int, closed: bool) -> None:  # noqa: FBT001 - as a tap is called
        """Tell rows, and note who was told that a minute is over."""
        if closed:
            board = self._board
            self._closing = [
                (n, line.symbol, line.timeframe.open_time(line.timeframe.index(opened) + 1))
                for n, opened in zip(lines.tolist(), words[:, 0].tolist(), strict=True)
                if (line := board.lines[n]).timeframe.name == "1m"
            ]
            self._forget_the_gone()
        self._pacer.tell(lines, words, now, closed)
        self._closing = []

    def _tell_truth(self, line: int, opened: int) -> None:
        """Tell a closed bar as it is now."""
        one = self._board.lines[line]
        index = one.timeframe.index(opened)
        words = self._rows(line, index, index)
        if len(words):
            self._tell(np.array([line]), words, self._clock.now(), True)  # noqa: FBT003 - as a tap is called

    def _rows(self, line: int, first: int, last: int) -> I64:
        """Give the bars of a line as the market has them now, as words."""
        one = self._board.lines[line]
        exact = self._exchange.source.klines(one.symbol, one.timeframe, first, last, last - first + 1)
        return exact.rows.view(np.int64).reshape(-1, WORDS)

    def _forget_the_gone(self) -> None:
        for key in [key for key in self._heard if key[1] not in self._streams.connections]:
            del self._heard[key]

    def _hears(self, connection: Connection) -> bool:
        return connection in self._streams.connections and connection.peer not in self._stalled

    def _in_order(self) -> list[Connection]:
        return sorted(self._streams.connections, key=lambda one: one.peer)

    def _hit(self, fault: Fault, *, alone: bool = False) -> list[Connection]:
        """Choose one connection, or all of them."""
        connections = self._in_order()
        if fault.size >= 0.5 and not alone:
            return connections
        return [one_of(connections, fault.pick)] if connections else []

    def _symbol(self, fault: Fault) -> str | None:
        """Choose a symbol that somebody follows."""
        lines = zip(self._board.lines, self._board.counts.tolist(), strict=False)
        followed = sorted({line.symbol for line, count in lines if count})
        return one_of(followed, fault.pick) if followed else None

    def _symbol_mask(self, fault: Fault, *, alone: bool = False) -> Effect | None:
        """Give the effect that leaves out one symbol, or all where the fault is a bad one."""
        everything = fault.size >= 0.6 and not alone
        symbol = self._symbol(fault)
        if symbol is None:
            return None

        def effect(lines: I64, _: I64, __: int, ___: bool) -> Mask:  # noqa: FBT001 - as a tap is called
            return np.zeros(len(lines), bool) if everything else ~self._of(lines, {symbol})

        return effect

    def _of(self, lines: I64, symbols: set[str]) -> Mask:
        return np.array([self._board.lines[n].symbol in symbols for n in lines.tolist()], bool)

    def _send(self, connection: Connection, name: str, payload: bytes) -> None:
        """Send one event past everything that might hold it up."""
        connection.send(frame(envelope(name) + payload + b"}" if connection.combined else payload))

    def _spoil(self, connection: Connection, rng: np.random.Generator) -> None:
        """Send a connection something wrong about the bar that is forming on one of its streams."""
        lines = np.flatnonzero(connection.wanted[: len(self._board.lines)]).tolist()
        if not lines:
            return
        line = one_of(lines, rng.random())
        frame_ = self._board.lines[line].timeframe
        index = frame_.index(self._clock.now())
        words = self._rows(line, index, index)
        if len(words):
            event = self._event(line, words, self._clock.now(), closed=False)
            payload = with_more_fields(event) if rng.random() < 0.1 else spoiled(event, rng)
            self._send(connection, self._board.lines[line].name, payload)

    def _spoil_closes(self, lines: I64, words: I64, now: int, rng: np.random.Generator) -> None:
        """Send wrong closes just before the right ones."""
        for j, line in enumerate(lines.tolist()):
            for connection in self._in_order():
                wanted = line < len(connection.wanted) and connection.wanted[line]
                if wanted and rng.random() < 0.5:
                    event = self._event(line, words[j : j + 1], now, closed=True)
                    self._send(connection, self._board.lines[line].name, spoiled(event, rng))

    def _event(self, line: int, words: I64, now: int, *, closed: bool) -> dict[str, Any]:
        """Give a kline event as the exchange would print it."""
        events = kline_events(self._board.sheet, np.array([line]), words, now, closed=closed)
        event: dict[str, Any] = msgspec.json.decode(events.buffer[: events.cuts[1]].tobytes())
        return event


def _stop(timer: list[asyncio.TimerHandle]) -> None:
    """Cancel the newest timer of a chain."""
    timer[0].cancel()
