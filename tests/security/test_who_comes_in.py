"""Rows 1 to 6 of docs/security.md: who comes in, as whom, and what may be asked for."""

import asyncio
import hmac
import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest
from aiohttp import web
from tests.security.door import (
    LOCAL,
    OTHER,
    TOKEN,
    WEBSOCKET,
    Place,
    Said,
    at_door,
    request,
    secret,
    with_hub,
)
from tests.security.test_paths import strays
from tests.sim.worlds import World

from klinehub.errors import DefinitionError
from klinehub.serve import changes
from klinehub.serve.board.page import Page
from klinehub.serve.guard import Caller, Guard
from klinehub.serve.site import Site
from klinehub.settings import ServeSettings

pytestmark = pytest.mark.timeout(180)
METHODS: Final = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ANYWHERE: Final = ("0.0.0.0", "::", "", "192.168.1.5", "hub.example", "127.0.0.1.example")
HERE: Final = ("127.0.0.1", "::1", "localhost", "127.0.0.5")
# The paths at which something answers, or will: everything comes past the same guard.
OWN_PATHS: Final = (
    "/board/live",
    "/api/v1/status",
    "/healthz",
    "/readyz",
    "/metrics",
    "/freqtrade/pairlist",
    "/x",
)
DIALECT_PATHS: Final = ("/fapi/v1/klines", "/futures/data/openInterestHist", "/api/v3/klines")
STREAM_PATHS: Final = ("/ws", "/stream", "/market/ws", "/spot/ws", "/public/stream", "/private/ws")


def name_of(said: Said) -> str:
    assert said.status == 200, said
    return str(json.loads(said.body)["name"])


async def test_row_01_only_this_machine_is_listened_to() -> None:
    async with Site(ServeSettings(**LOCAL)) as site:
        ports = [int(url.rsplit(":", 1)[1]) for url in (site.rest_url, site.ws_url)]
        command = shutil.which("ss")
        told = await asyncio.to_thread(subprocess.check_output, [command, "-ltn"]) if command else None

        for port in ports:
            # On Linux the whole of 127.0.0.0/8 is this machine, but is not what was asked for.
            with socket.socket() as elsewhere, pytest.raises(OSError, match=r"refused|unreachable|assign"):
                elsewhere.connect(("127.0.0.2", port))
            if told is not None:
                lines = [line.split()[3] for line in told.decode().splitlines() if f":{port} " in line]
                assert lines == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("host", ANYWHERE)
def test_row_02_nothing_else_is_bound_without_a_secret(host: str) -> None:
    with pytest.raises(DefinitionError, match=r"serve\.token.*secrets\.token_urlsafe\(24\)"):
        Guard(ServeSettings(host=host))

    Guard(ServeSettings(host=host, token=TOKEN))
    Guard(ServeSettings(host=host, clients={"freqtrade": TOKEN}))


@pytest.mark.parametrize("host", HERE)
def test_row_02_loopback_needs_no_secret(host: str) -> None:
    Guard(ServeSettings(host=host))


@pytest.mark.parametrize(
    "weak",
    ["x", "q7Rf-2sXw_81LmNcVb03T", "a" * 32, "abababababababababababab", f"{TOKEN} ", f"{TOKEN}/é", "é" * 30],
)
@pytest.mark.parametrize("field", ["token", "clients"])
def test_row_02_a_secret_that_can_be_guessed_is_refused(field: str, weak: str) -> None:
    settings: dict[str, Any] = {field: {"bot": weak} if field == "clients" else weak}

    with pytest.raises(DefinitionError) as caught:
        Guard(ServeSettings(**settings))
    assert weak == "x" or weak not in str(caught.value)


def test_row_02_two_clients_have_two_secrets() -> None:
    with pytest.raises(DefinitionError, match="the same secret"):
        Guard(ServeSettings(clients={"a": TOKEN, "b": TOKEN}))
    with pytest.raises(DefinitionError, match="without a secret"):
        Guard(ServeSettings(clients={"a": TOKEN, "b": ""}))


def test_row_02_a_secret_may_lie_in_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    file = tmp_path / "token"
    settings = ServeSettings(host="0.0.0.0", token_file=str(file))
    with pytest.raises(DefinitionError, match="cannot be read"):
        Guard(settings)
    file.write_text(f"{TOKEN}\n")
    for mode in (0o644, 0o640, 0o604, 0o620):
        file.chmod(mode)
        with pytest.raises(DefinitionError, match="can be read by others: chmod 600"):
            Guard(settings)
    for mode in (0o600, 0o400):
        file.chmod(mode)
        Guard(settings)
    file.chmod(0o600)
    file.write_text("\n")
    with pytest.raises(DefinitionError, match="is empty"):
        Guard(settings)


