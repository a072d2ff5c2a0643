"""The only place where klinehub makes REST calls: counted, paced, and every refusal explained."""

import asyncio
import errno
import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple, NoReturn

import aiohttp
from yarl import URL

from klinehub.domain.clock import Clock
from klinehub.errors import BadRequest, Banned, Blocked, FeedError, ProxyError, Unanswered, Unreachable
from klinehub.feed.base import Network
from klinehub.feed.budget import MINUTE, WeightGate
from klinehub.feed.forwarded import Call, Reply
from klinehub.feed.network import PROXY_FAILURES, endpoint, explain, printable, redact
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM, Venue

MAX_BODY: Final = 32 << 20
USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
# Market time before the second and the third try.
PAUSES: Final = (500, 2_000)
# RFC 7231 knows older ways to write a date; no exchange uses them.
DATE: Final = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)
BAN_WITHOUT_END: Final = 2 * MINUTE
TOO_MANY_REQUESTS: Final = -1003
OVERLOADED: Final = -1008
# Of an account, not of an address: who sends no order may go on.
TOO_MANY_ORDERS: Final = -1015
# A clock this far from the exchange's, in ms, would end a ban too early or too late.
ASTRAY: Final = 5_000
MAX_DIGITS: Final = 12
OK, BAD_REQUEST, PROXY_LOGIN, TIMED_OUT, TEAPOT, TOO_MANY, BROKEN = 200, 400, 407, 408, 418, 429, 500
NOT_THE_EXCHANGE: Final = "this is not the exchange answering; check the base URL and any proxy."
WAYS_OUT: Final = {
    403: "a firewall refuses this address or request; ask less, try another network or set network.proxy.",
    451: "the exchange refuses this location; set network.proxy or use another exchange.",
}


class Answer(NamedTuple):
    """A body as it came, the exchange time (ms) at which it was asked for, and what the exchange said it was.

    `asked` is by our clock, which finality needs; `told` is the `Date` of the answer in ms, in whole
    seconds, None without one that can be read.
    """

    body: bytes
    asked: int
    told: int | None = None


