"""Messengers over real sockets: a loopback server plays all of them, reached by names through proxies."""

import asyncio
import json
import logging
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from aiohttp import web
from tests.proxies import ConnectProxy, Proxy, SocksProxy, running
from tests.unit.alerts.telling import alert, kept, message, style

from klinehub.alerts import messenger
from klinehub.alerts.messenger import EXTRA, Messenger
from klinehub.alerts.posting import Answer, Ended
from klinehub.feed.network import RealNetwork
from klinehub.settings import TargetSettings

TELEGRAM: Final = "tgram://123456789:AAbbcc-DDeeff_GGhhii/5550001"
DISCORD: Final = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dVjs"
FEISHU: Final = "feishu://a1b2c3d4-e5f6-7890"
DINGTALK: Final = "dingtalk://SECa0b1c2d3e4@f5e6d7c8b9a0"
WECOM: Final = "wecombot://693a91f6-7xxx-4bc4"
ALL: Final = (TELEGRAM, DISCORD, FEISHU, DINGTALK, WECOM)
HOSTS: Final = (
    "api.telegram.org",
    "discord.com",
    "open.feishu.cn",
    "oapi.dingtalk.com",
    "qyapi.weixin.qq.com",
)
TITLE: Final = "BTCUSDT 15m: oversold"
TAKEN: Final = Answer(Ended.TAKEN)


@dataclass
class Services:
    """Plays every messenger: answers as it is told to, and keeps what it was asked."""

    port: int = 0
    plain: int = 0
    trusted: str = ""
    replies: list[tuple[int, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    late: float = 0.0
    drops: bool = False

    async def answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self.asked.append((f"{request.method} {request.host}", request.path_qs, json.loads(body)))
        if self.drops:
            assert request.transport is not None
            request.transport.abort()
        await asyncio.sleep(self.late)
        status, said = self.replies.pop(0) if self.replies else (200, {})
        return web.json_response(said, status=status, headers=self.headers)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Services]:
    """Serve all messengers with certificates of their names."""
    ca, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*HOSTS).configure_cert(context)
    services = Services(trusted=str(folder / "trusted.pem"))
    ca.cert_pem.write_to_path(services.trusted)
    runner = web.ServerRunner(web.Server(services.answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    services.port = runner.addresses[0][1]
    services.plain = runner.addresses[1][1]
    try:
        yield services
    finally:
        await runner.cleanup()


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with served(tmp_path) as services:
        yield services


class Led(ConnectProxy):
    """A proxy that leads every name to one port."""

    to = 0

    async def tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, opened: bytes
    ) -> None:
        await super().tunnel(reader, writer, self.to, opened)


class SocksLed(SocksProxy):
    """The same by SOCKS."""

    to = 0

    async def tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, opened: bytes
    ) -> None:
        await super().tunnel(reader, writer, self.to, opened)


@asynccontextmanager
async def led(services: Services, kind: type[Any] = Led, login: str | None = None) -> AsyncIterator[Proxy]:
    proxy = kind(login)
    proxy.to = services.port
    async with running(proxy):
        yield proxy


def way(proxy: Proxy, scheme: str = "http", login: str = "") -> RealNetwork:
    return RealNetwork(f"{scheme}://{login}127.0.0.1:{proxy.port}")


async def failure(url: str, network: RealNetwork, **more: Any) -> str:
    there = made(url, network, **more)
    await there.begin()
    return there.failure


def made(url: str, network: RealNetwork, trusted: str | None = None, **more: Any) -> Messenger:
    return Messenger("phone", TargetSettings(url=url, **more), style(), network.route, trusted=trusted)


