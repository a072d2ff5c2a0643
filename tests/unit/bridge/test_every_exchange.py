"""Whatever ccxt has can be bridged, as far as that can be said without asking it."""

import time

import pytest

from klinehub.bridge.bridge import Bridge
from klinehub.bridge.library import exchange_of
from klinehub.domain.clock import Clock
from klinehub.errors import DefinitionError
from klinehub.feed.venue import venue_of
from klinehub.settings import HubSettings

# All of them are made, which takes a moment each.
pytestmark = pytest.mark.timeout(120)


async def test_every_exchange_that_gives_klines_has_a_bridge() -> None:
    import ccxt.async_support as ccxt

    bridged, refused, ways = 0, list[str](), set()
    for name in ccxt.exchanges:
        wanted = HubSettings(exchange=f"ccxt:{name}")
        try:
            exchange = exchange_of(name, rest_url="http://127.0.0.1:9", stream_url="ws://127.0.0.1:9")
        except DefinitionError as error:
            refused.append(str(error))
            continue
        bridge = Bridge(exchange, wanted, Clock(1_795_252_512_345, 1.0, time.monotonic))
        settings = bridge.settings
        many, one = (bridge.upstream.has(what) for what in ("watchOHLCVForSymbols", "watchOHLCV"))
        ways.add("many" if many else "one" if one else "none")
        assert settings.rest_url == venue_of(wanted.exchange).rest_url
        assert 100 <= settings.weight_limit <= 1_000_000
        assert wanted.timeout < settings.timeout <= 600
        assert all(bridge.upstream.rows(kind) >= 10 for kind in ("swap", "spot"))
        assert "https://" not in str(exchange.urls["api"])
        bridged += 1

    assert ways == {"many", "one", "none"}
    assert bridged > 80
    assert bridged + len(refused) == len(ccxt.exchanges)
    assert all("gives no klines" in said for said in refused)
