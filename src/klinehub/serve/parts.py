"""The parts of a hub that are served, by the beginning of their paths."""

from collections.abc import Mapping

from aiohttp import web

from klinehub.dialect.rest import Rest
from klinehub.dialect.spot import SpotRest
from klinehub.dialect.tally import Tally
from klinehub.hub import Hub
from klinehub.serve.dropin import DropIn
from klinehub.serve.guard import Caller
from klinehub.serve.site import Part
from klinehub.serve.source import HubSource
from klinehub.settings import ServeSettings


def parts_of(hub: Hub, settings: ServeSettings) -> Mapping[str, Part]:
    """Give what of *hub* is served."""
    source = HubSource(hub)
    spot = hub.settings.exchange == "binance-spot"
    rest = (SpotRest if spot else Rest)(source, Tally(limits=True, limit=settings.client_weight))
    dropin = in_dialect(DropIn(rest, source, settings))
    return dict.fromkeys(("/fapi/", "/futures/data/", "/api/v3/"), dropin)


def in_dialect(dropin: DropIn) -> Part:
    """Make a part of what answers in the exchange's dialect."""

    async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        reply = await dropin.answer(caller.name, request.method, caller.path, request.query)
        return reply.response(zipped="gzip" in request.headers.get("Accept-Encoding", ""))

    return answer
