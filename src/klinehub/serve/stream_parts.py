"""The streams of a hub as parts of its site: its own market's, and spot's beside it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from klinehub.feed.venue import SPOT
from klinehub.hub import Hub
from klinehub.serve.consumer import most_waiting
from klinehub.serve.guard import Caller
from klinehub.serve.site import Part, Site
from klinehub.serve.streams import HubStreams
from klinehub.settings import ServeSettings

STREAMS: Final = ("/ws", "/stream", "/market/", "/public/", "/private/")
_BEFORE_SPOT: Final = "/spot"
_SPOT_STREAMS: Final = ("/spot/ws", "/spot/stream")


def in_streams(hub: Hub, streams: HubStreams) -> Mapping[str, Part]:
    """Give the parts that tell the bars of *hub* over WebSocket, and those of spot beside it."""
    beside = _Beside(hub)
    alone = hub.settings.exchange == SPOT.name
    return {
        **dict.fromkeys(STREAMS, streamed(lambda: streams)),
        **dict.fromkeys(_SPOT_STREAMS, streamed(lambda: streams if alone else beside.streams)),
    }


def streamed(streams: Callable[[], HubStreams | None]) -> Part:
    """Make a part of streams, as they are at the time of the handshake; None where there are none now."""

    async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        now = streams()
        if now is None:
            text = "Spot is not followed, or not yet: switch `market.spot` on."
            return web.Response(status=503, text=text, headers={"Retry-After": "5"})
        return await now.connect(request, caller.path.removeprefix(_BEFORE_SPOT))

    return answer


class _Beside:
    """The streams of the spot market that a hub follows beside its own; it may end and begin anew."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._streams: HubStreams | None = None

    @property
    def streams(self) -> HubStreams | None:
        """The streams of the spot market that is followed now."""
        market = self._market
        if market is None:
            return None
        if self._streams is None or self._streams.hub is not market:
            self._streams = HubStreams(market, ended=lambda: self._market is not market)
        return self._streams

    @property
    def _market(self) -> Hub | None:
        market = None if self._hub.spot is None else self._hub.spot.market
        return market if isinstance(market, Hub) else None


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
