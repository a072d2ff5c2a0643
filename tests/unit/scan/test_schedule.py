"""The schedule: the newest bar is scanned, older ones are skipped and counted, late ones scan it again."""

from klinehub.feed.decisions import BarClosed, Revision
from klinehub.scan.schedule import Due, Schedule


def closed(bar: int, timeframe: str = "5m", *missing: str) -> BarClosed:
    return BarClosed(timeframe, bar, bar * 300_000, not missing, missing)


def test_what_closes_is_due_once() -> None:
    schedule = Schedule(["5m"])
    schedule.note([closed(7), closed(3, "1h")], [])

    assert schedule.next() == Due("5m", 7, (), 0)
    assert schedule.next() is None
    assert schedule.skipped == 0


def test_a_bar_that_waits_too_long_is_skipped_and_counted() -> None:
    schedule = Schedule(["5m", "1h"])
    schedule.note([closed(7), closed(3, "1h"), closed(8)], [])
    schedule.note([closed(9, "5m", "AUSDT")], [])

    assert schedule.next() == Due("1h", 3, (), 0)
    assert schedule.next() == Due("5m", 9, ("AUSDT",), 0)
    assert schedule.next() is None
    assert schedule.skipped == 2


def test_many_late_bars_scan_the_last_bar_once_more() -> None:
    schedule = Schedule(["5m"])
    schedule.note([closed(7, "5m", "AUSDT", "BUSDT")], [])
    schedule.next()
    schedule.note([], [Revision("5m", 7, "AUSDT"), Revision("5m", 7, "BUSDT"), Revision("5m", 6, "CUSDT")])

    assert schedule.next() == Due("5m", 7, (), 1)
    assert schedule.next() is None
    schedule.note([], [Revision("5m", 7, "AUSDT")])
    assert schedule.next() == Due("5m", 7, (), 2)


def test_a_revision_of_what_was_never_scanned_or_is_old_scans_nothing() -> None:
    schedule = Schedule(["5m"])
    schedule.note([], [Revision("5m", 7, "AUSDT")])
    assert schedule.next() is None

    schedule.note([closed(7), closed(8)], [])
    schedule.next()
    schedule.note([], [Revision("5m", 7, "AUSDT"), Revision("1h", 8, "AUSDT")])
    assert schedule.next() is None


def test_a_revision_that_waits_is_no_bar_that_was_skipped() -> None:
    schedule = Schedule(["5m"])
    schedule.note([closed(7)], [])
    schedule.next()
    schedule.note([closed(8)], [Revision("5m", 7, "AUSDT")])

    assert schedule.next() == Due("5m", 8, (), 0)
    assert schedule.skipped == 0