class RestClient:
    """Asks *venue* at *base_url* over *network*, each call paced by *gate*; `close` it when done.

    *timeout* is in real seconds and covers one try from connecting to the last byte.
    """

    def __init__(
        self,
        base_url: str,
        network: Network,
        gate: WeightGate,
        clock: Clock,
        *,
        timeout: float = 10.0,
        venue: Venue = USDM,
    ) -> None:
        self.venue = venue
        self._where = "{}:{}".format(*endpoint(base_url))
        self._base = base_url.rstrip("/")
        self._network = network
        self._gate = gate
        self._clock = clock
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def get(
        self, path: str, params: Mapping[str, str | int], *, weight: int, use: Use = Use.WARM_UP
    ) -> bytes:
        """Give the JSON body of one GET, unparsed; raises a `FeedError` that says what to do."""
        return (await self.ask(path, params, weight=weight, use=use)).body

    async def ask(
        self, path: str, params: Mapping[str, str | int], *, weight: int, use: Use = Use.WARM_UP
    ) -> Answer:
        """Give the JSON body of one GET and when it was asked for; raises as `get` does.

        What a further try may heal is tried again while the gate is open, each try counted for itself.
        """
        for tries, pause in enumerate(PAUSES, 1):
            try:
                return await self._try(path, params, weight, use)
            except _AgainError as again:
                if self._gate.closed(self._gate.now()):
                    raise again.failure(tries) from again.__cause__
                await asyncio.sleep(self._clock.seconds_until(self._clock.now() + pause))
        try:
            return await self._try(path, params, weight, use)
        except _AgainError as again:
            raise again.failure(len(PAUSES) + 1) from again.__cause__

    async def forward(self, call: Call, *, weight: int, use: Use, patience: float | None = None) -> Reply:
        """Pass a request on once, as it is, and give the exchange's reply whatever its status.

        The gate learns from it as from every other call. Raises what the gate raises where nothing left,
        TimeoutError when its turn did not come within *patience* real seconds, and `Unanswered` where
        it left and nothing of the exchange came back. No text repeats its query, headers or bodies.
        """
        async with asyncio.timeout(patience):
            asked = await self._gate.take(weight, use)
        try:
            reply, says = await self._passed(call)
            if reply is None:
                self._gate.failed(asked, says)
            else:
                self._learn(reply, asked, says)
        finally:
            self._gate.landed(weight, use, asked)
        if reply is None:
            # What caused it is left behind on purpose: an error of the library may show the whole URL.
            raise Unanswered(says)
        return reply

    async def close(self) -> None:
        """Close every connection; further calls open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _try(self, path: str, params: Mapping[str, str | int], weight: int, use: Use) -> Answer:
        """Make one counted request and tell the gate how it went."""
        asked = await self._gate.take(weight, use)
        try:
            answer = await self._exchange(path, params, asked)
        except (Banned, BadRequest):
            self._gate.answered()
            raise
        except Blocked:
            raise
        except _AgainError as again:
            self._gate.failed(asked, again.says, overloaded=again.overloaded)
            raise
        except FeedError as error:
            self._gate.failed(asked, str(error))
            raise
        else:
            self._gate.answered()
        finally:
            self._gate.landed(weight, use, asked)
        return answer

    async def _exchange(self, path: str, params: Mapping[str, str | int], asked: int) -> Answer:
        """Send one request and judge what came back."""
        reply = await self._request("GET", self._base + path, {"params": dict(params)})
        self._gate.seen(_number(reply.headers.get(USED_WEIGHT)), asked)
        if reply.status != OK:
            self._refuse(reply, path)
        if reply.body.lstrip()[:1] not in (b"{", b"["):
            raise FeedError(_stranger(f"{self._where} answered {path} with status 200", reply))
        if reply.body.rstrip()[-1:] not in (b"}", b"]"):
            # A gzip stream that was cut short by a proxy still unpacks without an error.
            text = f"The body that {self._where} sent for {path} breaks off"
            raise _AgainError(text, "look at what sits in between, and try again.")
        return Answer(reply.body, asked, date_of(reply.headers.get("Date")))

    async def _passed(self, call: Call) -> tuple[Reply | None, str]:
        """Send a request as it is and give the exchange's reply, None for a stranger's, and say what came."""
        url = URL(f"{self._base}{call.path}{'?' if call.query else ''}{call.query}", encoded=True)
        sent = {"headers": call.headers, "data": call.body or None, "skip_auto_headers": ("Content-Type",)}
        try:
            reply = await self._request(call.method, url, sent)
        except (FeedError, _AgainError) as error:
            return None, str(error)
        says = f"{self._where} answered {call.path} with status {reply.status}"
        is_json = reply.body.strip()[:1] in (b"{", b"[") and reply.body.strip()[-1:] in (b"}", b"]")
        if reply.status == PROXY_LOGIN or (
            reply.status < BAD_REQUEST and not (reply.status == OK and is_json)
        ):
            return None, f"{says}: {NOT_THE_EXCHANGE}"
        return reply, says

    def _learn(self, reply: Reply, asked: int, says: str) -> None:
        """Tell the gate what a reply means that somebody else gets; one that refuses orders bans nobody."""
        self._gate.seen(_number(reply.headers.get(USED_WEIGHT)), asked)
        code = None if reply.status == OK else error_of(reply.body)[0]
        if code == TOO_MANY_REQUESTS or (reply.status in {TEAPOT, TOO_MANY} and code != TOO_MANY_ORDERS):
            if code == TOO_MANY_REQUESTS:
                self._correct(reply)
            self._gate.banned(ban_end(reply, self._gate.now()))
        if reply.status in WAYS_OUT:
            self._gate.blocked(reply.status)
        elif reply.status == TIMED_OUT or reply.status >= BROKEN:
            self._gate.failed(asked, says, overloaded=code == OVERLOADED)
        else:
            self._gate.answered()

    async def _request(self, method: str, url: str | URL, parts: Mapping[str, Any]) -> Reply:
        """Send one request and read all of its answer; a connection that broke may be tried again."""
        if self._session is None:
            self._session = self._network.session(self._base, timeout=self._timeout)
        try:
            sent = self._session.request(method, url, allow_redirects=False, **parts)
            # The session's own limit ends with the last byte, not with the unpacking of what came before.
            async with asyncio.timeout(self._timeout), sent as response:
                try:
                    return Reply(response.status, response.headers, await self._body(response))
                except BaseException:
                    # What is still to come must not be taken for the answer to another request.
                    response.close()
                    raise
        except (aiohttp.ClientError, OSError, *PROXY_FAILURES) as error:
            if _broke(error):
                raise _AgainError(str(explain(error, self._base, None))) from error
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

    def _correct(self, reply: Reply) -> None:
        """Follow the exchange's clock if ours is far off: the end of a ban is told in its time."""
        told = date_of(reply.headers.get("Date"))
        if told is not None and abs(told - self._gate.now()) > ASTRAY:
            self._gate.offset += told - self._gate.now()

    def _refuse(self, reply: Reply, path: str) -> NoReturn:
        """Raise what a status other than 200 means."""
        code, text = error_of(reply.body)
        says = f"{self._where} answered {path} with status {reply.status}{f' ({text})' if text else ''}"
        if reply.status in {TEAPOT, TOO_MANY} or code == TOO_MANY_REQUESTS:
            if code == TOO_MANY_REQUESTS:
                self._correct(reply)
            self._gate.banned(ban_end(reply, self._gate.now()))
            raise self._gate.refusal(f" (status {reply.status}{f': {text}' if text else ''})")
        if reply.status in WAYS_OUT:
            self._gate.blocked(reply.status)
            raise Blocked(f"{says}: {WAYS_OUT[reply.status]}")
        if reply.status == PROXY_LOGIN:
            raise ProxyError(f"{says}: the proxy wants other credentials; correct network.proxy.")
        if reply.status == TIMED_OUT or reply.status >= BROKEN:
            raise _AgainError(says, "wait a little and try again.", overloaded=code == OVERLOADED)
        if code is not None and reply.status >= BAD_REQUEST:
            raise BadRequest(f"{says}: check the symbol, the interval and the times (code {code}).", code)
        raise FeedError(_stranger(says, reply))


