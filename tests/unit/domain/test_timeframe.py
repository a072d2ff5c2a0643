"""The UTC grid: every timeframe's bars against the calendar, and names that do not exist."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.domain.timeframe import TIMEFRAMES, Timeframe, in_order, timeframe
from klinehub.errors import UnknownName

NAMES: Final = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MS: Final = timedelta(milliseconds=1)
# 1970 to 2100.
times = st.integers(0, 4_102_444_800_000)
frames = st.sampled_from(NAMES).map(timeframe)


def calendar_open(name: str, time: int) -> datetime:
    """Give the open of the bar that holds *time*, by the calendar alone."""
    moment = EPOCH + time * MS
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    count, unit = int(name[:-1]), name[-1]
    match unit:
        case "m" | "h":
            minutes = (moment - midnight) // timedelta(minutes=1)
            length = count * (60 if unit == "h" else 1)
            return midnight + timedelta(minutes=minutes // length * length)
        case "d":
            return midnight - timedelta(days=(midnight - EPOCH).days % count)
        case "w":
            return midnight - timedelta(days=midnight.weekday())
        case _:
            return midnight.replace(day=1)


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // MS


def test_the_fifteen_timeframes_of_the_exchange_are_known() -> None:
    assert list(TIMEFRAMES) == NAMES


@given(frames, times)
def test_a_bar_opens_where_the_calendar_says(tf: Timeframe, time: int) -> None:
    assert tf.open_time(tf.index(time)) == ms(calendar_open(tf.name, time))


@given(frames, times)
def test_bars_are_numbered_without_a_hole_and_close_before_the_next(tf: Timeframe, time: int) -> None:
    index = tf.index(time)
    opened, following = tf.open_time(index), tf.open_time(index + 1)

    assert opened <= time <= tf.close_time(index) == following - 1
    assert tf.index(opened) == tf.index(following - 1) == index
    assert tf.index(following) == index + 1
    assert following == ms(calendar_open(tf.name, following))


def test_weeks_open_on_monday_and_three_days_count_from_1970() -> None:
    week, three = timeframe("1w"), timeframe("3d")

    assert week.open_time(week.index(ms(datetime(2025, 10, 12, 23, tzinfo=UTC)))) == ms(
        datetime(2025, 10, 6, tzinfo=UTC)
    )
    assert three.open_time(1) == ms(datetime(1970, 1, 4, tzinfo=UTC))


def test_months_are_numbered_by_the_civil_calendar() -> None:
    month = timeframe("1M")

    assert month.index(ms(datetime(2024, 2, 29, 23, 59, tzinfo=UTC))) == 12 * 2024 + 1
    assert month.close_time(12 * 2023 + 11) == ms(datetime(2024, 1, 1, tzinfo=UTC)) - 1


@given(frames, frames, times)
def test_a_timeframe_holds_a_smaller_one_if_each_bar_is_made_of_whole_bars(
    larger: Timeframe, smaller: Timeframe, time: int
) -> None:
    if larger.holds(smaller):
        assert smaller.milliseconds < larger.milliseconds
        edge = larger.open_time(larger.index(time))
        assert smaller.open_time(smaller.index(edge)) == edge


@pytest.mark.parametrize(
    ("larger", "held"),
    [
        ("1m", ""),
        ("3m", "1m"),
        ("5m", "1m"),
        ("1h", "1m 3m 5m 15m 30m"),
        ("8h", "1m 3m 5m 15m 30m 1h 2h 4h"),
        ("3d", "1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d"),
        ("1w", "1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d"),
        ("1M", "1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d"),
    ],
)
def test_which_timeframes_are_made_of_which(larger: str, held: str) -> None:
    assert [name for name in NAMES if timeframe(larger).holds(timeframe(name))] == held.split()


@pytest.mark.parametrize(("name", "near"), [("1H", "1h"), ("60m", "30m"), ("5min", "5m"), ("1D", "1d")])
def test_an_unknown_timeframe_is_answered_with_the_nearest_one(name: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"Unknown timeframe '{name}'. Did you mean '{near}'"):
        timeframe(name)


def test_names_are_put_in_order_once_each() -> None:
    assert [tf.name for tf in in_order(["1h", "1m", "1M", "1h", "1w"])] == ["1m", "1h", "1w", "1M"]
