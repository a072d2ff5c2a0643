"""Asking for klines: what is sent for a range, and which of the answer's bars it proves closed."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from tests.unit.feed.telling import at, rows

from klinehub.domain.timeframe import timeframe
from klinehub.errors import DataError
from klinehub.feed.asking import ask_klines
from klinehub.feed.decisions import Fetch
from klinehub.feed.rest import Answer, RestClient
from klinehub.feed.use import Use
from klinehub.feed.venue import COINM, USDM, Venue
from klinehub.panel.merge import PROOF, proven

LINE = b'[1791241200000,"1.5","2.0","1.0","1.7","3.25",1791241259999,"4.5",7,"1.25","2.5","0"]'


class Rest:
    """Answers every question with one body, and keeps the questions."""

    venue = USDM

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[tuple[str, dict[str, str | int], int, Use]] = []

    async def ask(self, path: str, params: Mapping[str, str | int], *, weight: int, use: Use) -> Answer:
        self.asked.append((path, dict(params), weight, use))
        return Answer(self.body, 123, 456)


async def asked_for(fetch: Fetch, body: bytes = b"[]", venue: Venue = USDM) -> tuple[Any, ...]:
    rest = Rest(body)
    rest.venue = venue
    exact, answer = await ask_klines(cast("RestClient", rest), fetch)
    assert answer == Answer(body, 123, 456)
    (question,) = rest.asked
    return (*question, exact)


@pytest.mark.parametrize(
    ("limit", "weight"), [(99, 1), (100, 2), (499, 2), (500, 5), (1_000, 5), (1_500, 10)]
)
async def test_a_range_is_asked_for_by_its_start_with_its_weight_and_use(limit: int, weight: int) -> None:
    path, params, spent, use, _ = await asked_for(Fetch("A", "5m", at(0), limit, Use.REPAIR))

    assert path.endswith("/klines")
    assert params == {"symbol": "A", "interval": "5m", "limit": limit, "startTime": at(0)}
    assert (spent, use) == (weight, Use.REPAIR)


async def test_a_market_that_counts_from_the_end_is_told_where_a_range_ends() -> None:
    _, params, _, _, _ = await asked_for(Fetch("A", "5m", at(0), 3), venue=COINM)
    _, newest, _, _, _ = await asked_for(Fetch("A", "5m", None, 3), venue=COINM)

    assert params == {
        "symbol": "A",
        "interval": "5m",
        "limit": 3,
        "startTime": at(0),
        "endTime": at(0) + 3 * 300_000 - 1,
    }
    assert "endTime" not in newest


async def test_the_newest_bars_are_asked_for_without_a_start() -> None:
    _, params, _, use, _ = await asked_for(Fetch("A", "1m", None, 2))

    assert params == {"symbol": "A", "interval": "1m", "limit": 2}
    assert use is Use.WARM_UP


async def test_the_answer_is_read_exactly() -> None:
    *_, exact = await asked_for(Fetch("A", "1m", None, 2), b"[%s]" % LINE)

    assert exact.rows.tolist() == [(1_791_241_200_000, 1.5, 2.0, 1.0, 1.7, 325, 45, 7, 125, 25)]


async def test_a_body_of_no_klines_is_refused() -> None:
    with pytest.raises(DataError):
        await asked_for(Fetch("A", "1m", None, 2), b'{"code":0}')


def test_only_bars_that_were_over_two_seconds_before_the_question_are_proven() -> None:
    told = rows("A", "5m", 0, 2)

    for asked, count in ((at(15) - 1 + PROOF, 3), (at(15) - 2 + PROOF, 2), (at(0), 0)):
        assert proven(timeframe("5m"), told, asked).rows.tolist() == told.rows[:count].tolist()


@pytest.mark.parametrize(
    ("name", "start", "limit"),
    [
        ("5m", 1_791_241_200_000, 2),  # bars of another length
        ("1m", 1_791_241_260_000, 2),  # bars from before the range
        ("1m", 1_791_241_200_000, 0),  # more bars than asked for
    ],
)
async def test_the_answer_to_another_question_is_refused(name: str, start: int, limit: int) -> None:
    with pytest.raises(DataError, match="it is set aside"):
        await asked_for(Fetch("A", name, start, limit), b"[%s]" % LINE)