class _AgainError(Exception):
    """A try failed in a way that a further one may heal: what it says, and what to do if none does."""

    def __init__(self, says: str, way_out: str = "", *, overloaded: bool = False) -> None:
        self.says = says
        self.way_out = way_out
        self.overloaded = overloaded
        super().__init__(says)

    def failure(self, tries: int) -> Unreachable:
        """Give what to raise after so many tries."""
        if not self.way_out:
            return Unreachable(self.says)
        return Unreachable(f"{self.says}, {tries} time{'s'[: tries > 1]}: {self.way_out}")


def _broke(error: BaseException) -> bool:
    """Say whether a connection broke after it was made, as kept-alive ones do now and then."""
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return True
    reset = isinstance(error, OSError) and error.errno in {errno.ECONNRESET, errno.EPIPE}
    return reset and not isinstance(error, aiohttp.ClientConnectorError)


def ban_end(reply: Reply, now: int) -> int:
    """Give the exchange time (ms) at which a ban ends: from the body, the header or by rule."""
    ends = [int(text) for text in re.findall(rb"banned until (\d{13})\b", reply.body)]
    seconds = _number(reply.headers.get("Retry-After"))
    if seconds is not None:
        ends.append(now + seconds * 1000)
    fallback = (now // MINUTE + 1) * MINUTE if reply.status == TOO_MANY else now + BAN_WITHOUT_END
    return max((end for end in ends if end > now), default=fallback)


def error_of(body: bytes) -> tuple[int | None, str]:
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


def date_of(text: str | None) -> int | None:
    """Read a `Date` header in ms; None if there is none or it is no date."""
    if text is None or DATE.fullmatch(text) is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1000
    except ValueError:
        return None
