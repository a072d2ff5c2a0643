"""The parts of a hub that are lent to others, by the beginning of their paths."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from klinehub.dialect.tally import Tally
from klinehub.feed.venue import SPOT
from klinehub.hub import Hub
from klinehub.serve.api import Api
from klinehub.serve.board.hello import About
from klinehub.serve.board.live import LIVE, LiveBoard
from klinehub.serve.broker import Broker
from klinehub.serve.dropin import DropIn
from klinehub.serve.events import EVENTS, Events
from klinehub.serve.figures import Source
from klinehub.serve.forwarding import asking, broker_of, forwarding
from klinehub.serve.guard import Caller
from klinehub.serve.metrics import METRICS, Metrics
from klinehub.serve.signals import Signals
from klinehub.serve.site import Part, Site
from klinehub.serve.source import HubSource
from klinehub.serve.stream_parts import in_streams
from klinehub.serve.streams import HubStreams
from klinehub.serve.tellings import HubRest, HubSpotRest
from klinehub.serve.visits import Visits
from klinehub.settings import ServeSettings

_SPOT_PATHS: Final = "/api/v3/"
_FUTURES_PATHS: Final = ("/fapi/", "/futures/data/")


@asynccontextmanager
async def lent(
    hub: Hub,
    settings: ServeSettings,
    site: Site,
    signals: Signals | None = None,
    live: LiveBoard | None = None,
) -> AsyncIterator[None]:
    """Lend *hub* to others at *site* while the block runs; without *signals* nothing is passed on.

    *live* connects those who look at the board, by default one of its own.
    """
    broker, visits = broker_of(hub, settings), Visits(hub.clock.monotonic)
    told, streams = signals or Signals(hub, hub.settings.exchange), HubStreams(hub)
    board = live or LiveBoard(told, About(url=site.rest_url))
    own = {**in_own(Source(hub, told, visits, broker, streams, board)), LIVE: board.answer}
    parts = {**in_dialect(hub, settings, broker), **in_streams(hub, streams), **own}
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


def in_dialect(hub: Hub, settings: ServeSettings, broker: Broker) -> Mapping[str, Part]:
    """Give the parts that speak as the exchange does: its futures, and its spot market."""
    alone = hub.settings.exchange == SPOT.name
    own = _market(hub, settings, broker)
    beside: dict[Hub, Part] = {}

    async def spot(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        market = None if hub.spot is None else hub.spot.market
        if not isinstance(market, Hub):
            # Some clients of the futures say hello to spot first: they are answered without spot too.
            return await own(request, caller)
        if market not in beside:
            # Spot that was lost is opened as another hub.
            beside.clear()
            beside[market] = _market(market, settings, broker)
        return await beside[market](request, caller)

    return {**dict.fromkeys(_FUTURES_PATHS, own), _SPOT_PATHS: own if alone else spot}


def _market(hub: Hub, settings: ServeSettings, broker: Broker) -> Part:
    """Make the part that answers for one market: from what is kept, else from the exchange."""
    source = HubSource(hub)
    kind = HubSpotRest if hub.settings.exchange == SPOT.name else HubRest
    rest = kind(source, Tally(limits=True, limit=settings.client_weight))
    dropin = DropIn(rest, source, settings, asking(broker) if settings.forward else None)
    elsewhere = forwarding(broker, rest)

    async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        if not dropin.keeps(request.method, caller.path, request.query):
            return await elsewhere(request, caller)
        reply = await dropin.answer(caller.name, request.method, caller.path, request.query)
        return reply.response(zipped="gzip" in request.headers.get("Accept-Encoding", ""))

    return answer
