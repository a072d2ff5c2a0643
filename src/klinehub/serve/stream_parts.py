"""The streams of a program's hubs as parts of its site: the first market's, and the others' beside it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from klinehub.feed.venue import VENUES
from klinehub.hub import Hub
from klinehub.serve.consumer import most_waiting
from klinehub.serve.guard import Caller
from klinehub.serve.markets import Markets
from klinehub.serve.site import Part, Site
from klinehub.serve.streams import HubStreams
from klinehub.settings import ServeSettings

STREAMS: Final = ("/ws", "/stream", "/market/", "/public/", "/private/")


def in_streams(markets: Markets, streams: HubStreams) -> Mapping[str, Part]:
    """Give the parts that tell bars over WebSocket: the first market's, and each one's under its own name."""
    parts = dict.fromkeys(STREAMS, streamed(lambda: streams))
    for name in VENUES:
        prefix = f"/{name.removeprefix('binance-')}"
        beside = _Beside(markets, name, streams)
        parts |= dict.fromkeys((f"{prefix}/ws", f"{prefix}/stream"), streamed(beside.now, prefix))
        parts[f"{prefix}/market/"] = streamed(beside.now, prefix)
    return parts


def streamed(streams: Callable[[], HubStreams | None], prefix: str = "") -> Part:
    """Make a part of streams, as they are at the time of the handshake; None where there are none now."""

    async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        now = streams()
        if now is None:
            text = "This market is not followed, or not yet: see `exchange.also` and `market.spot`."
            return web.Response(status=503, text=text, headers={"Retry-After": "5"})
        return await now.connect(request, caller.path.removeprefix(prefix))

    return answer


class _Beside:
    """The streams of one of several markets; it may end and begin anew."""

    def __init__(self, markets: Markets, name: str, first: HubStreams) -> None:
        self._markets = markets
        self._name = name
        self._first = first
        self._streams: HubStreams | None = None

    def now(self) -> HubStreams | None:
        """Give the streams of the market as it is followed now; None while it is not."""
        market = self._markets.find(self._name)
        if market is None or market is self._first.hub:
            return None if market is None else self._first
        if self._streams is None or self._streams.hub is not market:
            self._streams = HubStreams(market, ended=lambda: self._markets.find(self._name) is not market)
        return self._streams


@dataclass(frozen=True)
class Alone:
    """Streams that are served on their own, and where."""

    ws_url: str
    streams: HubStreams

    def stats(self) -> Mapping[str, int]:
        """Count clients, what they follow, and what was left out for them."""
        return self.streams.stats()


@asynccontextmanager
async def streams_alone(
    hub: Hub, *, most_waiting: Callable[[int], int] = most_waiting
) -> AsyncIterator[Alone]:
    """Serve the streams of *hub* and nothing else, on a free port, while the `async with` block runs."""
    streams = HubStreams(hub, most_waiting=most_waiting)
    async with Site(ServeSettings(port=0, ws_port=0)) as site:
        site.open(dict.fromkeys(STREAMS, streamed(lambda: streams)))
        yield Alone(site.ws_url, streams)