@pytest.mark.parametrize(("kind", "scheme"), [(Led, "http"), (SocksLed, "socks5h")])
async def test_each_messenger_is_asked_what_it_understands_through_the_proxy_and_by_its_name(
    services: Services, kind: type[Any], scheme: str
) -> None:
    async with led(services, kind, "me:pa55") as proxy:
        network = way(proxy, scheme, "me:pa55@")
        for url in ALL:
            there = made(url, network, services.trusted)
            assert await there.send(message([kept()]), quiet=False) == TAKEN

    assert proxy.asked == [(host, 443) for host in HOSTS]
    assert [place for place, _, _ in services.asked] == [f"POST {host}" for host in HOSTS]
    paths = [path for _, path, _ in services.asked]
    assert paths[0] == "/bot123456789:AAbbcc-DDeeff_GGhhii/sendMessage"
    assert paths[1] == "/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dVjs"
    assert paths[2] == "/open-apis/bot/v2/hook/a1b2c3d4-e5f6-7890/"
    assert paths[3].startswith("/robot/send?access_token=f5e6d7c8b9a0&timestamp=")
    assert paths[4] == "/cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4"
    telegram, discord, feishu, dingtalk, wecom = (body for _, _, body in services.asked)
    assert (telegram["chat_id"], telegram["parse_mode"]) == (5550001, "HTML")
    texts = (
        telegram["text"].replace("&amp;", "&"),
        discord["content"],
        feishu["content"]["text"],
        dingtalk["text"]["content"],
        wecom["text"]["content"],
    )
    assert (feishu["msg_type"], dingtalk["msgtype"], wecom["msgtype"]) == ("text", "text", "text")
    assert {text.splitlines()[0] for text in texts} == {TITLE}
    assert {text.splitlines()[-1] for text in texts} == {f"klinehub {alert().key}"}
    assert "avatar_url" not in discord


async def test_the_signature_for_dingtalk_is_escaped_once(services: Services) -> None:
    async with led(services) as proxy:
        await made(DINGTALK, way(proxy), services.trusted).send(message([kept()]), quiet=False)

    ((_, path, _),) = services.asked
    sign = path.partition("&sign=")[2]
    assert sign.endswith("%3D")
    assert "%25" not in sign


async def test_a_listing_that_is_markup_stays_text(services: Services) -> None:
    async with led(services) as proxy:
        there = made(TELEGRAM, way(proxy), services.trusted)
        await there.send(message([kept(symbol="<img src=x>&USDT")]), quiet=False)

    ((_, _, body),) = services.asked
    assert body["text"].startswith("&lt;img src=x&gt;&amp;USDT 15m: oversold")


@pytest.mark.parametrize(
    ("url", "reply", "told"),
    [
        (TELEGRAM, (401, {"ok": False, "description": "Unauthorized"}), "status 401 (Unauthorized)"),
        (DISCORD, (401, {"message": "Invalid Webhook Token", "code": 50027}), "status 401 (Invalid Webhook"),
        (FEISHU, (200, {"code": 19001, "msg": "token invalid a1b2c3d4"}), "code 19001 (token invalid ***)"),
        (DINGTALK, (200, {"errcode": 300005, "errmsg": "token is not exist"}), "code 300005 (token is not"),
        (WECOM, (200, {"errcode": 93000, "errmsg": "invalid webhook url"}), "code 93000 (invalid webhook"),
    ],
)
async def test_a_wrong_token_is_told_with_the_way_out_whatever_the_status(
    services: Services, url: str, reply: tuple[int, Any], told: str
) -> None:
    services.replies = [reply]
    async with led(services) as proxy:
        answer = await made(url, way(proxy), services.trusted).send(message([kept()]), quiet=False)

    assert answer.ended is Ended.REFUSED
    assert told in answer.detail
    assert "check the `url` of targets.phone, then try `klinehub alerts test phone`" in answer.detail


