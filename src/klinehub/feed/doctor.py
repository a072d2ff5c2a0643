"""The doctor: looks at every way to the exchange once, all at the same time, and says what it saw.

It does not ask through the hub's client and gate: those try again, rest and wait, and a doctor wants the
bare answer. It spends a weight of 5 at most (26 on spot), and none during a ban.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp
import msgspec

from klinehub.domain.clock import Clock
from klinehub.errors import FeedError
from klinehub.feed import binance
from klinehub.feed.base import Network
from klinehub.feed.diagnosis import Check, Finding, Verdict
from klinehub.feed.forwarded import Reply
from klinehub.feed.network import endpoint, is_loopback, redact
from klinehub.feed.rest import error_of
from klinehub.feed.sounding import TIMEFRAME, Ear, request
from klinehub.feed.symptoms import (
    FILTERED,
    NAMES,
    SET_THE_CLOCK,
    SWALLOWED,
    WAIT,
    Symptom,
    in_words,
    of_ban,
    of_failure,
    of_reply,
    of_stranger,
)
from klinehub.feed.venue import USDM, Venue

# Real seconds: for everything, for one answer, for the first kline, and for it once another route has one.
WITHIN: Final = 15.0
TIMEOUT: Final = 10.0
FIRST_KLINE: Final = 10.0
SOONER: Final = 3.0
# A stream does not wait longer than this for REST to say which symbol is listed.
SYMBOL_WITHIN: Final = 3.0
SYMBOL: Final = "BTCUSDT"
INVALID_SYMBOL: Final = -1121
MOST_SKEW: Final = 1_000
ROUTES: Final = ("/market/stream", "/stream", "/public/stream")
_ROUTE: Final = re.compile(r"(?P<root>.*?)(?:/(?:market|public|private))?/(?:ws|stream)/?")
_rows = msgspec.json.Decoder(list[tuple[int, str, str, str, str, str, int, str, int, str, str, str]]).decode


class Elsewhere(NamedTuple):
    """Something that may work where the exchange does not, and how its right answer begins (a pattern)."""

    check: Check
    url: str
    begins: bytes


ELSEWHERE: Final = (
    Elsewhere(
        Check.ARCHIVE,
        "https://data.binance.vision/data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-01.zip.CHECKSUM",
        rb"[0-9a-f]{64}\s",
    ),
    Elsewhere(Check.SPOT, "https://data-api.binance.vision/api/v3/ping", rb"\{\}"),
)


def most_weight(venue: Venue) -> int:
    """Give what an examination weighs at most: a ping, the time, klines twice and the listing."""
    return 2 + 2 * venue.klines_weight(2) + venue.info_weight


class Examination(NamedTuple):
    """All findings, in the order of the checks, and the exchange time (ms) at which a ban ends, else 0."""

    findings: tuple[Finding, ...]
    banned_until: int


class Ward:
    """What the checks of one examination share: the network, this machine's clock, and what they learn.

    `symbol` is one that is listed, as soon as REST has said so; `klines` is set once any route has sent
    some. *timeout* is for each request, in real seconds; *offset* is how far (ms) the exchange's clock was
    ahead when it was last seen.
    """

    def __init__(self, network: Network, clock: Clock, *, timeout: float = TIMEOUT, offset: int = 0) -> None:
        self.network = network
        self.clock = clock
        self.offset = offset
        self.timeout = min(timeout, WITHIN)
        self.symbol: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.klines = asyncio.Event()
        self.began = self.time()

    def time(self) -> float:
        """Give the moment on the loop's clock, in seconds."""
        return asyncio.get_running_loop().time()

    def now(self) -> int:
        """Give the exchange time in ms UTC, as far as it is known."""
        return self.clock.now() + self.offset

    def left(self) -> float:
        """Give the seconds that are left for the examination."""
        return max(0.0, self.began + WITHIN - self.time())

    def route(self, url: str) -> str:
        """Name the way to *url*, without credentials."""
        via = self.network.via(url)
        return f"{redact(url)} via {via}" if via else redact(url)

    async def see(self, work: Awaitable[Symptom]) -> Symptom:
        """Give what *work* finds, or what it means that it failed or took too long."""
        try:
            async with asyncio.timeout(self.left()):
                return await work
        except _Sick as sick:
            return sick.symptom
        except FeedError as error:
            return of_failure(error, self.now())
        except TimeoutError:
            return Symptom(Verdict.OUTAGE, "there was no full answer in time", SWALLOWED)

    def finding(self, check: Check, route: str, symptom: Symptom, began: float) -> Finding:
        """Write a symptom down."""
        return Finding(
            check=check,
            route=route,
            verdict=symptom.verdict,
            ok=symptom.verdict is Verdict.FINE,
            detail=symptom.detail,
            advice=symptom.advice,
            seconds=round(self.time() - began, 3),
        )


