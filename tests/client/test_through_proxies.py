"""A whole hub, warm-up and live, through a CONNECT proxy and a SOCKS5 proxy that alone knows the exchange."""

import random
import time
from collections.abc import Callable

import pytest
from tests.proxies import ConnectProxy, Proxy, SocksProxy, running

from klinehub import compiled
from klinehub.domain.clock import Clock
from klinehub.feed.network import RealNetwork
from klinehub.hub import Hub
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
BEGIN = 1_772_711_995_000  # five seconds before 12:00
SPEED = 30.0


@pytest.mark.parametrize(
    ("kind", "scheme"), [(ConnectProxy, "http"), (SocksProxy, "socks5h")], ids=["CONNECT", "SOCKS5"]
)
async def test_warm_up_and_closes_come_through_the_proxy(kind: Callable[..., Proxy], scheme: str) -> None:
    # A cold cache would be compiled inside of the hub: ten seconds, five minutes of this exchange's time.
    await compiled.ensure()
    clock = Clock(BEGIN, SPEED, time.monotonic)
    exchange = Exchange(synthetic(6, 2, start=BEGIN, churn_hours=0), clock)
    served = await serve(exchange, port=0, ws_port=0)
    async with running(kind("mia:secret")) as proxy:
        settings = HubSettings(
            rest_url=served.rest_url.replace("127.0.0.1", "fapi.test"),
            stream_url=served.ws_url.replace("127.0.0.1", "fstream.test") + "/market/stream",
            bars=40,
        )
        network = RealNetwork(f"{scheme}://mia:secret@127.0.0.1:{proxy.port}")
        async with Hub(settings, clock=clock, network=network, jitter=random.Random(1).random) as hub:
            closes = hub.closes()
            first = await anext(closes)
            verified = await hub.verify()
            stats = hub.get_stats()
            await closes.aclose()
    await served.close()

    assert hub.summary is not None
    assert (hub.summary.succeeded, hub.summary.failed) == (24, 0)
    assert first.complete
    assert (verified.different, verified.failed) == ((), {})
    assert int(stats["closes"]) >= 6
    assert {name for name, _ in proxy.asked} == {"fapi.test", "fstream.test"}
