"""Row 8 of docs/security.md: secrets in settings and the environment, and what commands print."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.conftest import Run, started
from tests.security.door import OTHER, TOKEN
from tests.security.test_secrets import DATABASE, HOOK, MESSENGER, MIRROR, PROXY, SIGNING, leaks

pytestmark = pytest.mark.timeout(180)

COMMANDS: Final[Sequence[Sequence[str]]] = (
    ("demo", "--once", "--json", "--symbols", "4"),
    ("status",),
    ("status", "--json"),
    ("scan", "--once"),
    ("doctor",),
    ("doctor", "--json"),
    ("store", "info"),
    ("store", "info", "--json"),
    ("verify",),
    ("universe",),
    ("klines", "BTCUSDT", "1h"),
    ("download", "BTCUSDT", "1h", "--from", "2026-01-01", "--to", "2026-01-02"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_row_08_no_command_prints_a_secret(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: Sequence[str],
) -> None:
    values = {
        "SERVE_TOKEN": TOKEN,
        "SERVE_CLIENTS": json.dumps({"freqtrade": OTHER}),
        # Nobody is there: what is said of that names the address.
        "NETWORK_PROXY": f"http://me:{PROXY}@127.0.0.1:9",
        "STORE_PATH": f"postgresql://me:{DATABASE}@127.0.0.1:9/klines",
        "EXCHANGE_REST_URL": f"https://me:{MIRROR}@mirror.invalid",
        "EXCHANGE_ARCHIVE_URL": f"https://me:{MIRROR}@mirror.invalid",
        "NETWORK_TIMEOUT": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"KLINEHUB_{name}", value)

    done = run(*command)

    assert leaks(done.out, done.err) == []
    assert "Traceback" not in done.err


def test_row_08_a_hub_that_refuses_to_start_does_not_repeat_its_secret(run: Run) -> None:
    for weak in ("letmein-7", TOKEN[:20]):
        Path("klinehub.toml").write_text(f'[serve]\ntoken = "{weak}"\nhost = "0.0.0.0"\n')

        done = run("run")

        assert (done.code, weak in done.err) == (2, False)
        assert "can be guessed" in done.err


def test_row_08_a_running_hub_tells_no_secret(
    run: Run,
    at: list[str],
    tmp_path: Path,
) -> None:
    # Nobody is there: what is said of that could name the address.
    Path("klinehub.toml").write_text(
        f'[rules.any]\nwhere = "close > 0"\n'
        f'[targets.phone]\nurl = "json://127.0.0.1:9/{MESSENGER}"\n'
        f'[targets.wrong]\nurl = "tgram://{MESSENGER}/1/2"\n'
        f'[webhooks.desk]\nurl = "https://hooks.invalid/{HOOK}"\nsecret = "{SIGNING}"\n'
    )
    told = {"KLINEHUB_SERVE_TOKEN": TOKEN, "KLINEHUB_SERVE_CLIENTS": json.dumps({"freqtrade": OTHER})}
    command = ("run", "--json", "--symbols", "BTCUSDT", *at)
    with started(*command, folder=tmp_path, env=told) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        status = run("status", "--json")
        tried = [run("alerts", "test", name) for name in ("phone", "wrong", "desk")]
        process.terminate()
        out, err = process.communicate()

    assert (status.code, "serving: " in err) == (0, True)
    assert "reaches 2 receivers" in err
    assert [one.code for one in tried] == [1, 1, 1]
    shown = [text for one in tried for text in (one.out, one.err)]
    assert leaks(first, out, err, status.out, status.err, *shown) == []
