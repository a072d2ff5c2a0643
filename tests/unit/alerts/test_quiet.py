"""Quiet hours: by the wall clock, over midnight, and on the nights when clocks are set."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.alerts.quiet import Quiet

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400_000
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"])
MINUTES = st.integers(0, 1_439)
TIMES = st.integers(1_690_000_000_000, 1_790_000_000_000)


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


NIGHT = Quiet(23 * 60, 7 * 60, BERLIN)
NOON = Quiet(12 * 60, 13 * 60 + 30, BERLIN)


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        (NIGHT, "2026-05-05T22:59:59", None),
        (NIGHT, "2026-05-05T23:00:00", "2026-05-06T07:00"),
        (NIGHT, "2026-05-06T06:59:59", "2026-05-06T07:00"),
        (NIGHT, "2026-05-06T07:00:00", None),
        (NOON, "2026-05-06T12:00:00", "2026-05-06T13:30"),
        (NOON, "2026-05-06T13:30:00", None),
        # The night of summer time is an hour shorter, that of winter time an hour longer.
        (NIGHT, "2026-03-28T23:30:00", "2026-03-29T07:00"),
        (NIGHT, "2026-10-24T23:30:00", "2026-10-25T07:00"),
    ],
)
def test_quiet_hours_last_until_the_wall_clock_says_so(quiet: Quiet, now: str, until: str | None) -> None:
    assert quiet.until(at(now)) == (None if until is None else at(until))


def test_in_the_hour_that_comes_twice_the_end_is_the_next_one() -> None:
    quiet = Quiet(2 * 60, 2 * 60 + 30, BERLIN)

    assert quiet.until(at("2026-10-25T02:10", fold=0)) == at("2026-10-25T02:30", fold=0)
    assert quiet.until(at("2026-10-25T02:10", fold=1)) == at("2026-10-25T02:30", fold=1)


@given(start=MINUTES, end=MINUTES, zone=ZONES, now=TIMES)
def test_an_end_comes_within_a_day_or_so_and_the_last_one_has_been(
    start: int, end: int, zone: str, now: int
) -> None:
    quiet = Quiet(start, (end + 1) % 1_440 if end == start else end, ZoneInfo(zone))

    until = quiet.until(now)

    if until is None:
        assert now - 2 * DAY < quiet.ended(now) <= now
    else:
        assert now < until <= now + DAY + 3_600_000
        assert quiet.until(until - 1) is not None


@given(start=MINUTES, end=MINUTES, zone=ZONES, now=TIMES, minutes=st.integers(0, 4_000))
def test_what_is_awake_is_what_is_not_quiet_minute_by_minute(
    start: int, end: int, zone: str, now: int, minutes: int
) -> None:
    now -= now % 60_000
    quiet = Quiet(start, (end + 1) % 1_440 if end == start else end, ZoneInfo(zone))

    awake = quiet.awake(now, now + minutes * 60_000, most=10 * DAY)

    assert awake == 60_000 * sum(quiet.until(now + n * 60_000) is None for n in range(minutes))


def test_a_long_time_is_not_counted_to_its_end() -> None:
    assert DAY < NIGHT.awake(0, 400 * DAY, most=DAY) < 3 * DAY
