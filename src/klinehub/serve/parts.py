"""The parts of a program's hubs that are lent to others, by the beginning of their paths."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiohttp import web

from klinehub.dialect.tally import Tally
from klinehub.feed.venue import COINM, SPOT
from klinehub.hub import Hub
from klinehub.serve.admission import ROOTS
from klinehub.serve.api import Api
from klinehub.serve.board.hello import About
from klinehub.serve.board.live import LIVE, LiveBoard
from klinehub.serve.broker import Broker
from klinehub.serve.dropin import AGAIN, DISCONNECTED, DropIn
from klinehub.serve.events import EVENTS, Events
from klinehub.serve.figures import Source
from klinehub.serve.forwarding import asking, broker_of, forwarding
from klinehub.serve.guard import Caller
from klinehub.serve.markets import Markets
from klinehub.serve.metrics import METRICS, Metrics
from klinehub.serve.signals import Signals
from klinehub.serve.site import Part, Site
from klinehub.serve.source import HubSource
from klinehub.serve.stream_parts import in_streams
from klinehub.serve.streams import HubStreams
from klinehub.serve.tellings import HubCoinRest, HubRest, HubSpotRest
from klinehub.serve.visits import Visits
from klinehub.settings import ServeSettings

_KINDS: Final = {SPOT.name: HubSpotRest, COINM.name: HubCoinRest}


@asynccontextmanager
async def lent(
    hub: Hub,
    settings: ServeSettings,
    site: Site,
    signals: Signals | None = None,
    live: LiveBoard | None = None,
    markets: Markets | None = None,
) -> AsyncIterator[None]:
    """Lend *hub* to others at *site* while the block runs, with what *signals* pass on.

    *live* connects those who look at the board. Both are made here where they are not given. Where *hub* is
    the first of several *markets*, the others are lent in the exchange's dialect too.
    """
    async with AsyncExitStack() as stack:
        if signals is None:
            signals = Signals(hub, hub.settings.exchange)
            await stack.enter_async_context(signals.following())
        all_of_them = markets or Markets(hub)
        broker, visits = broker_of(all_of_them, settings), Visits(hub.clock.monotonic)
        streams, board = HubStreams(hub), live or LiveBoard(signals, About(url=site.rest_url))
        own = {**in_own(Source(hub, signals, visits, broker, streams, board)), LIVE: board.answer}
        parts = {**in_dialect(all_of_them, settings, broker), **in_streams(all_of_them, streams), **own}
        site.open({prefix: visits.counting(prefix.strip("/"), part) for prefix, part in parts.items()})
        try:
            yield
        finally:
            site.open({})
            broker.close()
            await board.close()


def in_own(source: Source) -> Mapping[str, Part]:
    """Give the parts that answer in klinehub's own way: the API, events, pairs for freqtrade and metrics."""
    api = Api(source.signals).answer
    own = dict.fromkeys(("/api/v1/", "/freqtrade/", "/healthz", "/readyz"), api)
    return {**own, EVENTS: Events(source.signals).answer, METRICS: Metrics(source).answer}


def in_dialect(markets: Markets, settings: ServeSettings, broker: Broker) -> Mapping[str, Part]:
    """Give the parts that speak as the exchange does, each path for the market that has it there."""
    own = _market(markets.first, settings, broker)
    return {root: _answering(markets, name, own, settings, broker) for root, name in ROOTS.items()}


def _answering(markets: Markets, name: str, own: Part, settings: ServeSettings, broker: Broker) -> Part:
    """Make the part of one market, which may end and begin anew as another hub."""
    made: dict[Hub, Part] = {}

    async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        market = markets.find(name)
        if market is None and name in markets.further:
            body = {"code": DISCONNECTED, "msg": markets.absence(name)}
            return web.json_response(body, status=503, headers={"Retry-After": AGAIN})
        if market in {None, markets.first}:
            # Some clients of the futures say hello to spot first: they are answered without spot too.
            return await own(request, caller)
        if market not in made:
            made.clear()
            made[market] = _market(market, settings, broker)
        return await made[market](request, caller)

    return answer


def _market(hub: Hub, settings: ServeSettings, broker: Broker) -> Part:
    """Make the part that answers for one market: from what is kept, else from the exchange."""
    source = HubSource(hub)
    kind = _KINDS.get(hub.settings.exchange, HubRest)
    rest = kind(source, Tally(limits=True, limit=settings.client_weight))
    dropin = DropIn(rest, source, settings, asking(broker) if settings.forward else None)
    elsewhere = forwarding(broker, rest)

    async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        if not dropin.keeps(request.method, caller.path, request.query):
            return await elsewhere(request, caller)
        reply = await dropin.answer(caller.name, request.method, caller.path, request.query)
        return reply.response(zipped="gzip" in request.headers.get("Accept-Encoding", ""))

    return answer
