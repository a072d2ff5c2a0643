"""What a target gets next: one alert, a storm as a digest, a night as a digest, and what is given up."""

from zoneinfo import ZoneInfo

from tests.unit.alerts.telling import kept

from klinehub.alerts.parcel import TOO_OLD, Parcel, Terms, parcel
from klinehub.alerts.quiet import Quiet

HOUR = 3_600_000
# 2023-11-15 06:00 UTC
SIX = 1_700_028_000_000
TERMS = Terms(digest=3, most=50, waiting=100, oldest=HOUR, collect=2_000)
NIGHT = TERMS._replace(quiet=Quiet(23 * 60, 6 * 60, ZoneInfo("UTC")))


def chosen(count: int, now: int, terms: Terms = TERMS, time: int = SIX) -> tuple[int, str] | None:
    found = parcel([kept(n, time=time) for n in range(count)], now, terms)
    return None if found is None else (len(found.alerts), found.refusal)


def test_a_storm_is_waited_for_and_then_one_message() -> None:
    assert chosen(200, SIX + 1_999, TERMS._replace(waiting=300)) is None
    assert chosen(4, SIX + 2_000) == (4, "")
    assert chosen(60, SIX + 2_000) == (50, "")


def test_as_many_as_the_digest_are_single_messages_oldest_first() -> None:
    due = [kept(n, time=SIX + n) for n in range(3)]

    assert parcel(due, SIX + 2_000, TERMS) == Parcel(due[:1])


def test_who_wants_each_alert_waits_for_no_storm() -> None:
    assert chosen(60, SIX, TERMS._replace(digest=0)) == (1, "")


def test_what_came_during_quiet_hours_is_one_message_however_few_it_is() -> None:
    assert chosen(2, SIX, NIGHT, time=SIX - HOUR) == (2, "")
    before = [kept(1, time=SIX - 7 * HOUR - 1), kept(2, time=SIX - HOUR), kept(3, time=SIX)]
    assert parcel(before, SIX, NIGHT) == Parcel(before[:2])


def test_what_is_too_old_is_given_up_and_quiet_hours_make_nothing_old() -> None:
    assert chosen(2, SIX, time=SIX - HOUR - 1) == (2, TOO_OLD)
    assert chosen(2, SIX, time=SIX - HOUR) == (1, "")
    assert chosen(2, SIX + HOUR, NIGHT, time=SIX - 7 * HOUR) == (2, "")
    assert chosen(2, SIX + HOUR + 1, NIGHT, time=SIX - 7 * HOUR) == (2, TOO_OLD)


def test_of_too_many_the_oldest_are_given_up() -> None:
    assert chosen(101, SIX) == (1, "more than 100 alerts waited")


def test_a_clock_that_went_back_holds_nothing_up() -> None:
    assert chosen(1, SIX - HOUR) == (1, "")