async def examine(
    ward: Ward,
    rest_url: str,
    stream_url: str,
    *,
    venue: Venue = USDM,
    banned_until: int = 0,
    elsewhere: Sequence[Elsewhere] = (),
    told: Callable[[Finding], None] = lambda _: None,
) -> Examination:
    """Look at everything at once, in `WITHIN` seconds; *told* is called with each finding as it is made.

    Until *banned_until* (ms of exchange time) nothing is asked by REST. Raises DefinitionError for an
    address that is none.
    """
    visit = Visit(ward, rest_url, banned_until, venue)
    hosts = dict.fromkeys(endpoint(url) for url in (rest_url, stream_url) if ward.network.via(url) is None)
    works: list[Awaitable[tuple[Finding, ...]]] = [visit.check()]
    works.append(check_stream(ward, stream_url))
    works += [check_stream(ward, url, Check.OTHER_ROUTE) for url in other_routes(stream_url) if venue is USDM]
    works += [check_name(ward, host, port) for host, port in hosts if _is_name(host)]
    works += [check_elsewhere(ward, place) for place in elsewhere]

    async def tell(work: Awaitable[tuple[Finding, ...]]) -> tuple[Finding, ...]:
        findings = await work
        for finding in findings:
            told(finding)
        return findings

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tell(work)) for work in works]
    order = [finding for task in tasks for finding in task.result()]
    return Examination(tuple(order), visit.banned_until)


class _Sick(Exception):
    """A step has shown what is the matter; those after it could show nothing else."""

    def __init__(self, symptom: Symptom) -> None:
        self.symptom = symptom
        super().__init__(symptom.detail)


class Visit:
    """Asks REST at *url* for a ping, the time and two klines, and stops at the first wrong answer.

    The ping opens the connection, so that the time's round trip is short. Nothing is asked before
    *banned_until* (ms of exchange time), which moves on when the exchange says so.
    """

    def __init__(self, ward: Ward, url: str, banned_until: int = 0, venue: Venue = USDM) -> None:
        self._venue = venue
        self.banned_until = banned_until
        self._ward = ward
        self._url = url
        self._route = ward.route(url)
        self._clock: tuple[Finding, ...] = ()
        self._symbol = SYMBOL

    async def check(self) -> tuple[Finding, ...]:
        """Give what REST showed, and what our clock is worth if the exchange told the time."""
        began = self._ward.time()
        try:
            if self.banned_until > self._ward.now():
                symptom = of_ban(self.banned_until, "an earlier refusal is kept on this machine and holds")
            else:
                symptom = await self._ward.see(self._ask_all())
        finally:
            if not self._ward.symbol.done():
                self._ward.symbol.set_result(self._symbol)
        self.banned_until = max(self.banned_until, symptom.until)
        return (self._ward.finding(Check.REST, self._route, symptom, began), *self._clock)

    async def _ask_all(self) -> Symptom:
        async with self._ward.network.session(self._url, timeout=self._ward.timeout) as session:
            self._answered(await self._get(session, self._venue.ping))
            took = await self._ask_time(session)
            await self._ask_klines(session)
        return Symptom(Verdict.FINE, f"it answers in {in_words(took)}, with klines of {self._symbol}")

    async def _ask_time(self, session: aiohttp.ClientSession) -> int:
        """Compare our clock with the exchange's, half a round trip allowed for; gives the trip in ms."""
        ward, began = self._ward, self._ward.time()
        sent = ward.clock.now()
        body = self._answered(await self._get(session, self._venue.time))
        trip = ward.clock.now() - sent
        try:
            skew = sent + trip // 2 - binance.parse_time(body)
        except FeedError as error:
            raise _Sick(of_stranger("its time can not be read", body)) from error
        symptom = of_clock(skew, trip)
        self._clock = (ward.finding(Check.CLOCK, self._route, symptom, began),)
        return trip

    async def _ask_klines(self, session: aiohttp.ClientSession) -> None:
        reply = await self._get_klines(session)
        if error_of(reply.body)[0] == INVALID_SYMBOL:
            body = self._answered(await self._get(session, self._venue.info))
            self._symbol = _listed(body)
            reply = await self._get_klines(session)
        body = self._answered(reply)
        try:
            rows = _rows(body)
        except msgspec.DecodeError as error:
            raise _Sick(of_stranger("its klines can not be read", body)) from error
        if not rows:
            raise _Sick(Symptom(Verdict.OUTAGE, f"it has no klines of {self._symbol}", WAIT))

    async def _get_klines(self, session: aiohttp.ClientSession) -> Reply:
        params: dict[str, str | int] = {"symbol": self._symbol, "interval": TIMEFRAME, "limit": 2}
        return await self._get(session, self._venue.klines, params)

    async def _get(
        self, session: aiohttp.ClientSession, path: str, params: Mapping[str, str | int] | None = None
    ) -> Reply:
        return await request(session, self._ward.network, self._url.rstrip("/") + path, params or {})

    def _answered(self, reply: Reply) -> bytes:
        """Give the body of a right answer."""
        symptom = of_reply(reply, self._ward.now())
        if symptom.verdict is not Verdict.FINE:
            raise _Sick(symptom)
        return reply.body


