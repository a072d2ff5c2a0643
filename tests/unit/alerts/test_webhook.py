"""Webhooks on virtual time: signed, in order, again where that can help, and given up in the open."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest
from aiohttp import web

from klinehub.alerts.courier import Courier, Timing
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import MEMORY, Decision, Fired, Kept, Outbox
from klinehub.alerts.webhook import ATTEMPTS, MOST_WAITING, Way, Webhook, open_session, signature
from klinehub.domain.listing import Listing
from klinehub.errors import DefinitionError
from klinehub.feed.network import http_session
from klinehub.scan.alerts import Alert, key_of
from klinehub.settings import WebhookSettings
from klinehub.sim.loop import SimConnector, SimLoop, run

SECRET: Final = "sixteen characters and more"
CANARY: Final = "canary-7c1d"
BTC: Final = Listing("BTCUSDT", "BTCUSDT", "PERPETUAL", "TRADING", "BTC", "USDT", 0, 1, 3)
NOW: Final = 1_700_000_000_000
HOUR: Final = 3_600_000


def alert(symbol: str = "BTCUSDT", side: str = "long", screen: str = "mine", number: int = 0) -> Alert:
    return Alert(
        screen=screen,
        symbol=symbol,
        pair="BTC/USDT:USDT",
        timeframe="15m",
        bar_open_time=NOW,
        side=side,
        score=51.5 if side != "flat" else None,
        price=97_000.5,
        revision=0,
        stale=None,
        columns={"rsi": 71.5},
        rule=screen,
        key=key_of(screen, symbol, "15m", NOW + number),
    )


@dataclass
class Receiver:
    """Answers webhooks as it is told to, and keeps what came."""

    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""
    silent: bool = False

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        self.times.append(asyncio.get_running_loop().time())
        if self.silent:
            await asyncio.sleep(1_000)
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/elsewhere"})


@dataclass
class Names:
    """What names mean, one answer after the other, the last one for ever."""

    answers: list[Sequence[str]]
    asked: int = 0

    async def resolve(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@dataclass
class Desk:
    """A webhook with its courier, given alerts by way of an outbox."""

    log: Log
    couriers: Couriers
    courier: Courier

    async def offer(self, *alerts: Alert) -> None:
        now = NOW + int(asyncio.get_running_loop().time() * 1000)
        fired = tuple(Fired(one, self.couriers.reached(one, ())) for one in alerts)
        await self.log.do(lambda outbox: outbox.decided(Decision(now, fired)))
        self.couriers.wake()

    @property
    def counts(self) -> tuple[int, int, int]:
        """What was delivered, tried again and given up."""
        return self.courier.sent, self.courier.retried, self.courier.given_up


Test = Callable[[Desk, Receiver, Names], Awaitable[None]]


def deliver(
    test: Test,
    *,
    receiver: Receiver | None = None,
    names: Sequence[Sequence[str]] = (("127.0.0.1",),),
    lost: bool = False,
    **more: Any,
) -> None:
    """Run *test* with a webhook to a receiver on virtual time."""

    async def main(loop: SimLoop) -> None:
        here, meant = receiver or Receiver(), Names(list(names))
        runner = web.ServerRunner(web.Server(here.answer), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        usual = {"url": f"http://hooks.test:{port}/{CANARY}", "secret": SECRET, "allow_private": True}
        settings = msgspec.convert(usual | more, WebhookSettings)

        def open_in_memory(resolver: Any) -> Any:
            if lost:
                raise ConnectionRefusedError
            return http_session(SimConnector(resolver=resolver, use_dns_cache=False), 10.0)

        def now() -> int:
            return NOW + int(loop.time() * 1000)

        way = Way(meant.resolve, open_in_memory)
        listing = {"BTCUSDT": BTC}.get
        hook = Webhook("mine", settings, way, now=now, listing=listing, exchange="binance-usdm")
        async with Log(lambda: Outbox(MEMORY, now=NOW)) as log:
            courier = Courier(hook, log, Timing(now, 1.0, lambda: 0.5), quiet=None, oldest=HOUR)
            couriers = Couriers([courier], log, now)
            work = asyncio.create_task(couriers.run())
            try:
                await test(Desk(log, couriers, courier), here, meant)
                (row,) = await couriers.rows()
            finally:
                work.cancel()
                await asyncio.wait([work])
                await runner.cleanup()
        assert row.where == settings.host
        assert CANARY not in repr(row)
        assert SECRET not in repr(row)

    run(main)


def test_an_alert_is_posted_with_a_signature_that_anybody_with_the_secret_can_check() -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(alert())
        await asyncio.sleep(1)

        ((headers, body),) = receiver.got
        signed = headers["X-Klinehub-Timestamp"].encode() + b"." + body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["X-Klinehub-Signature"] == f"sha256={expected}"
        assert headers["X-Klinehub-Id"].endswith("-1")
        assert abs(int(headers["X-Klinehub-Timestamp"]) - NOW // 1000) <= 2
        assert msgspec.json.decode(body, type=Kept).alert == alert()
        assert desk.counts == (1, 0, 0)

    deliver(test)


def test_what_may_help_is_tried_again_later_each_time_with_the_same_id() -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(alert())
        await asyncio.sleep(60)

        assert len(receiver.got) == 4
        pauses = [round(b - a) for a, b in zip(receiver.times, receiver.times[1:], strict=False)]
        assert pauses == [1, 2, 4]
        assert len({headers["X-Klinehub-Id"] for headers, _ in receiver.got}) == 1
        assert len({headers["X-Klinehub-Signature"] for headers, _ in receiver.got}) > 1
        assert desk.counts == (1, 3, 0)

    deliver(test, receiver=Receiver([500, 429, 503]))


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410])
def test_what_can_not_help_is_not_tried_again_and_a_redirect_is_not_followed(status: int) -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(alert())
        await asyncio.sleep(60)

        assert len(receiver.got) == 1
        assert (desk.courier.given_up, desk.courier.failure) == (1, f"status {status}")

    deliver(test, receiver=Receiver([status]))


def test_a_receiver_that_never_answers_costs_its_time_and_no_more() -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(alert())
        await asyncio.sleep(ATTEMPTS * 10 + 60)

        assert len(receiver.got) == ATTEMPTS
        assert desk.counts == (0, ATTEMPTS - 1, 1)
        assert desk.courier.waiting == 0
        assert desk.courier.failure.startswith("no answer")

    deliver(test, receiver=Receiver(silent=True))


def test_of_too_many_the_oldest_are_given_up_and_counted() -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(*(alert(number=number) for number in range(MOST_WAITING + 44)))
        await asyncio.sleep(200)

        assert desk.counts == (MOST_WAITING, 0, 44)
        got = [msgspec.json.decode(body, type=Kept).id for _, body in receiver.got]
        assert got == list(range(45, MOST_WAITING + 45))
        first = (await desk.log.do(lambda outbox: outbox.entries()))[0]
        assert "waited" in first.deliveries[0].detail

    deliver(test)


def test_a_name_that_comes_to_mean_this_machine_is_refused() -> None:
    async def test(desk: Desk, receiver: Receiver, names: Names) -> None:
        await desk.offer(alert())
        await asyncio.sleep(60)

        assert names.asked == 2
        assert desk.counts == (0, 1, 1)
        assert "127.0.0.1, which is not a public address" in desk.courier.failure

    flips = (("93.184.216.34",), ("127.0.0.1",))
    deliver(test, names=flips, lost=True, url="https://flips.test/", allow_private=False)


def test_what_was_checked_is_what_is_connected_to_and_each_attempt_checks_anew() -> None:
    async def test(desk: Desk, receiver: Receiver, names: Names) -> None:
        await desk.offer(alert())
        await asyncio.sleep(200)

        # The receiver is at the first address alone; nobody asked again what the name means meanwhile.
        assert len(receiver.got) == 1
        assert names.asked == ATTEMPTS
        assert desk.courier.failure == "no answer (ClientConnectorError)"

    deliver(test, receiver=Receiver([500]), names=(("127.0.0.1",), ("127.0.0.9",)))


def test_only_alerts_of_the_screens_that_are_named_are_posted() -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(alert(screen="other"), alert(screen="mine"))
        await asyncio.sleep(1)

        assert len(receiver.got) == 1

    deliver(test, screens=("mine",))


def test_freqtrade_is_told_in_its_own_words_and_nothing_without_a_side() -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(alert(side="flat"), alert(side="short", number=1), alert(symbol="GONEUSDT"))
        await asyncio.sleep(1)

        assert len(receiver.got) == 1
        assert msgspec.json.decode(receiver.got[0][1]) == {
            "type": "entry",
            "exchange": "binance",
            "pair": "BTC/USDT:USDT",
            "side": "short",
            "direction": "Short",
            "entry_tag": "mine",
            "enter_tag": "mine",
            "base_currency": "BTC",
            "quote_currency": "USDT",
            "stake_currency": "USDT",
            "current_rate": 97_000.5,
            "timeframe": "15m",
            "open_date": NOW,
            "score": 51.5,
        }

    deliver(test, format="freqtrade")


def test_a_side_can_be_said_of_hits_that_have_none() -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        await desk.offer(alert(side="flat"))
        await asyncio.sleep(1)

        assert msgspec.json.decode(receiver.got[0][1])["side"] == "long"

    deliver(test, format="freqtrade", side="long")


@pytest.mark.parametrize("form", ["klinehub", "freqtrade"])
def test_a_test_is_signed_too_and_nobody_could_take_it_for_an_alert(form: str) -> None:
    async def test(desk: Desk, receiver: Receiver, _: Names) -> None:
        (tried,) = await desk.couriers.test(alert(), ["mine"])

        ((headers, body),) = receiver.got
        assert tried.ok
        assert "X-Klinehub-Signature" in headers
        told = msgspec.json.decode(body)
        assert told.pop("time") >= NOW
        assert told == {"type": "test", "rule": "mine"}

    deliver(test, format=form)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "http://hooks.example.com/x"}, "has to be https"),
        ({"url": "ftp://hooks.example.com/x", "allow_private": True}, "https://host/path"),
        ({"url": "https://user:pass@hooks.example.com/x"}, "without a user name"),
        ({"url": "https://[::1/x"}, "https://host/path"),
        ({"url": "https://host:99999/x"}, "https://host/path"),
        ({"secret": "short"}, "at least 16 characters"),
    ],
)
def test_a_target_that_can_not_be_is_refused_before_anything_starts(
    changed: dict[str, Any], said: str
) -> None:
    fits: dict[str, Any] = {"url": f"https://hooks.example.com/{CANARY}", "secret": SECRET}

    with pytest.raises(DefinitionError, match=said) as refused:
        WebhookSettings(**fits | changed)

    assert "pass" not in str(refused.value).replace("/path", "")
    assert SECRET not in str(refused.value)


def test_the_signature_is_the_one_that_is_documented() -> None:
    assert signature("secret", "1700000000", b'{"a":1}') == (
        "sha256=" + hmac.new(b"secret", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    )


async def test_a_session_of_the_real_world_follows_no_proxy_and_keeps_nothing_open() -> None:
    from klinehub.alerts.addresses import Pinned

    async with open_session(Pinned(["93.184.216.34"])) as session:
        assert not session.trust_env
        assert session.connector is not None
        assert session.connector.force_close
