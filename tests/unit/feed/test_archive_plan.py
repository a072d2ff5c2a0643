"""Which files are chosen, what is missing, and what is left to REST."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from klinehub.domain.timeframe import DAY, timeframe
from klinehub.feed.archive_names import ArchiveFile, Kind, file_of
from klinehub.feed.archive_plan import FIRST_DAY, Choice, Series, Span, choose, due_until

MINUTES = Series(Kind.KLINES, "BTCUSDT", timeframe("1m"))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


NOW = at("2026-04-07T12:00")


def file(date: str, what: str = "1m") -> ArchiveFile:
    found = file_of(f"data/BTCUSDT-{what}-{date}.zip")
    assert found is not None
    return found


def days(first: str, count: int, what: str = "1m") -> list[ArchiveFile]:
    begin = at(first)
    dates = (datetime.fromtimestamp((begin + n * DAY) / 1000, UTC) for n in range(count))
    return [file(date.strftime("%Y-%m-%d"), what) for date in dates]


def chosen(
    listed: Iterable[ArchiveFile],
    since: str | None,
    until: str | None = None,
    *,
    series: Series = MINUTES,
    imported: Iterable[str] = (),
    alive: bool = True,
) -> Choice:
    start, end = at(since) if since else FIRST_DAY, at(until) if until else NOW
    return choose(series, list(listed), start, end, now=NOW, imported=set(imported), alive=alive)


def dates(choice: Choice) -> list[str]:
    return [one.name.removeprefix("BTCUSDT-1m-").removesuffix(".zip") for one in choice.files]


ALL = [file("2026-01"), file("2026-02"), file("2026-03"), *days("2026-04-01", 6)]


def span(first: str, last: str, what: str = "1m") -> Span:
    return Span("BTCUSDT", what, at(first), at(last))


def test_the_archive_is_due_after_two_days() -> None:
    assert due_until(NOW) == at("2026-04-06")
    assert due_until(at("2026-04-07")) == at("2026-04-06")


def test_whole_months_come_first_then_days_then_rest() -> None:
    found = chosen(ALL, None)

    assert dates(found) == ["2026-01", "2026-02", "2026-03", *(f"2026-04-0{n}" for n in range(1, 6))]
    assert found.missing == ()
    assert found.tail == (Span("BTCUSDT", "1m", at("2026-04-06"), NOW),)


def test_a_part_of_a_month_comes_as_days() -> None:
    listed = [file("2026-01"), *days("2026-01-01", 31), file("2026-02"), file("2026-03")]
    found = chosen(listed, "2026-01-30", "2026-03-01")

    assert dates(found) == ["2026-02", "2026-01-30", "2026-01-31"]
    assert (found.missing, found.tail) == ((), ())


def test_what_was_imported_is_not_fetched_again() -> None:
    imported = ["BTCUSDT-1m-2026-02.zip", *(f"BTCUSDT-1m-2026-03-{n:02}.zip" for n in range(1, 32))]
    found = chosen([*ALL, *days("2026-03-01", 31)], "2026-01-01", imported=imported)

    assert dates(found) == ["2026-01", *(f"2026-04-0{n}" for n in range(1, 6))]
    assert found.kept == 32
    assert found.missing == ()


def test_a_month_that_was_imported_serves_a_part_of_it_too() -> None:
    found = chosen([file("2026-02")], "2026-02-10", "2026-02-20", imported=["BTCUSDT-1m-2026-02.zip"])

    assert (found.files, found.kept, found.missing) == ((), 1, ())


def test_a_month_with_some_of_its_days_imported_is_fetched_whole() -> None:
    imported = [f"BTCUSDT-1m-2026-03-{n:02}.zip" for n in range(1, 31)]
    found = chosen([file("2026-03"), *days("2026-03-01", 31)], "2026-03-01", "2026-04-01", imported=imported)

    assert dates(found) == ["2026-03"]


def test_days_without_a_file_are_missing() -> None:
    listed = [one for one in [file("2026-02"), *days("2026-03-01", 36)] if "03-10" not in one.name]
    found = chosen(listed, "2026-02-01")

    assert found.missing == (span("2026-03-10", "2026-03-11"),)


def test_a_month_without_a_file_is_missing() -> None:
    found = chosen([file("2026-01"), file("2026-03")], "2026-01-01", "2026-04-01")

    assert found.missing == (span("2026-02-01", "2026-03-01"),)


def test_nothing_is_missing_before_a_symbol_began() -> None:
    assert chosen([file("2026-03"), *days("2026-04-01", 5)], None).missing == ()
    assert chosen(days("2026-04-03", 3), "2025-01-01").missing == ()
    assert chosen([file("2026-03"), *days("2026-03-20", 17)], "2026-03-10").missing == ()


def test_a_first_day_that_lacks_is_missing_where_the_symbol_is_older() -> None:
    found = chosen([file("2026-01"), file("2026-02"), *days("2026-02-11", 18)], "2026-02-10", "2026-03-01")

    assert found.missing == (span("2026-02-10", "2026-02-11"),)


def test_what_trades_no_more_has_no_tail() -> None:
    found = chosen([file("2026-01"), file("2026-02")], None, alive=False)

    assert (found.missing, found.tail) == ((), ())


def test_an_archive_that_is_late_leaves_more_to_rest() -> None:
    found = chosen([file("2026-03"), *days("2026-04-01", 2)], "2026-03-01")

    assert found.missing == ()
    assert found.tail == (Span("BTCUSDT", "1m", at("2026-04-03"), NOW),)


def test_yesterday_comes_by_rest_even_if_it_is_there() -> None:
    assert dates(chosen(days("2026-04-04", 3), "2026-04-04")) == ["2026-04-04", "2026-04-05"]


def test_a_symbol_without_files_is_new_or_never_was() -> None:
    tail = (Span("BTCUSDT", "1m", at("2026-04-06"), NOW),)

    assert chosen([], "2026-01-01") == Choice(tail=tail)
    assert chosen([], "2026-01-01", alive=False) == Choice()


@pytest.mark.parametrize("name", ["3d", "1w", "1M"])
def test_long_bars_come_in_months_alone(name: str) -> None:
    what = "1mo" if name == "1M" else name
    series = Series(Kind.KLINES, "BTCUSDT", timeframe(name))
    found = chosen([file("2026-02", what), file("2026-03", what)], "2026-02-15", series=series)

    assert len(found.files) == 2
    assert found.missing == ()
    assert found.tail == (Span("BTCUSDT", name, at("2026-04-01"), NOW),)


def test_funding_and_metrics_have_neither_holes_nor_a_tail() -> None:
    funding, metrics = (Series(kind, "BTCUSDT", None) for kind in (Kind.FUNDING, Kind.METRICS))
    months = [file("2026-01", "fundingRate"), file("2026-03", "fundingRate")]

    assert len(chosen(months, "2026-01-20", series=funding).files) == 2
    assert chosen(days("2026-04-01", 7, "metrics"), "2026-04-03", series=metrics) == Choice(
        tuple(days("2026-04-03", 3, "metrics"))
    )
