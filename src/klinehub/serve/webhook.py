"""Webhooks: alerts posted to an address of the user's, signed, one after the other, and again if need be.

1. An alert is put into a bounded queue; of too many the oldest is given up. Nobody waits for a webhook.
2. Each attempt is signed with its own time; the id stays, so that a receiver knows an alert that comes twice.
3. No answer, 408, 425, 429 and 5xx are tried again, later each time; anything else but 2xx is given up, a
   redirect too. What is given up is counted, with the reason of the last one.
"""

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import aiohttp
import msgspec

from klinehub.domain.listing import Listing
from klinehub.errors import DefinitionError
from klinehub.feed.network import http_session
from klinehub.scan.alerts import Alert
from klinehub.serve.answers import Hook
from klinehub.serve.targets import Pinned, Resolve, resolved, system_resolve
from klinehub.settings import WebhookSettings

MOST_WAITING: Final = 256
ATTEMPTS: Final = 6
# Real seconds for one attempt, and before the first and at most before any later one.
TIMEOUT: Final = 10.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_AGAIN: Final = frozenset({408, 425, 429})

OpenSession = Callable[[aiohttp.abc.AbstractResolver], aiohttp.ClientSession]


class Kept(msgspec.Struct, frozen=True):
    """An alert with a number that grows, and when it was made (exchange time in ms)."""

    id: int
    time: int
    alert: Alert


class Way(NamedTuple):
    """How webhooks reach the world: what names mean, how a session is opened, and chance in [0, 1)."""

    resolve: Resolve
    open_session: OpenSession
    jitter: Callable[[], float]


def system_way(jitter: Callable[[], float]) -> Way:
    """Give the way over this machine's own network: certificates are verified, no proxy is used."""
    return Way(system_resolve, open_session, jitter)


def open_session(resolver: aiohttp.abc.AbstractResolver) -> aiohttp.ClientSession:
    """Open a session for one attempt."""
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    return http_session(connector, TIMEOUT)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Sign a body as it was sent at a time: sha256= and the HMAC of `timestamp.body` in hex."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Webhook:
    """Posts the alerts that *settings* ask for; *now* is exchange time in ms, *began* tells runs apart."""

    def __init__(
        self,
        name: str,
        settings: WebhookSettings,
        way: Way,
        *,
        now: Callable[[], int],
        listing: Callable[[str], Listing | None],
        exchange: str,
    ) -> None:
        self.name = name
        self.delivered = self.retried = self.dead = 0
        self.last_failure = ""
        self._settings = settings
        self._way = way
        self._now = now
        self._listing = listing
        self._exchange = exchange
        self._began = now()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._due = asyncio.Event()

    @property
    def pending(self) -> int:
        """How many alerts wait to be posted."""
        return len(self._waiting)

    @property
    def told(self) -> Hook:
        """What is shown of it."""
        counts = (self.delivered, self.retried, self.dead, self.pending)
        return Hook(self.name, self._settings.host, *counts, self.last_failure)

    def offer(self, kept: Kept) -> None:
        """Have an alert posted, if it is one of those that are wanted."""
        alert = kept.alert
        if self._settings.screens and alert.screen not in self._settings.screens:
            return
        body = self._body(kept)
        if body is None:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._give_up(f"more than {MOST_WAITING} alerts waited")
        self._waiting.append((f"{self._began:x}-{kept.id}", body))
        self._due.set()

    async def run(self) -> None:
        """Post what comes, until cancelled."""
        while True:
            await self._due.wait()
            while self._waiting:
                await self._deliver(*self._waiting[0])
            self._due.clear()

    async def _deliver(self, number: str, body: bytes) -> None:
        """Post one alert, as often as it takes and makes sense."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.retried += 1
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1))
                await asyncio.sleep(pause * (0.5 + self._way.jitter()))
            failure, again = await self._attempt(number, body)
            if not failure:
                self.delivered += 1
                break
            self.last_failure = failure
            if not again:
                self.dead += 1
                break
        else:
            self.dead += 1
        # The oldest may have been given up meanwhile, for want of room.
        if self._waiting and self._waiting[0][0] == number:
            self._waiting.popleft()

    async def _attempt(self, number: str, body: bytes) -> tuple[str, bool]:
        """Post an alert once; gives why that failed, and whether to try again, no reason where it did not."""
        settings = self._settings
        stamp = str(self._now() // 1000)
        headers = {
            "Content-Type": "application/json",
            "X-Klinehub-Id": number,
            "X-Klinehub-Timestamp": stamp,
            "X-Klinehub-Signature": signature(settings.secret, stamp, body),
        }
        try:
            async with asyncio.timeout(TIMEOUT):
                way = self._way
                addresses = await resolved(settings.url, way.resolve, private=settings.allow_private)
                async with (
                    way.open_session(Pinned(addresses)) as session,
                    session.post(settings.url, data=body, headers=headers, allow_redirects=False) as response,
                ):
                    return _judged(response.status)
        except DefinitionError as exc:
            return str(exc), False
        except (aiohttp.ClientError, OSError) as exc:
            # What such an error says may hold the address, and that may hold a secret.
            return f"no answer ({type(exc).__name__})", True

    def _give_up(self, why: str) -> None:
        self.dead += 1
        self.last_failure = why

    def _body(self, kept: Kept) -> bytes | None:
        if self._settings.format == "freqtrade":
            told = _for_freqtrade(kept, self._settings.side, self._listing(kept.alert.symbol), self._exchange)
            return None if told is None else msgspec.json.encode(told)
        return msgspec.json.encode(kept)


def _judged(status: int) -> tuple[str, bool]:
    """Give why a status is no success, and whether another attempt may have one."""
    if 200 <= status < 300:
        return "", False
    return f"status {status}", status in _AGAIN or status >= 500


class ForFreqtrade(msgspec.Struct, frozen=True, kw_only=True):
    """An alert in the words of freqtrade's own webhooks, flat.

    `pair`, `side` and `entry_tag` are those of a forced entry of its REST API.
    """

    type: Literal["entry"] = "entry"
    exchange: str
    pair: str
    side: str
    direction: str
    entry_tag: str
    enter_tag: str
    base_currency: str
    quote_currency: str
    stake_currency: str
    current_rate: float
    timeframe: str
    open_date: int
    score: float | None


def _for_freqtrade(
    kept: Kept, side: str | None, listing: Listing | None, exchange: str
) -> ForFreqtrade | None:
    """Write an alert in freqtrade's words; None where nobody knows which side it is on."""
    alert = kept.alert
    told = side if alert.side == "flat" else alert.side
    if told is None or listing is None:
        return None
    return ForFreqtrade(
        exchange=exchange.partition("-")[0],
        pair=alert.pair,
        side=told,
        direction=told.capitalize(),
        entry_tag=alert.screen,
        enter_tag=alert.screen,
        base_currency=listing.base_asset,
        quote_currency=listing.quote_asset,
        stake_currency=listing.quote_asset,
        current_rate=alert.price,
        timeframe=alert.timeframe,
        open_date=alert.bar_open_time,
        score=alert.score,
    )
