"""Webhooks over TLS and real sockets: the certificate is that of the name, the way that of the address."""

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiohttp
import pytest
import trustme
from aiohttp import web
from tests.unit.alerts.telling import END, kept, message
from tests.unit.alerts.test_webhook import SECRET

from klinehub.alerts.posting import Answer, Ended
from klinehub.alerts.webhook import Way, Webhook
from klinehub.feed.network import http_session
from klinehub.settings import WebhookSettings

HOST: Final = "hooks.test"


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[int, trustme.CA, list[bytes]]]:
    ca, got = trustme.CA(), list[bytes]()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(HOST).configure_cert(context)

    async def answer(request: web.BaseRequest) -> web.Response:
        got.append(await request.read())
        return web.Response()

    runner = web.ServerRunner(web.Server(answer), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1], ca, got
    await runner.cleanup()


async def posted(host: str, port: int, trusted: trustme.CA) -> Answer:
    """Post one alert once."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.1",)

    def open_trusting(resolver: aiohttp.abc.AbstractResolver) -> aiohttp.ClientSession:
        context = ssl.create_default_context()
        trusted.configure_trust(context)
        return http_session(aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, ssl=context), 5.0)

    settings = WebhookSettings(url=f"https://{host}:{port}/x", secret=SECRET, allow_private=True)
    way = Way(resolve, open_trusting)
    hook = Webhook("mine", settings, way, now=lambda: END, listing=lambda _: None, exchange="binance-usdm")
    return await hook.send(message([kept()]), quiet=False)


async def test_the_certificate_has_to_be_that_of_the_name(
    receiver: tuple[int, trustme.CA, list[bytes]],
) -> None:
    port, ca, got = receiver

    untrusted = Answer(Ended.LATER, "no answer (ClientConnectorCertificateError)")
    assert await posted(HOST, port, ca) == Answer(Ended.TAKEN)
    assert len(got) == 1
    assert await posted("other.test", port, ca) == untrusted
    assert await posted(HOST, port, trustme.CA()) == untrusted
    assert len(got) == 1
