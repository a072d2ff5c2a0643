"""Every command as a user runs it: what it prints, in which form, and with which code it ends."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import KLINEHUB, Answering, Run, environment, started

pytestmark = pytest.mark.timeout(120)


def test_klines_of_one_symbol_as_table_and_as_json(run: Run, at: list[str]) -> None:
    table, document = (
        run("klines", "btcusdt", "5m", *at),
        run("klines", "BTCUSDT", "5m", "--limit", "3", "--json", *at),
    )

    assert (table.code, document.code) == (0, 0)
    assert "BTCUSDT 5m" in table.out
    found = json.loads(document.out)
    assert (found["symbol"], found["timeframe"], len(found["klines"])) == ("BTCUSDT", "5m", 3)
    assert all(len(row) == 12 and isinstance(row[1], str) for row in found["klines"])


def test_a_scan_without_a_hub_fetches_just_what_it_reads(run: Run, at: list[str]) -> None:
    done = run("scan", "--once", "--json", "--min-score", "5", *at)

    found = json.loads(done.out)
    assert done.code == 0
    assert found["api_calls"] == 0
    assert len(found["result"]["results"]) > 6
    assert all(abs(hit["score"]) >= 5 for hit in found["result"]["results"])
    assert all(sum(hit["contributions"].values()) == hit["score"] for hit in found["result"]["results"])
    assert "36 requests" in done.err


def test_a_scan_of_the_universe_looks_at_what_the_rules_choose(
    run: Run, at: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "klinehub.toml"
    file.write_text(f'[universe]\nrecord = "{tmp_path}/universe.jsonl"\nmost = 5\npins = ["XRPUSDT"]\n')
    table, chosen = (
        run("universe", "--config", str(file), *at),
        run("universe", "--json", "--config", str(file), *at),
    )
    scan = run("scan", "--once", "--universe", "--json", "--config", str(file), *at)

    symbols = set(json.loads(chosen.out)["symbols"])
    assert (table.code, chosen.code, scan.code, len(symbols)) == (0, 0, 0, 5)
    assert "XRPUSDT" in symbols
    assert "5 symbols at" in table.out
    result = json.loads(scan.out)["result"]
    recorded = [json.loads(line) for line in (tmp_path / "universe.jsonl").read_text().splitlines()]
    assert {hit["symbol"] for hit in result["results"]} <= {one["symbol"] for one in recorded}
    assert result["universe"] == recorded[0]["time"]
    assert (result["symbols"], len(recorded)) == (5, 5)


def test_verify_finds_no_difference(run: Run, at: list[str]) -> None:
    done = run("verify", "--json", "--most", "4", "--bars", "60", *at)

    found = json.loads(done.out)
    assert (done.code, found["different"], found["failed"]) == (0, [], {})
    assert found["checked"] == 4 * 4 * 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("klines", "BTCUSD", "5m"), "Did you mean 'BTCUSDT'?"),
        (("klines", "BTCUSDT", "5x"), "Did you mean '5m'?"),
        (("scan", "--once", "--timeframe", "7m"), "Unknown timeframe '7m'"),
        (("scan", "--once", "--every", "5"), "leave --every out"),
        (("scan", "--once", "--timeframes", "1m,1x"), "Unknown timeframe '1x'"),
        (("run", "--exchange", "binance-usdn"), "Did you mean 'binance-usdm'?"),
        (("scan", "--once", "--tz", "Mars/Base"), "Europe/Berlin"),
        (("scan", "--once", "--symbols", "BTCUSDT,ETHUST"), "Did you mean 'ETHUSDT'?"),
        (("scan", "--once", "--proxy", "ftp://x"), "supported are http, https and socks5h"),
        (("scan", "--onse"), "--once"),
        (("scam",), "scan"),
        (("scan", "--once", "--bars", "0"), "`bars` is 0"),
        (("scan", "--once", "--bars", "100000"), "from 1 to 1499"),
        (("scan", "--once", "--min-turnover", "nan"), "`min_turnover` is nan"),
        (("scan", "--once", "--min-score", "1000"), "from 0 to 100"),
        (("scan", "--once", "--top", "-3"), "at least 1 row"),
        (("scan", "--once", "--batch", "0"), "`batch` is 0"),
        (("sim", "--speed", "0"), "--speed"),
        (("sim", "--port", "99999"), "--port"),
        (("demo", "--once", "--speed", "-1"), "--speed"),
        (("bench", "ingets"), "Did you mean 'ingest'?"),
    ],
)
def test_a_wrong_word_ends_with_two_and_the_nearest_right_one(
    run: Run, at: list[str], arguments: tuple[str, ...], said: str
) -> None:
    reaching = at if arguments[0] in {"klines", "scan", "run"} and "--onse" not in arguments else []

    done = run(*arguments, *reaching)

    assert done.code == 2, done
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_no_exchange_no_proxy_and_no_hub_are_told_apart(run: Run) -> None:
    refused = run("klines", "BTCUSDT", "1m", "--rest-url", "http://127.0.0.1:9")
    proxy = run(
        "klines", "BTCUSDT", "1m", "--rest-url", "http://fapi.test", "--proxy", "http://a:secret@127.0.0.1:9"
    )
    hub = run("status")

    assert (refused.code, proxy.code, hub.code) == (3, 4, 1)
    assert "refused the connection" in refused.err
    assert "network.proxy" in proxy.err
    assert "secret" not in proxy.err
    assert "klinehub run" in hub.err


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (418, b'{"code":-1003,"msg":"IP banned until 4102444800000."}', 5, "status 418"),
        (451, b'{"code":0,"msg":"Service unavailable from a restricted location"}', 6, "location"),
        (403, b"<html>blocked</html>", 6, "firewall"),
        (200, b"<html>log in to the hotel</html>", 8, "not the exchange"),
        (400, b'{"code":-1121,"msg":"Invalid symbol."}', 7, "-1121"),
    ],
)
def test_each_refusal_has_its_own_code_and_words(
    run: Run, answering: Answering, status: int, body: bytes, code: int, said: str
) -> None:
    done = run("klines", "BTCUSDT", "1m", "--rest-url", answering(status, body))

    assert done.code == code, done
    assert said in done.err


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_running_hub_answers_other_commands_and_leaves_cleanly(
    run: Run, at: list[str], tmp_path: Path, how: signal.Signals, code: int
) -> None:
    command = ("run", "--json", "--bars", "250", *at)
    with started(*command, folder=tmp_path) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())

        status, rows = run("status", "--json"), run("klines", "BTCUSDT", "1h", "--limit", "2", "--json")
        scan, verified, second = run("scan", "--once", "--json"), run("verify", "--json"), run("run", *at)
        wrong, other = run("klines", "BTCUST", "1h"), run("klines", "BTCUSDT", "2h")
        hour = run("scan", "--once", "--json", "--timeframe", "1h", "--min-score", "100")
        elsewhere = run("klines", "BTCUSDT", "2h", "--rest-url", at[1])
        process.send_signal(how)
        _, errors = process.communicate(timeout=20)

    assert process.returncode == code
    assert "Traceback" not in errors
    assert json.loads(status.out)["symbols"] == 12
    assert len(json.loads(rows.out)["klines"]) == 2
    assert json.loads(scan.out)["result"]["symbols"] == first["result"]["symbols"]
    assert json.loads(verified.out)["different"] == []
    assert (second.code, "running here already" in second.err) == (2, True)
    assert (wrong.code, "BTCUSDT" in wrong.err) == (2, True)
    assert (other.code, "keeps 1m 5m 15m 1h" in other.err) == (2, True)
    assert elsewhere.code == 0
    assert json.loads(scan.out)["exchange"] == json.loads(status.out)["exchange"] == "binance-usdm"
    strict = json.loads(hour.out)["result"]
    assert (strict["timeframe"], strict["results"]) == ("1h", [])
    assert "warm-up" not in second.err
    assert run("status").code == 1


def test_watching_begins_and_ends_cleanly_and_says_what_is_wrong_before_anything_is_asked(
    run: Run, at: list[str], tmp_path: Path
) -> None:
    nothing, typo = run("watch", *at), run("watch", "BTCUSDT", "--when", "rsj > 70", *at)
    assert (nothing.code, "Nothing to watch" in nothing.err) == (2, True)
    assert (typo.code, "Did you mean 'rsi'?" in typo.err, "warm-up" in typo.err) == (2, True, False)

    command = ("watch", "BTCUSDT", "--when", "close > 0", "--every-bar", "--timeframe", "1m", *at)
    with started(*command, "--journal", "hits.jsonl", folder=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)

    assert (process.returncode, "Traceback" in errors) == (130, False)
    assert "1m  watch  BTCUSDT" in line
    (hit,) = [json.loads(one) for one in (tmp_path / "hits.jsonl").read_text().splitlines()]
    assert (hit["symbol"], hit["screen"]) == ("BTCUSDT", "watch")
    assert "watch" in run("journal", "hits.jsonl").out


def test_watching_prints_lines_of_json_for_other_programs(at: list[str], tmp_path: Path) -> None:
    command = ("watch", "BTCUSDT", "--when", "close > 0", "--every-bar", "--timeframe", "1m", *at)
    with started(*command, "--jsonl", folder=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    hit = json.loads(line)
    assert (process.returncode, hit["pair"], hit["screen"]) == (130, "BTC/USDT:USDT", "watch")
    assert (hit["timeframe"], hit["side"], hit["revision"]) == ("1m", "flat", 0)


def test_help_needs_neither_numba_nor_the_hub() -> None:
    code = "import sys, klinehub.app.cli; print({'numba', 'numpy', 'klinehub.hub'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


@pytest.mark.parametrize("begin", ["12:00:20", "12:02:30", "12:07:30", "12:14:40"])
def test_a_scan_reads_enough_wherever_the_bar_stands(begin: str) -> None:
    command = [*KLINEHUB, "sim", "--port", "0", "--symbols", "4", "--json", "--with-parent"]
    with subprocess.Popen(
        [*command, "--at", f"2026-03-05T{begin}Z"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        done = subprocess.run(
            [*KLINEHUB, "scan", "--once", "--json", "--rest-url", where["rest_url"]],
            capture_output=True,
            text=True,
            check=True,
        )
        process.terminate()
        process.communicate()

    result = json.loads(done.stdout)["result"]
    assert (result["symbols"], result["warming"], result["unavailable"]) == (4, [], [])


def test_a_reader_that_has_seen_enough_is_no_failure(at: list[str], tmp_path: Path) -> None:
    command = ("klines", "BTCUSDT", "1m", "--limit", "1400", "--json", *at)
    with started(*command, folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (0, "")


def test_a_hub_without_a_place_for_its_door_says_so_and_goes_on(at: list[str], tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    command = [*KLINEHUB, "run", "--json", "--bars", "250", *at]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(blocked)
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)

    assert first["api_calls"] == 0
    assert "XDG_RUNTIME_DIR" in errors
    assert process.returncode == 143
