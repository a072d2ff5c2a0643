"""The only place where klinehub makes REST calls: counted, paced, and every refusal explained."""

import asyncio
import errno
import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple, NoReturn

import aiohttp

from klinehub.domain.clock import Clock
from klinehub.errors import BadRequest, Blocked, FeedError, ProxyError, Unreachable
from klinehub.feed.base import Network
from klinehub.feed.budget import MINUTE, WeightGate
from klinehub.feed.network import PROXY_FAILURES, endpoint, explain, printable, redact

MAX_BODY: Final = 32 << 20
USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
# Market time before the second and the third try.
PAUSES: Final = (500, 2_000)
BAN_WITHOUT_END: Final = 2 * MINUTE
TOO_MANY_REQUESTS: Final = -1003
MAX_DIGITS: Final = 12
OK, BAD_REQUEST, PROXY_LOGIN, TIMED_OUT, TEAPOT, TOO_MANY, BROKEN = 200, 400, 407, 408, 418, 429, 500
NOT_THE_EXCHANGE: Final = "this is not the exchange answering; check the base URL and any proxy."
WAYS_OUT: Final = {
    403: "a firewall refuses this address or request; ask less, try another network or set network.proxy.",
    451: "the exchange refuses this location; set network.proxy or use another exchange.",
}


class Answer(NamedTuple):
    """A body as it came, and the exchange time (ms) at which it was asked for: what finality needs."""

    body: bytes
    asked: int


class Reply(NamedTuple):
    """What came back over the wire, before it is judged."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RestClient:
    """Asks *base_url* over *network*, each call paced by *gate*; `close` it when done.

    *timeout* is in real seconds and covers one try from connecting to the last byte.
    """

    def __init__(
        self, base_url: str, network: Network, gate: WeightGate, clock: Clock, *, timeout: float = 10.0
    ) -> None:
        self._where = "{}:{}".format(*endpoint(base_url))
        self._base = base_url.rstrip("/")
        self._network = network
        self._gate = gate
        self._clock = clock
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, params: Mapping[str, str | int], *, weight: int) -> bytes:
        """Give the JSON body of one GET, unparsed; raises a `FeedError` that says what to do."""
        return (await self.ask(path, params, weight=weight)).body

    async def ask(self, path: str, params: Mapping[str, str | int], *, weight: int) -> Answer:
        """Give the JSON body of one GET and when it was asked for; raises as `get` does."""
        for pause in PAUSES:
            try:
                return await self._try(path, params, weight)
            except _AgainError:
                await asyncio.sleep(self._clock.seconds_until(self._clock.now() + pause))
        try:
            return await self._try(path, params, weight)
        except _AgainError as again:
            raise again.failure from again.__cause__

    async def close(self) -> None:
        """Close every connection; further calls open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _try(self, path: str, params: Mapping[str, str | int], weight: int) -> Answer:
        """Make one counted request and judge what came back."""
        asked = await self._gate.take(weight)
        try:
            reply = await self._request(path, params)
        finally:
            self._gate.landed(weight)
        self._gate.seen(_number(reply.headers.get(USED_WEIGHT)), asked)
        if reply.status != OK:
            self._refuse(reply, path)
        if reply.body.lstrip()[:1] not in (b"{", b"["):
            raise FeedError(_stranger(f"{self._where} answered {path} with status 200", reply))
        return Answer(reply.body, asked)

    async def _request(self, path: str, params: Mapping[str, str | int]) -> Reply:
        """Send one GET and read all of its answer; a connection that broke may be tried again."""
        if self._session is None:
            self._session = self._network.session(self._base, timeout=self._timeout)
        try:
            get = self._session.get(self._base + path, params=dict(params), allow_redirects=False)
            async with get as response:
                return Reply(response.status, response.headers, await self._body(response))
        except (aiohttp.ClientError, OSError, *PROXY_FAILURES) as error:
            if _broke(error):
                raise _AgainError(explain(error, self._base, None)) from error
            raise explain(error, self._base, self._network.via(self._base)) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Read a body, unpacked, up to the cap."""
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > MAX_BODY:
                text = f"{self._where} sent more than {MAX_BODY >> 20} MiB for {response.url.path}"
                raise FeedError(f"{text}: {NOT_THE_EXCHANGE}")
        return bytes(body)

    def _refuse(self, reply: Reply, path: str) -> NoReturn:
        """Raise what a status other than 200 means."""
        code, text = _error_of(reply.body)
        says = f"{self._where} answered {path} with status {reply.status}{f' ({text})' if text else ''}"
        if reply.status in {TEAPOT, TOO_MANY} or code == TOO_MANY_REQUESTS:
            self._gate.banned(_ban_end(reply, self._gate.now()))
            raise self._gate.refusal(f" (status {reply.status}{f': {text}' if text else ''})")
        if reply.status in WAYS_OUT:
            raise Blocked(f"{says}: {WAYS_OUT[reply.status]}")
        if reply.status == PROXY_LOGIN:
            raise ProxyError(f"{says}: the proxy wants other credentials; correct network.proxy.")
        if reply.status == TIMED_OUT or reply.status >= BROKEN:
            raise _AgainError(Unreachable(f"{says}, {len(PAUSES) + 1} times: wait a little and try again."))
        if code is not None and reply.status >= BAD_REQUEST:
            raise BadRequest(f"{says}: check the symbol, the interval and the times (code {code}).", code)
        raise FeedError(_stranger(says, reply))


class _AgainError(Exception):
    """A try failed in a way that a further one may heal; `failure` is what to raise if none does."""

    def __init__(self, failure: FeedError) -> None:
        self.failure = failure
        super().__init__(str(failure))


def _broke(error: BaseException) -> bool:
    """Say whether a connection broke after it was made, as kept-alive ones do now and then."""
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return True
    reset = isinstance(error, OSError) and error.errno in {errno.ECONNRESET, errno.EPIPE}
    return reset and not isinstance(error, aiohttp.ClientConnectorError)


def _ban_end(reply: Reply, now: int) -> int:
    """Give the exchange time (ms) at which a ban ends: from the body, the header or by rule."""
    ends = [int(text) for text in re.findall(rb"banned until (\d{13})\b", reply.body)]
    seconds = _number(reply.headers.get("Retry-After"))
    if seconds is not None:
        ends.append(now + seconds * 1000)
    fallback = (now // MINUTE + 1) * MINUTE if reply.status == TOO_MANY else now + BAN_WITHOUT_END
    return max((end for end in ends if end > now), default=fallback)


def _error_of(body: bytes) -> tuple[int | None, str]:
    """Give the exchange's error code and text; None and nothing if the body is not its JSON."""
    try:
        error = json.loads(body)
    except ValueError:
        return None, ""
    code = error.get("code") if isinstance(error, dict) else None
    return (code, printable(str(error.get("msg", "")))) if isinstance(code, int) else (None, "")


def _stranger(says: str, reply: Reply) -> str:
    """Say that something else than the exchange answered, and what it looks like."""
    location = reply.headers.get("Location")
    kind = f"a redirect to {printable(redact(location))}" if location else "no JSON"
    start = printable(reply.body.strip()[:60].decode("utf-8", "replace"))
    return f"{says}, {kind}{f', beginning {start!r}' if start and not location else ''}: {NOT_THE_EXCHANGE}"


def _number(text: str | None) -> int | None:
    """Read a header that should be a whole number; None if it is not."""
    return (
        int(text)
        if text is not None and text.isascii() and text.isdigit() and len(text) < MAX_DIGITS
        else None
    )