@pytest.mark.parametrize(
    ("url", "reply", "headers", "pause"),
    [
        (TELEGRAM, (500, {}), {}, 0.0),
        (TELEGRAM, (429, {"parameters": {"retry_after": 7}}), {}, 7.0),
        (FEISHU, (503, "not an object"), {"Retry-After": "30"}, 30.0),
        (DINGTALK, (200, {"errcode": 130101, "errmsg": "send too fast"}), {}, 0.0),
        (WECOM, (200, {"errcode": 45009, "errmsg": "api freq out of limit"}), {}, 0.0),
        (FEISHU, (200, {"code": 11232, "msg": "frequency limited"}), {}, 0.0),
    ],
)
async def test_what_passes_by_is_for_later_and_who_asks_for_a_pause_gets_it(
    services: Services, url: str, reply: tuple[int, Any], headers: dict[str, str], pause: float
) -> None:
    services.replies, services.headers = [reply], headers
    async with led(services) as proxy:
        answer = await made(url, way(proxy), services.trusted).send(message([kept()]), quiet=False)

    assert (answer.ended, answer.pause) == (Ended.LATER, pause)


async def test_a_service_that_drops_or_is_silent_is_for_later(services: Services) -> None:
    async with led(services) as proxy:
        there = made(f"{FEISHU}/?rto=0.2", way(proxy), services.trusted)
        services.drops = True
        dropped = await there.send(message([kept()]), quiet=False)
        services.drops, services.late = False, 5.0
        silent = await made(f"{WECOM}/?rto=0.2", way(proxy), services.trusted).send(
            message([kept()]), quiet=False
        )

    assert (dropped.ended, silent.ended) == (Ended.LATER, Ended.LATER)
    assert dropped.detail.startswith("no answer from Feishu through the proxy http://127.0.0.1:")
    assert silent.detail.endswith("(ReadTimeout)")


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_is_not_there_is_named_without_its_password(scheme: str) -> None:
    network = RealNetwork(f"{scheme}://me:pa55w0rd@127.0.0.1:1")

    answer = await made(TELEGRAM, network).send(message([kept()]), quiet=False)

    assert answer.ended is Ended.LATER
    assert f"{scheme.removesuffix('h')}://***@127.0.0.1:1" in answer.detail
    assert "pa55w0rd" not in answer.detail


async def test_no_proxy_of_the_environment_and_no_password_file_leads_elsewhere(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password pa55\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    there = made(f"json://127.0.0.1:{services.plain}/x", RealNetwork())

    assert await there.send(message([kept()]), quiet=False) == TAKEN
    ((_, _, body),) = services.asked
    assert (body["title"], body["message"].splitlines()[-1]) == (TITLE, f"klinehub {alert().key}")


async def test_this_machine_is_reached_without_the_proxy(services: Services) -> None:
    there = made(f"json://127.0.0.1:{services.plain}/x", RealNetwork("http://127.0.0.1:1"))

    assert await there.send(message([kept()]), quiet=False) == TAKEN


async def test_where_there_is_hardly_any_room_a_message_is_cut_and_stays_one(services: Services) -> None:
    there = made(f"json://127.0.0.1:{services.plain}/x", RealNetwork())
    await there.begin()
    there._plugin.body_maxlen = 50

    assert await there.send(message([kept()]), quiet=False) == TAKEN

    ((_, _, body),) = services.asked
    assert body["message"].startswith("http://127.0.0.1:8787/?view=symbol")
    assert len(body["message"]) <= 50


async def test_a_redirect_is_a_refusal(services: Services) -> None:
    services.replies, services.headers = [(302, {})], {"Location": f"http://127.0.0.1:{services.plain}/y"}

    answer = await made(f"json://127.0.0.1:{services.plain}/x", RealNetwork()).send(
        message([kept()]), quiet=False
    )

    assert (answer.ended, len(services.asked)) == (Ended.REFUSED, 1)


async def test_a_message_whose_answer_comes_too_late_is_not_sent_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "LIMIT", 0.3)
    services.late = 0.8
    there = made(f"json://127.0.0.1:{services.plain}/x", RealNetwork())
    first, second = message([kept()], 1), message([kept(symbol="ETHUSDT")], 2)

    late = await there.send(first, quiet=False)
    busy = await there.send(first, quiet=False)
    trial = await there.test(kept())
    services.late = 0.0
    while (answer := await there.send(first, quiet=False)).ended is Ended.LATER:
        assert len(services.asked) == 1

    assert (late.ended, busy.ended, trial.ended) == (Ended.LATER, Ended.LATER, Ended.LATER)
    assert answer == TAKEN
    assert len(services.asked) == 1
    assert await there.send(second, quiet=False) == TAKEN
    assert len(services.asked) == 2


