"""One setting says in which zone times are shown, and every command that shows one keeps to it."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from tests.e2e.conftest import Answering, Run

from klinehub.app.ask import stated

pytestmark = pytest.mark.timeout(150)
ZONE: Final = "Asia/Shanghai"
FILE: Final = f'[output]\ntz = "{ZONE}"\n'
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("klines", "BTCUSDT", "1h", "--limit", "2"), "times in Asia/Shanghai"),
        (("scan", "--once"), " CST"),
        (("universe",), " CST"),
        (("demo", "--once", "--symbols", "3"), " CST"),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else None,
)
@pytest.mark.parametrize("by", ["option", "environment", "file"])
def test_times_are_shown_in_the_zone_of_the_settings(
    run: Run,
    at: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    named: str,
    by: str,
) -> None:
    if by == "environment":
        monkeypatch.setenv("KLINEHUB_OUTPUT_TZ", ZONE)
    if by == "file":
        (tmp_path / "klinehub.toml").write_text(FILE)

    done = run(*command, *(at if command[0] != "demo" else []), *(["--tz", ZONE] if by == "option" else []))

    assert done.code == 0, done
    assert named in done.out
    assert "UTC" not in done.out
    shown = datetime.fromisoformat(MOMENT.findall(done.out)[-1]).replace(tzinfo=ZoneInfo(ZONE))
    assert abs(datetime.now(UTC) - shown) < timedelta(hours=3)


def test_the_end_of_a_ban_is_told_in_the_zone(run: Run, answering: Answering) -> None:
    banning = answering(418, b'{"code":-1003,"msg":"Way too many requests; IP banned."}', retry_after=600)

    klines = run("klines", "BTCUSDT", "1h", "--rest-url", banning, "--tz", ZONE)
    doctor = run("doctor", "--rest-url", banning, "--stream-url", banning, "--tz", ZONE)

    for done, said in ((klines, klines.err), (doctor, doctor.out)):
        assert done.code == 5, done
        found = re.search(rf"({MOMENT.pattern}) CST", said)
        assert found is not None, said
        assert "UTC" not in said
        ends = datetime.fromisoformat(found[1]).replace(tzinfo=ZoneInfo(ZONE))
        assert timedelta(minutes=5) < ends - datetime.now(UTC) < timedelta(minutes=15)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("stale_since", 1_772_712_000_000, "2026-03-05 20:00:00 CST"),
        ("stale_since", 0, ""),
        ("closes", 1_234, "1,234"),
        ("rest_closed", "banned until 2026-03-05 12:00:00 UTC", "banned until 2026-03-05 20:00:00 CST"),
        ("hit_rate", 0.5, "0.5"),
    ],
)
def test_the_status_writes_moments_in_the_zone(name: str, value: float | str, said: str) -> None:
    assert stated(name, value, ZoneInfo(ZONE)) == said
