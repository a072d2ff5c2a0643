"""The broker at the site: requests go to it as they came in, and replies go out as they came back."""

from urllib.parse import urlencode

from aiohttp import web

from klinehub.dialect.params import Rejected
from klinehub.dialect.rest import Query, Rest
from klinehub.dialect.rest import Reply as Answer
from klinehub.serve.broker import Broker, Upstream
from klinehub.serve.dropin import Forward
from klinehub.serve.guard import Caller
from klinehub.serve.markets import Markets
from klinehub.serve.site import Part
from klinehub.settings import ServeSettings

_KIND = "Content-Type"


def broker_of(markets: Markets, settings: ServeSettings) -> Broker:
    """Give the broker of all markets that are followed."""

    def upstreams() -> list[Upstream]:
        return [Upstream(one.rest, one.gate) for one in markets.there]

    return Broker(upstreams, forward=settings.forward, orders=settings.orders)


def asking(broker: Broker) -> Forward:
    """Give the way in which the drop-in asks for what it does not keep itself."""

    async def ask(client: str, method: str, path: str, query: Query) -> Answer:
        reply = await broker.forward(client, method, path, urlencode(list(query.items())))
        headers = {name: value for name, value in reply.headers.items() if name != _KIND}
        return Answer(reply.status, reply.body, headers)

    return ask


def forwarding(broker: Broker, rest: Rest) -> Part:
    """Make a part of what is not kept at all; *rest* counts what a client uses of its own quota."""

    async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        try:
            told = rest.charge(caller.path, request.query, caller.name)
        except Rejected as error:
            return rest.refusal(error, caller.name).response(zipped=False)
        query, body = request.rel_url.raw_query_string, await request.read()
        reply = await broker.forward(caller.name, request.method, caller.path, query, request.headers, body)
        return web.Response(status=reply.status, body=reply.body, headers={**told, **reply.headers})

    return answer