@pytest.mark.parametrize("path", [*OWN_PATHS, *DIALECT_PATHS, *STREAM_PATHS])
def test_row_02_who_shows_no_secret_gets_nothing(path: str) -> None:
    async def test(place: Place) -> None:
        wrong = f"{TOKEN[:-1]}e"
        for method in ("GET", "HEAD", *METHODS):
            assert (await place.ask(path, method)).status == 401
        for told in (wrong, "", TOKEN[:-1], f"{TOKEN}x", TOKEN.lower(), OTHER):
            assert (await place.ask(path, Authorization=f"Bearer {told}")).status == 401
            assert (await place.knock(path, Sec_WebSocket_Protocol=f"klinehub, bearer.{told}")).status == 401
            assert (await place.ask(f"/c/{told}{path}")).status == 401
        # A query is written into logs and histories: it is no place for a secret.
        for query in (f"token={TOKEN}", f"access_token={TOKEN}", f"c={TOKEN}"):
            assert (await place.ask(f"{path}?{query}")).status == 401
        assert (await place.ask(path, Authorization=f"Basic {TOKEN}")).status == 401
        assert (await place.ask(path, Cookie=f"token={TOKEN}")).status == 401

    at_door(test, secret())


def test_row_02_the_page_is_shown_to_everybody_and_nothing_beside_it() -> None:
    async def test(place: Place) -> None:
        files = sorted(Page().paths)
        assert "/" in files
        for path in files:
            shown = await place.ask(path)
            assert shown.status == 200
            assert shown.body == (await place.ask(f"/c/{TOKEN}{path}")).body
            # Whoever shows a secret that is none is told so at once.
            assert (await place.ask(f"/c/{OTHER}{path}")).status == 401
            assert (await place.ask(path, "POST")).status == 405
            assert (await place.raw(_of("evil.example", path))).status == 421
            assert (await place.ask(path, Origin="http://evil.example")).status == 403
        beside = ("/board", "/board/", "/board/live", "/index.html", "/board/index.html", "/board/nothing.js")
        for path in (*beside, "//", *strays(files[-1])):
            assert (await place.ask(path)).status == 401, path

    at_door(test, secret())


def test_row_02_every_part_of_a_hub_is_behind_the_guard() -> None:
    async def test(place: Place, _: World) -> None:
        # Whatever a hub lends, by the table that requests are led by.
        for prefix, _part in place.site._parts:
            for path in (prefix, f"{prefix}v1/klines?symbol=BTCUSDT&interval=1m"):
                assert (await place.ask(path)).status == 401, path
                known = await place.ask(path, Authorization=f"Bearer {TOKEN}")
                assert known.status not in {401, 500}, path

    with_hub(test, secret())


def test_row_02_a_secret_says_who_it_is_wherever_it_is_shown() -> None:
    async def test(place: Place) -> None:
        assert name_of(await place.ask(Authorization=f"Bearer {TOKEN}")) == "token"
        assert name_of(await place.ask(Authorization=f"Bearer {OTHER}")) == "freqtrade"
        found = await place.ask(f"/c/{OTHER}/fapi/v1/ping")
        assert json.loads(found.body) == {"name": "freqtrade", "path": "/fapi/v1/ping"}
        for path, headers in (
            (f"/c/{TOKEN}/ws", {}),
            ("/ws", {"Authorization": f"Bearer {TOKEN}"}),
            ("/ws", {"Sec_WebSocket_Protocol": f"klinehub, bearer.{TOKEN}"}),
        ):
            said = await place.knock(path, **headers)
            assert said.status == 101
            assert said.headers.get("sec-websocket-protocol", "klinehub") == "klinehub"

    at_door(test, secret(clients={"freqtrade": OTHER}))