async def test_a_test_is_sent_as_one(services: Services) -> None:
    there = made(f"json://127.0.0.1:{services.plain}/x", RealNetwork(), lang="zh")
    there._style = style("zh")

    assert await there.test(kept()) == TAKEN
    assert services.asked[0][2]["title"].startswith("测试")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{TELEGRAM}/5550002", "reaches 2 receivers: make a target of each"),
        ("tgram://not a token", "is no address that apprise knows"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/a1b2c3d4", "is no address that apprise knows"),
        ("nothing://known", "is no address that apprise knows"),
    ],
)
async def test_an_address_that_can_not_be_is_off_with_the_reason_and_shows_nothing(
    url: str, said: str
) -> None:
    there = made(url, RealNetwork())
    await there.begin()

    assert said in there.failure
    assert not any(part in there.failure for part in ("123456789", "5550002", "not a token", "a1b2c3d4"))
    assert await there.send(message([kept()]), quiet=False) == Answer(Ended.REFUSED, there.failure)


async def test_a_service_that_is_no_http_is_off_behind_a_proxy_unless_it_may_be_reached_without() -> None:
    url = "mailto://me:pa55w0rd@mail.example"
    proxied = RealNetwork("http://127.0.0.1:1")

    told = await failure(url, proxied)
    assert "is not reached by HTTP, so not through network.proxy: set `direct = true`" in told
    assert await failure(url, proxied, direct=True) == ""
    assert await failure(url, RealNetwork()) == ""


async def test_without_apprise_a_target_is_off_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    there = made(TELEGRAM, RealNetwork())

    assert await there.send(message([kept()]), quiet=False) == Answer(Ended.REFUSED, EXTRA)
    assert there.failure == EXTRA
    assert "pip install 'klinehub[alerts]'" in there.failure
    assert await there.test(kept()) == Answer(Ended.REFUSED, EXTRA)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in ("", "apprise", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


@pytest.mark.parametrize("status", [200, 401])
async def test_no_token_is_logged_or_shown(
    services: Services, lines: pytest.LogCaptureFixture, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    services.replies = [(status, {"description": f"no such bot as {TELEGRAM[8:31]}"})]
    async with led(services) as proxy:
        settings = TargetSettings(url=TELEGRAM)
        there = made(TELEGRAM, way(proxy), services.trusted)
        answer = await there.send(message([kept()]), quiet=False)
        wrong = await failure("feishu://AAbbcc!DDeeff", way(proxy))

    shown = [repr(settings), repr(there), answer.detail, wrong, lines.text, *capfd.readouterr()]
    assert not any(
        secret in text for text in shown for secret in ("123456789", "AAbbcc", "GGhhii", "5550001")
    )


async def test_who_else_uses_apprise_here_is_left_alone(
    services: Services, lines: pytest.LogCaptureFixture
) -> None:
    import apprise

    assert await failure(f"json://127.0.0.1:{services.plain}/x", RealNetwork("http://127.0.0.1:1")) == ""
    other = apprise.Apprise.instantiate(f"json://127.0.0.1:{services.plain}/other")
    assert other is not None

    assert await asyncio.to_thread(other.notify, body="hello")
    assert services.asked[-1][1] == "/other"
    assert "/other" in lines.text
