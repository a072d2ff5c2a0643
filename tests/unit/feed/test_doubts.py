"""Doubts: how often, and how late, REST has to tell a closed bar otherwise before it is corrected."""

from typing import Final

import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, MINUTE, NAMES, START, repair
from tests.unit.panel.model import SCALE

from klinehub.feed import doubts as module
from klinehub.feed.doubts import AGAIN, CONFIRMED_AFTER, Doubts
from klinehub.feed.repair import SURE

KEY: Final = (0, 1, START)
ENDED: Final = START + MINUTE - 1
SURELY: Final = ENDED + SURE
LATER: Final = SURELY + 10 * MINUTE
OLD, NEW, OTHER = (START, 1), (START, 2), (START, 3)


@pytest.fixture
def doubts() -> Doubts:
    return Doubts(a_ring(NAMES, SCALE, FRAMES))


def test_a_first_difference_corrects_nothing_and_is_asked_about(doubts: Doubts) -> None:
    assert not doubts.differs(KEY, NEW, LATER)
    assert (len(doubts), doubts.raised) == (1, 1)
    assert doubts.fetches(LATER + CONFIRMED_AFTER - 1) == []
    assert doubts.fetches(LATER + CONFIRMED_AFTER) == [repair("B", "1m", START, 1)]


def test_the_same_words_told_later_confirm_it(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)

    assert not doubts.differs(KEY, NEW, LATER + CONFIRMED_AFTER - 1)
    assert doubts.differs(KEY, NEW, LATER + CONFIRMED_AFTER)
    assert len(doubts) == 0
    assert not doubts.differs(KEY, NEW, LATER + 3 * CONFIRMED_AFTER)


def test_an_answer_soon_after_the_close_confirms_nothing(doubts: Doubts) -> None:
    """The exchange amends bars for a while, and its replicas lag behind."""
    doubts.differs(KEY, NEW, ENDED + 2_000)

    assert not doubts.differs(KEY, NEW, ENDED + 2_000 + CONFIRMED_AFTER)
    assert doubts.fetches(SURELY - 1) == []
    assert doubts.fetches(SURELY) != []
    assert doubts.differs(KEY, NEW, SURELY)


def test_a_correction_takes_two_answers_ten_seconds_apart_and_a_minute_after_the_end(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, ENDED + 45_000)
    assert not doubts.differs(KEY, NEW, ENDED + 59_999)
    assert doubts.differs(KEY, NEW, ENDED + 60_000)

    doubts.differs(KEY, NEW, LATER)
    assert not doubts.differs(KEY, NEW, LATER + 9_999)
    assert doubts.differs(KEY, NEW, LATER + 10_000)


def test_the_same_words_told_too_soon_do_not_hurry_the_question(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    doubts.differs(KEY, NEW, LATER + 100)

    assert doubts.fetches(LATER + CONFIRMED_AFTER - 1) == []
    assert doubts.fetches(LATER + CONFIRMED_AFTER) == [repair("B", "1m", START, 1)]


def test_other_words_begin_the_doubt_anew(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    assert not doubts.differs(KEY, OTHER, LATER + CONFIRMED_AFTER)
    assert doubts.raised == 1
    assert not doubts.differs(KEY, NEW, LATER + 2 * CONFIRMED_AFTER)
    assert doubts.differs(KEY, NEW, LATER + 3 * CONFIRMED_AFTER)


def test_the_word_of_the_stream_raises_a_doubt_and_confirms_none(doubts: Doubts) -> None:
    assert not doubts.differs(KEY, None, LATER)
    assert not doubts.differs(KEY, None, LATER + CONFIRMED_AFTER)
    assert not doubts.differs(KEY, NEW, LATER + 2 * CONFIRMED_AFTER)
    assert not doubts.differs(KEY, None, LATER + 3 * CONFIRMED_AFTER)
    assert doubts.differs(KEY, NEW, LATER + 4 * CONFIRMED_AFTER)
    assert doubts.raised == 1


def test_an_answer_that_tells_the_bar_as_it_is_kept_ends_the_doubt(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    doubts.agrees(KEY, LATER - 1)
    assert len(doubts) == 1
    doubts.agrees((0, 2, START), LATER + 1)
    assert len(doubts) == 1
    doubts.agrees(KEY, LATER)
    assert len(doubts) == 0
    doubts.agrees(KEY, LATER)
    assert doubts.fetches(LATER + CONFIRMED_AFTER) == []


def test_a_bar_is_asked_about_by_one_request_at_a_time(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    now = LATER + CONFIRMED_AFTER
    assert len(doubts.fetches(now)) == 1
    assert doubts.fetches(now + MINUTE) == []

    assert doubts.landed(KEY, now + MINUTE)
    assert not doubts.landed(KEY, now + MINUTE)
    assert doubts.fetches(now + MINUTE + AGAIN - 1) == []
    assert len(doubts.fetches(now + MINUTE + AGAIN)) == 1


def test_an_answer_in_the_very_ms_of_its_question_is_not_followed_by_another_at_once(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    now = LATER + CONFIRMED_AFTER
    doubts.fetches(now)
    doubts.landed(KEY, now)

    assert doubts.fetches(now + AGAIN - 1) == []
    assert len(doubts.fetches(now + AGAIN)) == 1


def test_what_was_not_asked_for_by_a_doubt_is_none_of_its_answers(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)

    assert not doubts.landed(KEY, LATER)
    assert not doubts.landed((0, 0, START), LATER)


def test_an_answer_that_told_other_words_is_not_put_off_twice(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    now = LATER + CONFIRMED_AFTER
    doubts.fetches(now)
    doubts.differs(KEY, OTHER, now)
    doubts.landed(KEY, now + 50)

    assert doubts.fetches(now + CONFIRMED_AFTER - 1) == []
    assert len(doubts.fetches(now + CONFIRMED_AFTER)) == 1


def test_a_doubt_settled_by_its_answer_is_not_asked_about_again(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    now = LATER + CONFIRMED_AFTER
    doubts.fetches(now)
    assert doubts.differs(KEY, NEW, now)

    assert doubts.landed(KEY, now + 50)
    assert doubts.fetches(now + 10 * MINUTE) == []


def test_after_a_jump_of_the_clock_every_doubt_is_asked_about_at_once(doubts: Doubts) -> None:
    doubts.differs(KEY, NEW, LATER)
    doubts.differs((1, 0, START), NEW, LATER)
    doubts.forget()

    assert [fetch.symbol for fetch in doubts.fetches(START)] == ["B", "A"]


def test_there_are_no_more_doubts_than_there_is_room_for(
    doubts: Doubts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_DOUBTS", 2)
    for row in range(3):
        assert not doubts.differs((0, row, START), NEW, LATER)

    assert (len(doubts), doubts.raised, doubts.dropped) == (2, 3, 1)
    assert doubts.differs((0, 0, START), NEW, LATER + CONFIRMED_AFTER)
    assert not doubts.differs((0, 2, START), NEW, LATER + CONFIRMED_AFTER)
    assert (len(doubts), doubts.dropped) == (2, 1)