def test_row_02_all_secrets_are_compared_in_constant_time() -> None:
    clients = {f"bot{number}": f"{number:02d}{TOKEN}" for number in range(5)}

    async def test(place: Place) -> None:
        for told in (TOKEN, *clients.values(), OTHER, ""):
            with patch("klinehub.serve.guard.hmac.compare_digest", wraps=hmac.compare_digest) as compared:
                await place.ask(Authorization=f"Bearer {told}")
            assert compared.call_count == 1 + len(clients)

    at_door(test, secret(clients=clients))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1.evil", 421),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.localhost", 421),
        ("169.254.169.254", 421),
        ("0.0.0.0", 421),
        ("127.1", 421),
        ("0x7f.1", 421),
        ("2130706433", 421),
        ("[::]", 421),
        ("[::ffff:127.0.0.1]", 421),
        ("[fe80::1]", 421),
        ("hub", 421),
        ("xn--hb-xka.example", 421),
        ("localhost.", 400),
        ("127.0.0.1.", 400),
        ("evil@127.0.0.1", 400),
        ("127.0.0.1@evil.example", 400),
        ("localhost, evil.example", 400),
        ("localhost evil", 400),
        ("http://localhost", 400),
        ("localhost/../evil", 400),
        ("localhost:", 400),
        ("localhost:8787:evil", 400),
        ("localhost:99999", 400),
        ("localhost:8787@evil.example", 400),
        ("[::1%25eth0]", 400),
        ("[::1", 400),
        ("::1", 400),
        ("\u217cocalhost", 400),
        ("*", 400),
        ("", 400),
    ],
)
def test_row_03_a_page_that_was_pointed_here_is_turned_away(host: str, status: int) -> None:
    async def test(place: Place) -> None:
        for path in (*OWN_PATHS, *DIALECT_PATHS):
            assert (await place.raw(_of(host, path))).status == status
        for path in STREAM_PATHS:
            assert (await place.raw(_of(host, path, websocket=True))).status == status

    at_door(test)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n",
        b"GET http://evil.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET //evil.example/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"CONNECT localhost:8787 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /x HTTP/1.1\r\n Host: localhost\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX: y\r\n Host: localhost\r\n\r\n",
    ],
)
def test_row_03_a_request_names_its_host_once(request_bytes: bytes) -> None:
    async def test(place: Place) -> None:
        assert (await place.raw(request_bytes)).status in {400, 421}

    at_door(test)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:1",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[0:0::0:1]:9",
        "klinehub",
        "10.0.0.7",
    ],
)
def test_row_03_this_machine_and_what_the_user_allowed_are_fine(host: str) -> None:
    async def test(place: Place) -> None:
        assert (await place.raw(_of(host, "/x"))).status == 200
        assert (await place.raw(_of(host, "/ws", websocket=True))).status == 101

    at_door(test, ServeSettings(**LOCAL, allowed_hosts=("KlineHub", "10.0.0.7")))


@pytest.mark.parametrize("name", ["*", "http://hub", "hub:8787", "hub.", "", ".example.com", "a b"])
def test_row_03_what_is_allowed_is_a_name_or_an_address(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"serve\.allowed_hosts"):
        Guard(ServeSettings(allowed_hosts=(name,)))


