"""Row 8 of docs/security.md: secrets are planted wherever one can be, and looked for in all that comes out.

What commands print is in tests/e2e/test_secrets.py.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiohttp import web
from rich.console import Console
from rich.traceback import Traceback
from tests.security.door import LOCAL, OTHER, TOKEN, Place, at_door, request, secret, with_hub
from tests.sim.worlds import World

from klinehub import settings
from klinehub.app import config
from klinehub.app.config import Config, load
from klinehub.serve.guard import Caller
from klinehub.settings import Discreet, HubSettings, ServeSettings, TargetSettings, WebhookSettings

pytestmark = pytest.mark.timeout(180)
API_KEY: Final = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
PROXY: Final = "pr0xy-Pa55w0rd"
DATABASE: Final = "db-Pa55w0rd-x"
MIRROR: Final = "m1rror-Pa55w0rd"
MESSENGER: Final = "123456789:AAE-token-of-the-bot"
SIGNING: Final = "s1gning-Pa55w0rd-x"
HOOK: Final = "hook-t0ken-x"
PLANTED: Final = (TOKEN, OTHER, API_KEY, PROXY, DATABASE, MIRROR, MESSENGER, SIGNING, HOOK)
KLINES: Final = "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=5"


PATHS: Final = (
    "/api/v1/status",
    "/api/v1/openapi.json",
    "/api/v1/symbols",
    "/api/v1/nothing",
    "/metrics",
    "/healthz",
    "/readyz",
    "/freqtrade/pairlist",
    "/fapi/v1/exchangeInfo",
    "/fapi/v1/nothing",
    "/api/v3/ping",
)


def planted() -> Config:
    """Give settings with a secret in each place that can have one."""
    return Config(
        proxy=f"socks5h://me:{PROXY}@127.0.0.1:1080",
        archive_url=f"https://me:{MIRROR}@mirror.example",
        serve=ServeSettings(**LOCAL, token=TOKEN, clients={"freqtrade": OTHER}),
        hub=HubSettings(
            store=f"postgresql://me:{DATABASE}@db.example/klines",
            rest_url=f"https://me:{MIRROR}@mirror.example",
            stream_url=f"wss://me:{MIRROR}@mirror.example/stream",
            fallback_urls=(f"wss://me:{MIRROR}@other.example/stream",),
        ),
        targets={"phone": TargetSettings(url=f"tgram://{MESSENGER}/5550001")},
        webhooks={"desk": WebhookSettings(url=f"https://hooks.example/{HOOK}", secret=SIGNING)},
    )


def leaks(*texts: object) -> list[str]:
    return [one for one in PLANTED if any(one in str(text) for text in texts)]


def test_row_08_what_is_looked_for_would_be_found() -> None:
    found = leaks(msgspec.json.encode(planted()))
    assert found == [TOKEN, OTHER, PROXY, DATABASE, MIRROR, MESSENGER, SIGNING, HOOK]


def test_row_08_settings_show_no_secret_where_they_are_printed() -> None:
    given = planted()
    console = Console(width=4_000, record=True, file=None, quiet=True)
    console.print(given)
    traced = Console(width=200, record=True, quiet=True)
    with pytest.raises(ValueError, match="Config") as caught:
        _fail(given)
    trace = Traceback.from_exception(caught.type, caught.value, caught.tb, show_locals=True)
    traced.print(trace)

    shown = f"{given!r} {given} {given.hub!r} {given.serve!r} {given.serve.__rich_repr__()} {caught.value!r}"
    assert leaks(shown, console.export_text(), traced.export_text()) == []
    assert "token='***'" in shown
    assert "clients={'freqtrade': '***'}" in shown
    assert "store='postgresql://***@db.example/klines'" in shown


def _fail(given: Config) -> None:
    raise ValueError(given, given.hub, given.serve)


def test_row_08_settings_with_a_secret_are_all_discreet() -> None:
    telling = re.compile(r"token$|secret|password|^proxy$|^clients$|^url$")
    kinds = [
        kind
        for module in (settings, config)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    ]
    bare = [
        kind.__name__
        for kind in kinds
        if not issubclass(kind, Discreet) and any(telling.search(name) for name in kind.__struct_fields__)
    ]

    assert bare == []


@pytest.mark.parametrize(
    "text",
    [
        f'[serve]\ntoken = ["{TOKEN}"]',
        f'[serve]\nclients = ["{TOKEN}"]',
        f'[serve]\nclients = {{ bot = ["{TOKEN}"] }}',
        f'[serve]\ntoken = "{TOKEN}"\nport = "x"',
        f'[serve]\ntoken = "{TOKEN}"\nhold = 1000',
        f'[targets.phone]\nurl = "{MESSENGER}"',
        f'[targets.phone]\nurl = "tgram://{MESSENGER}/1"\nquiet = "late"',
        f'[targets.phone]\nurl = "tgram://{MESSENGER}/1"\ndigest = 0',
        f'[targets.phone]\nurl = ["tgram://{MESSENGER}/1"]',
        f'[webhooks.desk]\nurl = "http://hooks.example/{HOOK}"\nsecret = "{SIGNING}"',
        f'[network]\nproxy = "ftp://me:{PROXY}@x"\n[store]\npath = 5\n[market]\nbars = "{TOKEN}"',
    ],
)
def test_row_08_settings_that_do_not_fit_are_told_without_secrets(tmp_path: Path, text: str) -> None:
    file = tmp_path / "klinehub.toml"
    file.write_text(text)

    with pytest.raises(Exception, match=r"does not fit|serve\.|target|webhook") as caught:
        load(file, {})
    assert leaks(caught.value, repr(caught.value)) == []


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[list[object]]:
    """Gather every log line of every library, and what is printed, until the list is read."""
    caplog.set_level(logging.DEBUG)
    found: list[object] = []
    yield found
    out, err = capfd.readouterr()
    told = [logging.Formatter("%(name)s %(message)s %(pathname)s").format(one) for one in caplog.records]
    assert leaks(out, err, *told, *found) == []


def test_row_08_no_request_leaves_a_secret_in_logs_or_answers(told: list[object]) -> None:
    async def fails(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        told.extend((repr(request), str(caller)))
        raise ValueError(f"{request.path} {dict(request.headers)}")

    async def goes(request: web.BaseRequest, _: Caller) -> web.StreamResponse:
        raise web.HTTPNotFound

    async def test(place: Place) -> None:
        key = {"X_MBX_APIKEY": API_KEY}
        shown = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/x", "/fails/x", "/goes", "/ws/btcusdt@kline_1m", "/nothing", "/fapi/v1/order"):
            for method in ("GET", "POST", "BREW"):
                told.extend(
                    (
                        await place.ask(f"/c/{TOKEN}{path}", method, b"", **key),
                        await place.ask(f"/c/{TOKEN}x{path}", method, b"", **key),
                        await place.ask(path, method, b"", **key, **shown),
                        await place.knock(
                            f"/c/{TOKEN}{path}", Sec_WebSocket_Protocol=f"klinehub, bearer.{OTHER}"
                        ),
                        await place.knock(path, Sec_WebSocket_Protocol=f"bearer.{TOKEN}"),
                        await place.knock(path, Sec_WebSocket_Protocol=f"other, {TOKEN}", **shown),
                    )
                )
        odd = (
            f"GET /c/{TOKEN}/{'a' * 9_000} HTTP/1.1\r\n\r\n",
            f"GET /c/{TOKEN}/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\x00\r\n\r\n",
            f"GET /c/{TOKEN}/x HTTP/9.9\r\nHost: localhost\r\n\r\n",
            f"GET /c/{TOKEN}/x y HTTP/1.1\r\nHost: localhost\r\n\r\n",
            f"G\x01T /c/{TOKEN}/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            f"GET /c/{TOKEN}/x HTTP/1.1\r\nHost: {TOKEN}\r\n\r\n",
            f"GET /x HTTP/1.1\r\n{TOKEN} : x\r\n\r\n",
            f"POST /c/{TOKEN}/fapi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {TOKEN}\r\n\r\n",
        )
        told.extend([await place.raw(one.encode()) for one in odd])

    at_door(test, secret(clients={"freqtrade": OTHER}), fails=fails, goes=goes)


def test_row_08_a_failure_is_told_by_its_kind_and_place(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(request: web.BaseRequest, _: Caller) -> web.StreamResponse:
        raise ValueError(f"{request.path}\nfake line\x1b[2J")

    async def test(place: Place) -> None:
        said = await place.ask(f"/c/{TOKEN}/fails")
        assert (said.status, said.body) == (500, b"Failed")

    at_door(test, secret(), fails=fails)
    (line,) = [one.getMessage() for one in caplog.records]
    assert re.fullmatch(r"A request could not be answered: ValueError at test_secrets\.py:\d+", line)


def test_row_08_a_served_hub_tells_no_secret_of_its_own(told: list[object]) -> None:
    async def test(place: Place, world: World) -> None:
        for path in (*PATHS, KLINES):
            told.append(await place.ask(f"/c/{TOKEN}{path}", "GET", b"", X_MBX_APIKEY=API_KEY))
            told.append(await place.ask(path, "GET", b"", Authorization=f"Bearer {OTHER}"))
        told.extend((str(world.hub.get_stats()), repr(world.hub), repr(place), repr(vars(place.site))))

    with_hub(test, secret(clients={"freqtrade": OTHER}))


def test_row_08_a_secret_in_a_request_reaches_no_part_but_as_a_header() -> None:
    seen: list[Any] = []

    async def looks(_: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        seen.append(caller)
        return web.Response()

    async def test(place: Place) -> None:
        await place.raw(request(f"/c/{TOKEN}/looks/c/x", Host="localhost"))

    at_door(test, secret(), looks=looks)
    assert seen == [Caller("token", "/looks/c/x")]