async def check_stream(ward: Ward, url: str, check: Check = Check.STREAM) -> tuple[Finding, ...]:
    """Subscribe to the klines of one symbol at *url* and wait for the first."""
    began = ward.time()
    symptom = await ward.see(_listen(ward, url))
    return (ward.finding(check, ward.route(url), symptom, began),)


async def _listen(ward: Ward, url: str) -> Symptom:
    ear = Ear()
    transport = await ward.network.open_socket(url, lambda: ear)
    try:
        await asyncio.wait({ward.symbol}, timeout=max(0.0, ward.began + SYMBOL_WITHIN - ward.time()))
        asked = ward.time()
        ear.ask(transport, ward.symbol.result() if ward.symbol.done() else SYMBOL)
        await _first(ward, ear, min(FIRST_KLINE, ward.left() - 0.5))
        if ear.kline is not None:
            ward.klines.set()
        return ear.symptom(asked, ward.time() - asked)
    finally:
        transport.disconnect(graceful=False)


async def _first(ward: Ward, ear: Ear, seconds: float) -> None:
    """Wait until *ear* has heard enough, for *seconds*, or less once another route has klines."""
    over, heard = (asyncio.ensure_future(event.wait()) for event in (ear.over, ward.klines))
    until = ward.time() + seconds
    try:
        await asyncio.wait({over, heard}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({over}, timeout=min(SOONER, max(0.0, until - ward.time())))
    finally:
        over.cancel()
        heard.cancel()


async def check_name(ward: Ward, host: str, port: int) -> tuple[Finding, ...]:
    """Resolve *host* by the system's resolver."""
    began = ward.time()
    symptom = await ward.see(_resolve(host, port))
    if symptom.verdict is Verdict.OUTAGE:
        symptom = Symptom(Verdict.DNS, f"no name server answered for {host} in time", NAMES)
    return (ward.finding(Check.NAME, host, symptom, began),)


async def _resolve(host: str, port: int) -> Symptom:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return Symptom(Verdict.DNS, f"{host} does not resolve ({error.strerror or error})", NAMES)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    nowhere = [text for text in addresses if _leads_here(text)]
    if nowhere == addresses:
        return Symptom(
            Verdict.DNS, f"{host} resolves to {nowhere[0]}, which is this machine itself", FILTERED
        )
    return Symptom(Verdict.FINE, f"{', '.join(addresses[:2])}{', …' if len(addresses) > 2 else ''}")


async def check_elsewhere(ward: Ward, place: Elsewhere) -> tuple[Finding, ...]:
    """Ask somewhere else for something small."""
    began = ward.time()

    async def ask() -> Symptom:
        async with ward.network.session(place.url, timeout=ward.timeout) as session:
            reply = await request(session, ward.network, place.url, {})
        if reply.status == 200 and re.match(place.begins, reply.body):
            return Symptom(Verdict.FINE, "it answers")
        symptom = of_reply(reply, ward.now())
        if symptom.verdict is not Verdict.FINE:
            return symptom
        return of_stranger("it answers something else", reply.body)

    symptom = await ward.see(ask())
    return (ward.finding(place.check, ward.route(urljoin(place.url, "/")), symptom, began),)


def of_clock(skew: int, trip: int) -> Symptom:
    """Judge our clock, *skew* ms ahead of the exchange's by an answer that took *trip* ms on its way."""
    ahead = f"{in_words(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the exchange's"
    if abs(skew) <= MOST_SKEW + trip // 2:
        return Symptom(
            Verdict.FINE, f"it agrees with the exchange's within {in_words(abs(skew) + trip // 2)}"
        )
    return Symptom(Verdict.CLOCK_SKEW, f"it is {ahead}", SET_THE_CLOCK)


def other_routes(stream_url: str) -> list[str]:
    """Give the other WebSocket routes of the same host, which may carry what this one does not."""
    parts = urlsplit(stream_url)
    match = _ROUTE.fullmatch(parts.path)
    root = match["root"] if match else parts.path.rstrip("/")
    urls = [urlunsplit(parts._replace(path=root + route, query="", fragment="")) for route in ROUTES]
    return [url for url in urls if url != stream_url.rstrip("/")]


def _listed(body: bytes) -> str:
    """Give the first symbol of a listing that trades."""
    try:
        listed = binance.parse_listings(body)
    except FeedError as error:
        raise _Sick(of_stranger("its listing can not be read", body)) from error
    trading = [one.symbol for one in listed if one.trading and one.perpetual]
    if not trading:
        raise _Sick(Symptom(Verdict.OUTAGE, "it lists nothing that trades", WAIT))
    return trading[0]


def _is_name(host: str) -> bool:
    """Say whether a host has to be looked up to be reached."""
    try:
        ip_address(host)
    except ValueError:
        return not is_loopback(host)
    return False


def _leads_here(address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    return found.is_loopback or found.is_unspecified
