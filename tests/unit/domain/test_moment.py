"""Moments in texts: written in UTC, shown in any zone."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from klinehub.domain.moment import in_zone, utc, written

NOON = 1_772_712_000_000


def test_a_moment_is_written_to_the_second() -> None:
    assert utc(NOON + 999) == "2026-03-05 12:00:00 UTC"
    assert written(NOON, ZoneInfo("Asia/Shanghai")) == "2026-03-05 20:00:00 CST"
    assert written(NOON, UTC, named=False) == "2026-03-05 12:00:00"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"banned until {utc(NOON)}, ask later", "banned until 2026-03-05 13:00:00 CET, ask later"),
        (
            f"{utc(NOON)} to {utc(NOON + 86_400_000 * 120)}",
            "2026-03-05 13:00:00 CET to 2026-07-03 14:00:00 CEST",
        ),
        ("2026-03-05 12:00:00 of no zone", "2026-03-05 12:00:00 of no zone"),
        ("2026-13-05 12:00:00 UTC is none", "2026-13-05 12:00:00 UTC is none"),
        ("2026-03-05", "2026-03-05"),
    ],
)
def test_moments_in_a_text_are_shown_in_a_zone(text: str, shown: str) -> None:
    assert in_zone(text, ZoneInfo("Europe/Berlin")) == shown
    assert in_zone(text, UTC) == text