ORIGINS: Final = (
    "http://evil.example",
    "https://127.0.0.1.evil",
    "http://localhost:3000",
    "http://localhost",
    "https://localhost:1",
    "null",
    "",
    "file://",
    "ftp://127.0.0.1:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}@evil.example",
    "http://evil@127.0.0.1:{port}",
    "http://127.0.0.1:{port}/path",
    "http://127.0.0.1:port",
    "chrome-extension://abcdefgh",
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_row_04_a_strange_page_gets_neither_answers_nor_streams(origin: str) -> None:
    async def test(place: Place) -> None:
        told = origin.format(port=place.port)
        for path in (*OWN_PATHS, *DIALECT_PATHS):
            assert (await place.ask(path, Origin=told)).status == 403
        assert (await place.knock(Origin=told)).status == 403

    at_door(test)


def test_row_04_the_hubs_own_page_is_fine_at_both_ports() -> None:
    async def test(place: Place) -> None:
        for url in (place.site.rest_url, place.site.ws_url):
            for host in ("127.0.0.1", "localhost", "LOCALHOST"):
                origin = f"http://{host}:{url.rsplit(':', 1)[1]}"
                assert (await place.ask(Origin=origin)).status == 200
                assert (await place.knock(Origin=origin)).status == 101
        # Behind a server that speaks TLS, the name of which is allowed.
        proxied = {"Host": "hub.example", "Origin": "https://hub.example"}
        assert (await place.raw(_of("hub.example", "/x", Origin=proxied["Origin"]))).status == 200

    at_door(test, ServeSettings(**LOCAL, allowed_hosts=("hub.example",)))


def test_row_04_what_a_page_elsewhere_embeds_is_turned_away() -> None:
    async def test(place: Place) -> None:
        for mode in ("no-cors", "cors", "websocket", ""):
            said = await place.ask(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode)
            assert said.status == 403
        followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
        assert (await place.ask(**followed)).status == 200
        assert (await place.ask("/fapi/v1/order", "POST", **followed)).status == 403
        assert (await place.ask(Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors")).status == 200

    at_door(test)


def test_row_04_no_page_is_told_that_it_may_read_answers() -> None:
    async def test(place: Place) -> None:
        asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "authorization"}
        for path in (*OWN_PATHS, *DIALECT_PATHS):
            # Each answer is held to that where it is read (tests/security/door.py).
            await place.ask(path, "OPTIONS", Origin=place.site.rest_url, **asked)
            await place.ask(path, Origin=place.site.rest_url)

    at_door(test)


@pytest.mark.parametrize("method", METHODS)
def test_row_05_nothing_of_the_hub_is_changed_by_a_request(method: str) -> None:
    async def test(place: Place) -> None:
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        for path in (*OWN_PATHS, *STREAM_PATHS):
            said = await place.ask(path, method, b"a=b", **form)
            assert (said.status, said.headers["allow"]) == (405, "GET, HEAD")
            assert (await place.ask(path, method, b"a=b", Origin="http://evil.example", **form)).status == 403
        for path in DIALECT_PATHS:
            assert (await place.ask(path, method, b"a=b", Origin="http://evil.example", **form)).status == 403

    at_door(test)


@pytest.mark.parametrize("path", sorted(changes.PATHS))
def test_row_05_a_change_of_rules_shows_a_header_that_no_page_elsewhere_can_send(path: str) -> None:
    shown = {"X_Klinehub": "1", "Content_Type": "application/json"}
    forms = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "")

    async def test(place: Place) -> None:
        assert (await place.ask(path, "POST", b"{}", **shown)).status == 200
        own = {"Origin": f"http://127.0.0.1:{place.port}", "Sec_Fetch_Site": "same-origin"}
        assert (await place.ask(path, "POST", b"{}", **shown, **own)).status == 200
        # What a form or an image of any page can send without asking first.
        for form in forms:
            assert (await place.ask(path, "POST", b"{}", Content_Type=form)).status == 403
            assert (await place.ask(path, "POST", b"{}", **shown | {"Content_Type": form})).status == 415
        for value in ("", "0", "true", "1, 1"):
            assert (await place.ask(path, "POST", b"{}", **shown | {"X_Klinehub": value})).status == 403
        # And what it would need an answer of the hub's for, which gives none.
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-klinehub"}
        for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            assert (await place.ask(path, "POST", b"{}", **shown, **headers)).status == 403
            said = await place.ask(path, "OPTIONS", **asked, **headers)
            assert (said.status, "access-control-allow-origin" in said.headers) == (403, False)
        for method in set(METHODS) - {"POST"}:
            assert (await place.ask(path, method, b"{}", **shown)).status == 405

    at_door(test)


def test_row_05_a_change_of_rules_needs_the_secret_too() -> None:
    shown = {"X_Klinehub": "1", "Content_Type": "application/json"}

    async def test(place: Place) -> None:
        assert (await place.ask(changes.RULES, "POST", b"{}", **shown)).status == 401
        told = await place.ask(changes.RULES, "POST", b"{}", **shown, Authorization=f"Bearer {TOKEN}")
        assert told.status == 200

    at_door(test, ServeSettings(**LOCAL, token=TOKEN))


def test_row_05_the_exchanges_own_paths_answer_other_methods_as_it_does() -> None:
    async def test(place: Place, _: World) -> None:
        for method in METHODS:
            assert (await place.ask("/fapi/v1/klines", method)).status >= 400

    with_hub(test)


def test_row_10_every_answer_tells_browsers_what_they_may() -> None:
    async def test(place: Place) -> None:
        # Each is held to that where it is read (tests/security/door.py): here are all kinds of answers.
        found = [
            await place.ask(),
            await place.ask("/x", "HEAD"),
            await place.ask("/x", "POST"),
            await place.knock(),
            await place.ask(Origin="http://evil.example"),
            await place.raw(_of("evil.example", "/x")),
            await place.raw(b"nonsense\r\n\r\n"),
            await place.ask("/fapi/x", "POST", b"x", Content_Length="100000"),
            await place.ask("/ws/x", Upgrade="nothing"),
            await place.ask("/fails"),
        ]
        assert [said.status for said in found] == [200, 200, 405, 101, 403, 421, 400, 413, 400, 500]
        policy = found[0].headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert found[0].headers["x-content-type-options"] == "nosniff"
        assert "aiohttp" not in str(found[0].headers)

    async def fails(_: web.BaseRequest, __: Caller) -> web.StreamResponse:
        raise RuntimeError

    at_door(test, fails=fails)


def _of(host: str, path: str, *, websocket: bool = False, **headers: str) -> bytes:
    return request(path, Host=host, **(WEBSOCKET if websocket else {}), **headers)
