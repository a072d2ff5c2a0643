"""Who follows what: the streams that exist, their subscribers, and the publishing of events to them."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from klinehub.dialect.digits import U8
from klinehub.dialect.frames import Events, Sheet, Stencil, continuous_stencil, kline_stencil
from klinehub.dialect.manner import FUTURES, Manner
from klinehub.dialect.source import Source
from klinehub.dialect.wire import Envelopes, envelope, frame
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe


class Line(NamedTuple):
    """One kline stream that somebody follows or followed."""

    name: str
    symbol: str
    timeframe: Timeframe


class Follower(Protocol):
    """A connection as the board sees it."""

    combined: bool
    wanted: U8

    def deliver(self, data: bytes) -> None:
        """Send ready frames; a follower that does not read is cut, never waited for."""


class Board:
    """The streams of one exchange and who follows them.

    A kline stream has a line number for ever once it was asked for; every other stream is a topic known
    by its name. Names that stand for nothing are followed too, silently, and start when a listing makes
    them real. Without *ids* the source knows no trade ids, and its klines tell of none.
    """

    def __init__(self, source: Source, manner: Manner = FUTURES, *, ids: bool = True) -> None:
        self.source = source
        self.manner = manner
        self._ids = ids
        self.sheet = Sheet()
        self.lines: list[Line] = []
        self.counts = np.zeros(64, np.int64)
        self.topics: dict[str, list[Follower]] = {}
        self._envelopes = Envelopes()
        self._numbers: dict[str, int] = {}
        self._followers: dict[Follower, dict[str, int | str | None]] = {}

    @property
    def followers(self) -> int:
        """How many connections follow at least one name."""
        return len(self._followers)

    @property
    def following(self) -> tuple[Follower, ...]:
        """Those connections, in the order in which they came."""
        return tuple(self._followers)

    def follow(self, follower: Follower, name: str) -> None:
        """Deliver *name* to a follower from now on, if and when it is a stream."""
        targets = self._followers.setdefault(follower, {})
        if name not in targets:
            targets[name] = self._attach(follower, name)

    def unfollow(self, follower: Follower, name: str) -> None:
        """Stop delivering *name*; unknown names are fine."""
        target = self._followers.get(follower, {}).pop(name, None)
        if isinstance(target, int):
            follower.wanted[target] = 0
            self.counts[target] -= 1
        elif target is not None:
            self.topics[target].remove(follower)
            if not self.topics[target]:
                del self.topics[target]

    def leave(self, follower: Follower) -> None:
        """Forget a follower that has gone."""
        for name in list(self._followers.get(follower, ())):
            self.unfollow(follower, name)
        self._followers.pop(follower, None)

    def relist(self) -> None:
        """Look again at the names that stood for nothing, after a new listing."""
        for follower, targets in self._followers.items():
            for name in [name for name, target in targets.items() if target is None]:
                targets[name] = self._attach(follower, name)

    def _attach(self, follower: Follower, name: str) -> int | str | None:
        line = self._line(name)
        if line is not None:
            if line >= len(follower.wanted):
                grown = np.zeros(2 * line + 64, np.uint8)
                grown[: len(follower.wanted)] = follower.wanted
                follower.wanted = grown
            follower.wanted[line] = 1
            self.counts[line] += 1
            return line
        if not self._is_topic(name):
            return None
        self.topics.setdefault(name, []).append(follower)
        return name

    def _line(self, name: str) -> int | None:
        """Give the line of a kline stream, made on its first use; None for anything else."""
        number = self._numbers.get(name)
        if number is not None:
            return number
        what, _, interval = name.partition("@")[2].partition("_")
        frame_ = TIMEFRAMES.get(interval)
        known = {"kline", "continuousKline"} if self.manner.contracts else {"kline"}
        if frame_ is None or what not in known:
            return None
        subject = name.partition("@")[0]
        listing = self._symbol(subject) if what == "kline" else self._contract(subject)
        if listing is None:
            return None
        scale = self.source.klines(listing.symbol, frame_, None, 0, 0).scale
        stencil = (
            kline_stencil(listing, scale, frame_, bare_zero=self.manner.bare_zero, ids=self._ids)
            if what == "kline"
            else continuous_stencil(listing, scale, frame_, ids=self._ids)
        )
        return self._add(Line(name, listing.symbol, frame_), stencil)

    def _add(self, line: Line, stencil: Stencil) -> int:
        number = self.sheet.add(stencil)
        self._envelopes.add(line.name)
        self.lines.append(line)
        self._numbers[line.name] = number
        if number == len(self.counts):
            self.counts = np.concatenate((self.counts, np.zeros_like(self.counts)))
        return number

    def _symbol(self, subject: str) -> Listing | None:
        """Give the listing of a stream's symbol, which is written in small letters."""
        listing = self.source.listing(subject.upper())
        return listing if listing is not None and listing.symbol.lower() == subject else None

    def _contract(self, subject: str) -> Listing | None:
        """Give the listing of `<pair>_<contract type>`."""
        pair, _, kind = subject.partition("_")
        for listing in self.source.listings():
            if listing.pair.lower() == pair and listing.contract_type.lower() == kind:
                return listing
        return None

    def _is_topic(self, name: str) -> bool:
        if name in self.manner.market_topics:
            return True
        subject, _, what = name.partition("@")
        return what in self.manner.symbol_topics and self._symbol(subject) is not None

    def publish_klines(self, events: Events) -> None:
        """Send rendered kline events to their followers, one write for each."""
        if not len(events.lines):
            return
        for follower in list(self._followers):
            data = self.frames_for(follower, events)
            if data:
                follower.deliver(data)

    def frames_for(self, follower: Follower, events: Events) -> bytes:
        """Give the frames that a follower gets of rendered kline events, nothing for none."""
        return self._envelopes.gather(events, follower.wanted, combined=follower.combined)

    def publish(self, name: str, payloads: Iterable[bytes]) -> None:
        """Send payloads of a topic to its followers."""
        followers = self.topics.get(name)
        if not followers:
            return
        plain = list(payloads)
        raw = b"".join(frame(payload) for payload in plain)
        wrapped = b"".join(frame(b"".join((envelope(name), payload, b"}"))) for payload in plain)
        for follower in list(followers):
            follower.deliver(wrapped if follower.combined else raw)
