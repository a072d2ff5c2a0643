"""What is said while the hub warms up."""

import aiohttp

from klinehub.serve.site import Site
from klinehub.settings import ServeSettings
from klinehub.sim.loop import SimLoop, SimNetwork, run


def test_a_hub_that_warms_up_is_alive_and_not_ready_and_tells_others_to_come_again() -> None:
    async def main(_: SimLoop) -> None:
        async with (
            Site(ServeSettings(port=0, ws_port=0)) as site,
            SimNetwork().session(site.rest_url, timeout=5.0) as session,
        ):
            assert await told(session, f"{site.rest_url}/healthz") == (200, '{"status":"ok"}')
            status, body = await told(session, f"{site.rest_url}/readyz")
            assert (status, body) == (503, '{"ready":false,"reasons":["the hub is warming up"]}')
            for path in ("/api/v1/status", "/metrics", "/freqtrade/pairlist", "/fapi/v1/klines"):
                assert await told(session, site.rest_url + path) == (503, "The hub is warming up."), path

    run(main)


async def told(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(url) as answer:
        return answer.status, await answer.text()
