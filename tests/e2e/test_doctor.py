"""`klinehub doctor` as a user runs it: in front of an exchange, of a wrong route, and of nothing at all."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import KLINEHUB, Run, environment
from tests.proxies import Proxy, running

from klinehub.app import doctor, library
from klinehub.app.exits import code_of
from klinehub.feed.account import Account
from klinehub.feed.diagnosis import Check, Verdict
from klinehub.feed.doctor import Elsewhere
from klinehub.feed.venue import USDM

pytestmark = pytest.mark.timeout(120)
DEAD = ["--rest-url", "http://127.0.0.1:9", "--stream-url", "ws://127.0.0.1:9/market/stream"]


def test_a_right_way_is_fine_and_ends_with_zero(run: Run, at: list[str]) -> None:
    done = run("doctor", *at)

    assert done.code == 0, done
    assert "All is fine: REST answers, the clocks agree, klines arrive." in done.out
    assert "first kline after" in done.out
    assert "sent no kline in 3 s, as it should be" in " ".join(done.out.split())
    assert "What still works" not in done.out
    assert done.err == ""


def test_the_document_says_all_of_it(run: Run, at: list[str]) -> None:
    done = run("doctor", "--json", *at)

    told = json.loads(done.out)
    assert (done.code, told["exit_code"], told["verdict"], told["banned_until"]) == (0, 0, "fine", 0)
    assert set(told) == {
        *("exchange", "verdict", "summary", "advice", "works", "banned_until", "exit_code", "findings")
    }
    assert [(one["check"], one["ok"]) for one in told["findings"]] == [
        ("REST", True),
        ("clock", True),
        ("WebSocket", True),
        ("other route", False),
        ("other route", False),
    ]
    assert set(told["findings"][0]) == {"check", "route", "verdict", "ok", "detail", "advice", "seconds"}


def test_a_wrong_route_is_told_with_the_right_one(run: Run, at: list[str]) -> None:
    right = at[3]
    done = run("doctor", "--json", *at[:3], right.replace("/market", ""))

    told = json.loads(done.out)
    assert (done.code, told["verdict"]) == (2, "wrong-route")
    assert right in told["advice"]


def test_where_nothing_is_the_verdict_is_an_outage(run: Run) -> None:
    done = run("doctor", *DEAD)

    assert done.code == 3, done
    assert "127.0.0.1:9 refused the connection" in done.out
    assert "Check that the exchange runs at this address" in done.out
    assert "Nothing of what was tried works." in done.out
    assert "other route" not in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rest-url", "fapi.binance.com"), "write it like"),
        (("--exchange", "binance-usdn"), "Did you mean 'binance-usdm'?"),
        (("--timeout", "0"), "`timeout` is 0"),
        (("--proxy", "ftp://x"), "supported are http, https and socks5h"),
    ],
)
def test_a_wrong_option_is_no_verdict(run: Run, arguments: tuple[str, ...], said: str) -> None:
    done = run("doctor", *DEAD, *arguments)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_ban_on_file_is_obeyed_and_a_new_one_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "account"
    monkeypatch.setattr(doctor, "system_account", lambda _: Account(path))
    until = library.system_clock().now() + 90_000
    file = Account(path)
    file.ban("127.0.0.1:9", until)

    told = json.loads(run("doctor", "--json", *DEAD).out)

    assert (told["verdict"], told["banned_until"], told["exit_code"]) == ("ban", until, 5)
    file.ban("127.0.0.1:9", 0)
    kept = doctor.SharedAccount("http://127.0.0.1:8")
    assert kept.begin(until - 90_000).banned_until == 0
    kept.end(until)
    record = file.read("127.0.0.1:8")
    assert record is not None
    assert record.banned_until == until
    assert sum(slot.used for slot in record.slots) == 5
    assert sum(slot.flying for slot in record.slots) == 0
    file.close()


def test_an_exchange_on_this_machine_has_no_account() -> None:
    assert library.system_account("http://localhost:9000") is None
    assert library.system_account("https://fapi.binance.com") is not None


def test_the_archive_and_spot_are_asked_only_for_the_real_exchange(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = (Elsewhere(Check.ARCHIVE, "http://127.0.0.1:9/x", b"x"),)
    monkeypatch.setattr(doctor, "ELSEWHERE", places)
    asked = [json.loads(run("doctor", "--json", *DEAD).out)["findings"]]
    monkeypatch.setattr(doctor, "USDM", USDM._replace(rest_url=DEAD[1]))
    asked.append(json.loads(run("doctor", "--json", *DEAD).out)["findings"])

    assert ["archive" in {one["check"] for one in findings} for findings in asked] == [False, True]


def test_every_verdict_but_fine_has_an_exit_code() -> None:
    codes = {verdict: code_of(kind) for verdict, kind in doctor.KINDS.items()}

    assert set(codes) == set(Verdict) - {Verdict.FINE}
    assert 0 not in codes.values()


class Cutting(Proxy):
    """Hears the first word of a TLS handshake and cuts the connection, as some firewalls do."""

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()


async def test_a_handshake_that_is_cut_is_told_without_a_traceback(tmp_path: Path) -> None:
    async with running(Cutting()) as server:
        where = f"127.0.0.1:{server.port}"
        command = [*KLINEHUB, "doctor", "--rest-url", f"https://{where}", "--stream-url", f"wss://{where}/ws"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp_path)
        )
        out, errors = await process.communicate()

    assert (process.returncode, errors.decode()) == (3, "")
    assert f"the connection to {where} was cut" in out.decode()
