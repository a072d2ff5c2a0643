"""Faults of REST: refusals, answers that are late, old, cut, false or far too large."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import cache, partial
from typing import Final

import numpy as np
from aiohttp import web

from klinehub.dialect.rest import Rest
from klinehub.domain.timeframe import MINUTE
from klinehub.sim.exchange import Exchange, MarketSource
from klinehub.sim.faults import Fault
from klinehub.sim.mishap import Cure, Deed, Dice, one_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Effect = Callable[[Handler, web.Request], Awaitable[web.StreamResponse]]

BOMB_BYTES: Final = 40 << 20
# A replica may be behind by so much of what nobody was told, and by so much of what a stream has told.
LAG_UNTOLD: Final = 1_500
LAG_TOLD: Final = 30_000
_KLINES: Final = ("/fapi/v1/klines", "/fapi/v1/continuousKlines")
_LATE_SECONDS: Final = 5.0
_PAGE: Final = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_RESTRICTED: Final = b'{\n  "code": 0,\n  "msg": "Service unavailable from a restricted location."\n}'
_STORM: Final = (
    (500, "application/json", b'{"code":-1001,"msg":"Internal error"}'),
    (502, "text/html", _PAGE.format("502 Bad Gateway").encode()),
    (503, "application/json", b'{"code":-1008,"msg":"Server is currently overloaded"}'),
    (503, "text/plain", b"Service Unavailable."),
    (504, "text/html", _PAGE.format("504 Gateway Time-out").encode()),
)
# Which effect lies around which: the last one sees a request first. Server errors lie around slow bodies on
# purpose: some requests are answered twice then, as by a broken proxy, the second time for nobody.
_LAYERS: Final = (
    *("stale_replica", "slow_body", "truncated_body", "wrong_length", "gzip_bomb", "server_errors"),
    *("html_body", "timeouts_408", "firewall", "geo_block", "slow_rest"),
)


class RestTrouble:
    """Carries out the faults of REST on an exchange.

    *told* gives the end (ms) of the newest 1m bar of a symbol that an open connection was told closed. The
    requests of *address* are those whose weight a foreign program spends.
    """

    def __init__(
        self, exchange: Exchange, dice: Dice, *, told: Callable[[str], int], address: str = "127.0.0.1"
    ) -> None:
        self._exchange = exchange
        self._clock = exchange.clock
        self._dice = dice
        self._told = told
        self._address = address
        self._effects: dict[int, tuple[str, Effect]] = {}
        self._number = 0

    @property
    def deeds(self) -> dict[str, Deed]:
        """What this can carry out, by the kind of fault."""
        dice = self._dice
        makers: dict[str, Callable[[Fault], Effect]] = {
            "firewall": lambda _: partial(
                _turned_away, 403, "text/html", _PAGE.format("403 Forbidden").encode()
            ),
            "geo_block": lambda _: partial(_turned_away, 451, "application/json", _RESTRICTED),
            "timeouts_408": lambda _: partial(_turned_away, 408, "text/html", b""),
            "html_body": lambda _: partial(_turned_away, 200, "text/html", _PAGE.format("Welcome").encode()),
            "server_errors": lambda fault: _storm(fault.size, dice(fault)),
            "slow_body": lambda _: _slow_body,
            "truncated_body": lambda fault: partial(_cut_body, fault.size),
            "wrong_length": _wrong_length,
            "gzip_bomb": lambda _: _bomb,
            "slow_rest": lambda fault: _slow_rest(fault.size, dice(fault)),
            "stale_replica": self._replica,
        }
        deeds: dict[str, Deed] = {kind: partial(self._begin, make) for kind, make in makers.items()}
        return deeds | {"spent": self.spent, "ban": self.ban}

    def spent(self, fault: Fault) -> Cure:
        """Let a foreign program spend the address's weight in each minute: most of it, or more than all."""
        limit = self._exchange.tally.limit
        weight = int(limit * (0.6 + 0.39 * fault.pick)) if fault.size < 0.4 else limit
        timer: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()

        def spend() -> None:
            account = self._exchange.tally.account(self._address, self._clock.now())
            account.used = max(account.used, weight)
            timer[:] = [loop.call_later(1.0 / max(1.0, self._clock.rate), spend)]

        async def stop() -> None:
            timer[0].cancel()
            over = self._clock.now() // MINUTE * MINUTE + MINUTE
            await asyncio.sleep(self._clock.seconds_until(over) + 0.001)

        spend()
        return stop

    def ban(self, fault: Fault) -> Cure:
        """Ban the address as long as the fault lasts."""
        account = self._exchange.tally.account(self._address, self._clock.now())
        account.banned_until = max(account.banned_until, self._clock.now() + int(fault.seconds * 1000))
        until = account.banned_until
        return lambda: asyncio.sleep(self._clock.seconds_until(until))

    def _begin(self, make: Callable[[Fault], Effect], fault: Fault) -> Cure:
        """Lay an effect around the answers, and take it away again."""
        self._number += 1
        number = self._number
        self._effects[number] = (fault.kind, make(fault))
        self._exchange.rest.tap = self._tap

        def end() -> None:
            del self._effects[number]
            if not self._effects:
                self._exchange.rest.tap = None

        return end

    async def _tap(
        self, request: web.Request, answer: Callable[[web.Request], web.Response]
    ) -> web.StreamResponse:
        """Answer through every effect of now."""

        async def plainly(request: web.Request) -> web.StreamResponse:
            return answer(request)

        handler: Handler = plainly
        for _, effect in sorted(self._effects.values(), key=lambda one: _LAYERS.index(one[0])):
            handler = partial(effect, handler)
        return await handler(request)

    def _replica(self, fault: Fault) -> Effect:
        """Answer klines as the market was some time ago, dated then as by a cache, or now as by a replica."""
        rng = self._dice(fault)
        most = LAG_TOLD if fault.size < 0.6 else LAG_UNTOLD
        is_cache = fault.pick < 0.5

        async def answer(handler: Handler, request: web.Request) -> web.StreamResponse:
            lag = int(rng.random() * most)
            if request.path not in _KLINES:
                return await handler(request)
            if lag > LAG_UNTOLD and not self._is_told(request, lag):
                lag = LAG_UNTOLD
            exchange = self._exchange
            behind = Rest(MarketSource(exchange.market, self._clock.shifted(-lag)), exchange.tally)
            behind.clock = self._clock
            given = behind.answer(request)
            if is_cache:
                given.headers["Date"] = formatdate((self._clock.now() - lag) / 1000, usegmt=True)
            return given

        return answer

    def _is_told(self, request: web.Request, lag: int) -> bool:
        """Say whether every close that an answer *lag* ms behind lacks was told by a stream."""
        now = self._clock.now()
        newest = now // MINUTE * MINUTE
        if request.query.get("interval") != "1m":
            return False
        return now - lag >= newest or self._told(request.query.get("symbol", "")) >= newest


