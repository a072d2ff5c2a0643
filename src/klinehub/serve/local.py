"""The local door: a running hub answers this user's own commands over a Unix socket.

The socket's file belongs to the user and nobody else may open it; there is no port and no token.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Self

import aiohttp
import msgspec
from aiohttp import web

from klinehub.errors import DefinitionError, FeedError, KlinehubError, NoHub
from klinehub.hub import Hub
from klinehub.scan.running import Scan
from klinehub.serve.alerting import Alerting
from klinehub.serve.markets import Markets

# Verifying a whole market takes as many minutes as its weight needs.
LONGEST: Final = 1_800.0
SOON: Final = 5.0
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
# What the board's pages are told, as messages of a WebSocket.
LIVE: Final = "/live"
PATHS: Final = ("status", "klines", "scan", "verify", "universe", "alerts", "tried")


def _reply(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "300")
    if not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise DefinitionError(f"A limit of {text!r} is none: give a number from 1 to 100000.")
    return int(text)


class NamedScan(Scan, frozen=True, kw_only=True):
    """A scan, and the exchange that its hub follows."""

    exchange: str


@web.middleware
async def _tell(request: web.Request, handler: Serve) -> web.StreamResponse:
    try:
        return await handler(request)
    except KlinehubError as exc:
        body = {"error": type(exc).__name__, "message": str(exc)}
        return web.json_response(body, status=400)


def _routes(markets: Markets, exchange: str, alerting: Alerting | None) -> web.Application:
    def of(request: web.Request) -> Hub:
        return markets.hub(request.query.get("market"))

    def called(hub: Hub) -> str:
        return exchange if hub is markets.first else hub.settings.exchange

    async def status(request: web.Request) -> web.Response:
        hub = of(request)
        return _reply({"exchange": called(hub), **hub.get_stats(), **markets.stats()})

    async def klines(request: web.Request) -> web.Response:
        hub = of(request)
        symbol, frame = request.query.get("symbol", ""), request.query.get("timeframe", "")
        kept = [tf.name for tf in hub.timeframes]
        if frame not in kept:
            raise DefinitionError(
                f"The running hub keeps {' '.join(kept)}, not {frame}: give --rest-url to ask an exchange."
            )
        return _reply(hub.get_klines(symbol, frame, _limit(request)))

    async def scan(request: web.Request) -> web.Response:
        hub, least = of(request), request.query.get("min_score")
        found = hub.scanning.asked(
            where=request.query.get("where"),
            name=request.query.get("screen"),
            timeframe=request.query.get("timeframe"),
            min_score=None if least is None else float(least),
        )
        return _reply(NamedScan(**msgspec.structs.asdict(found), exchange=called(hub)))

    async def verify(request: web.Request) -> web.Response:
        return _reply(await of(request).verify())

    async def universe(request: web.Request) -> web.Response:
        hub = of(request)
        return _reply({**hub.merged.as_dict(), "failure": hub.choosing.failure})

    app = web.Application(middlewares=[_tell])
    works = (status, klines, scan, verify, universe, *_of_alerts(alerting))
    for path, handle in zip(PATHS, works, strict=True):
        app.router.add_get(f"/{path}", handle)
    return app


def _of_alerts(alerting: Alerting | None) -> tuple[Serve, Serve]:
    """Give what answers for alerts: the log, and a test."""

    def told() -> Alerting:
        if alerting is None:
            raise DefinitionError("The running hub alerts nobody: start one with `klinehub run`.")
        return alerting

    async def alerts(request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        found = await told().entries(
            int(after) if after.isdigit() else 0, _limit(request), request.query.get("symbol")
        )
        return _reply(found)

    async def tried(request: web.Request) -> web.Response:
        return _reply(await told().try_name(request.query.get("name", "")))

    return alerts, tried


class LocalDoor:
    """Serves *markets*, of which the first follows *exchange*, on the socket file *path* while it is open.

    *live* connects those who look at the board; without *alerting* nothing is told of alerts. Raises OSError
    where the file cannot be made.
    """

    def __init__(
        self,
        markets: Markets,
        path: Path,
        exchange: str,
        live: Serve | None = None,
        alerting: Alerting | None = None,
    ) -> None:
        self._path = path
        app = _routes(markets, exchange, alerting)
        if live is not None:
            app.router.add_get(LIVE, live)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()
        self._path.chmod(0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        self._path.unlink(missing_ok=True)


async def is_open(path: Path) -> bool:
    """Whether a hub answers at this socket file."""
    try:
        await ask(path, "status", {}, within=SOON)
    except NoHub:
        return False
    return True


async def ask(path: Path, what: str, params: Mapping[str, str], *, within: float = LONGEST) -> bytes:
    """Ask a running hub; raises NoHub when there is none and DefinitionError for a refusal.

    *within* is in seconds; a hub that does not answer in time counts as none.
    """
    timeout = aiohttp.ClientTimeout(total=within, sock_connect=SOON)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=timeout) as session,
            session.get(f"http://hub/{what}", params=dict(params)) as response,
        ):
            body = await response.read()
    except (aiohttp.ClientError, OSError) as exc:
        raise NoHub(f"No hub is running here ({path}): start one with `klinehub run`.") from exc
    if response.status == 400:
        raise DefinitionError(msgspec.json.decode(body, type=_Refusal).message)
    if response.status != 200:
        raise FeedError(
            f"The running hub could not answer {what} (status {response.status}): see its own output."
        )
    return body


class _Refusal(msgspec.Struct):
    message: str
