"""Webhooks: alerts posted to an address of the user's, each on its own and signed.

1. Each attempt is signed with its own time; the id stays, so that a receiver knows an alert that comes twice.
2. No answer, 408, 425, 429 and 5xx may be tried again; anything else but 2xx is a refusal, a redirect too.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import aiohttp
import msgspec

from klinehub.alerts.addresses import Pinned, Resolve, resolved, system_resolve
from klinehub.alerts.outbox import Kept, Message
from klinehub.alerts.posting import Answer, Ended, Patience
from klinehub.domain.listing import Listing
from klinehub.errors import DefinitionError
from klinehub.feed.network import http_session
from klinehub.scan.alerts import Alert
from klinehub.settings import WebhookSettings

ATTEMPTS: Final = 6
MOST_WAITING: Final = 256
# Real seconds for one attempt.
TIMEOUT: Final = 10.0
_AGAIN: Final = frozenset({408, 425, 429})

OpenSession = Callable[[aiohttp.abc.AbstractResolver], aiohttp.ClientSession]


class Way(NamedTuple):
    """How webhooks reach the world: what names mean, and how a session is opened."""

    resolve: Resolve
    open_session: OpenSession


def system_way() -> Way:
    """Give the way over this machine's own network: certificates are verified, no proxy is used."""
    return Way(system_resolve, open_session)


def open_session(resolver: aiohttp.abc.AbstractResolver) -> aiohttp.ClientSession:
    """Open a session for one attempt."""
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    return http_session(connector, TIMEOUT)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Sign a body as it was sent at a time: sha256= and the HMAC of `timestamp.body` in hex."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Webhook:
    """Posts the alerts that *settings* ask for; *now* is exchange time in ms."""

    kind = "webhook"
    patience = Patience(first=1.0, longest=60.0, tries=ATTEMPTS, refusals=1)
    failure = lang = ""
    digest = 0
    most = 1
    waiting = MOST_WAITING

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
        self.where = settings.host
        self._settings = settings
        self._way = way
        self._now = now
        self._listing = listing
        self._exchange = exchange

    async def begin(self) -> None:
        """Do nothing: all is ready."""

    def wants(self, alert: Alert) -> bool:
        """Whether an alert is of a screen or a rule that is asked for, and can be told in the format."""
        wanted = self._settings.screens
        return (not wanted or alert.rule in wanted or alert.screen in wanted) and self._told(
            alert
        ) is not None

    async def send(self, message: Message, *, quiet: bool) -> Answer:  # noqa: ARG002 - for people alone
        """Post the one alert of a message once."""
        (kept,) = message.alerts
        told = kept if self._settings.format == "klinehub" else self._told(kept.alert)
        if told is None:
            return Answer(Ended.REFUSED, f"{kept.alert.symbol} is not listed any more")
        return await self._posted(message.id, told)

    async def test(self, kept: Kept) -> Answer:
        """Post that this is a test, and no alert: who trades on alerts is not to trade on this."""
        test = {"type": "test", "time": kept.time, "rule": kept.alert.rule}
        return await self._posted(f"test-{kept.time}", test)

    async def _posted(self, number: str, told: object) -> Answer:
        settings, body = self._settings, msgspec.json.encode(told)
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
            return Answer(Ended.REFUSED, str(exc))
        except (aiohttp.ClientError, OSError) as exc:
            # What such an error says may hold the address, and that may hold a secret.
            return Answer(Ended.LATER, f"no answer ({type(exc).__name__})")

    def _told(self, alert: Alert) -> Any:  # noqa: ANN401 - whatever becomes JSON
        """Give what is said of an alert; None where its format can not say it."""
        if self._settings.format == "klinehub":
            return alert
        return _for_freqtrade(alert, self._settings.side, self._listing(alert.symbol), self._exchange)


def _judged(status: int) -> Answer:
    """Say how an attempt ended that was answered with *status*."""
    if 200 <= status < 300:
        return Answer(Ended.TAKEN)
    later = status in _AGAIN or status >= 500
    return Answer(Ended.LATER if later else Ended.REFUSED, f"status {status}")


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
    alert: Alert, side: str | None, listing: Listing | None, exchange: str
) -> ForFreqtrade | None:
    """Write an alert in freqtrade's words; None where nobody knows which side it is on."""
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