async def _turned_away(
    status: int,
    kind: str,
    body: bytes,
    handler: Handler,  # noqa: ARG001 - nothing behind this is asked
    request: web.Request,  # noqa: ARG001 - as above
) -> web.StreamResponse:
    """Answer in place of the exchange, which counts no weight for it."""
    return web.Response(status=status, content_type=kind, body=body)


def _storm(size: float, rng: np.random.Generator) -> Effect:
    """Let half of the requests or more fail after they were counted."""

    async def answer(handler: Handler, request: web.Request) -> web.StreamResponse:
        given = await handler(request)
        if given.status != 200 or rng.random() >= 0.5 + 0.5 * size:
            return given
        status, kind, body = one_of(_STORM, rng.random())
        return web.Response(status=status, content_type=kind, body=body)

    return answer


def _slow_rest(size: float, rng: np.random.Generator) -> Effect:
    """Let requests and answers each take up to five seconds longer."""

    async def answer(handler: Handler, request: web.Request) -> web.StreamResponse:
        there, back = rng.random(2) * _LATE_SECONDS * (0.2 + 0.8 * size)
        await asyncio.sleep(there)
        given = await handler(request)
        await asyncio.sleep(back)
        return given

    return answer


async def _slow_body(handler: Handler, request: web.Request) -> web.StreamResponse:
    """Send a byte of the body each second until the client has had enough."""
    given = await handler(request)
    body = _body(given)
    if given.status != 200:
        return given
    slow = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
    try:
        await slow.prepare(request)
        for byte in body:
            await slow.write(bytes((byte,)))
            await asyncio.sleep(1.0)
    except ConnectionError:
        return slow
    return slow


async def _cut_body(share: float, handler: Handler, request: web.Request) -> web.StreamResponse:
    """End the connection after a *share* of the body."""
    body = _body(await handler(request))
    return _raw(request, len(body), body[: int(share * len(body))])


def _wrong_length(fault: Fault) -> Effect:
    """Send some bytes more or fewer than announced."""
    off = 1 + int(20 * fault.size)

    async def answer(handler: Handler, request: web.Request) -> web.StreamResponse:
        body = _body(await handler(request))
        return _raw(request, max(0, len(body) + (off if fault.pick < 0.5 else -off)), body)

    return answer


async def _bomb(handler: Handler, request: web.Request) -> web.StreamResponse:
    """Answer with few bytes that unpack to very many."""
    given = await handler(request)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    return web.Response(body=_packed(), headers=headers) if given.status == 200 else given


@cache
def _packed() -> bytes:
    return gzip.compress(b" " * BOMB_BYTES, mtime=0)


def _body(given: web.StreamResponse) -> bytes:
    body = given.body if isinstance(given, web.Response) else b""
    return body if isinstance(body, bytes) else b""


def _raw(request: web.Request, announced: int, body: bytes) -> web.StreamResponse:
    """Send a body past the library, which would not lie about its length, and end the connection."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {announced}\r\n\r\n"
    if request.transport is not None:
        request.transport.write(head.encode() + body)
        request.transport.close()
    return web.Response()
