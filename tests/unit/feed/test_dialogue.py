"""What is said on a socket: every wanted name is asked for, and a refused one found."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.feed.binance import Answer, Refusal
from klinehub.feed.dialogue import ASK_AGAIN, PATIENCE, Dialogue, Wishes

NAMES = [f"s{n}@kline_1m" for n in range(12)]


@dataclass
class Other:
    """The exchange's side of a dialogue: it refuses bad names, by an error or by ending the socket."""

    bad: set[str] = field(default_factory=set)
    closes: bool = False
    names: set[str] = field(default_factory=set)

    def answer(self, message: str) -> Answer | None:
        asked = json.loads(message)
        names = set(asked["params"])
        if asked["method"] == "UNSUBSCRIBE":
            self.names -= names
        elif names & self.bad:
            return None if self.closes else Answer(asked["id"], Refusal(2, "no"))
        else:
            self.names |= names
        return Answer(asked["id"])


def talk(wishes: Wishes, other: Other, now: float = 0.0, *, attempts: int = 200) -> Dialogue:
    """Let a dialogue come to its end, on a new socket each time that the other side has ended one."""
    for _ in range(attempts):
        dialogue = Dialogue(wishes)
        other.names.clear()
        if resume(dialogue, other, now):
            return dialogue
        assert dialogue.turned_away(now)
    raise AssertionError("it never ends")


def resume(dialogue: Dialogue, other: Other, now: float = 0.0) -> bool:
    while (message := dialogue.next(now)) is not None:
        answer = other.answer(message)
        if answer is None:
            return False
        dialogue.answered(answer, now)
    return True


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "repeat"]), st.sets(st.sampled_from(NAMES)))),
    st.sets(st.sampled_from(NAMES)),
    st.booleans(),
)
def test_whatever_is_wished_the_exchange_ends_up_with_the_wanted_good_names(
    steps: list[tuple[str, set[str]]],
    bad: set[str],
    closes: bool,  # noqa: FBT001 - drawn
) -> None:
    wishes, other = Wishes(NAMES[:6]), Other(bad, closes)
    dialogue = talk(wishes, other)
    for now, (step, names) in enumerate(steps):
        if step == "repeat":
            dialogue.repeat(sorted(names))
        else:
            getattr(wishes, step)(sorted(names))
        if not resume(dialogue, other, now):
            assert dialogue.turned_away(now)
            dialogue = talk(wishes, other, now)
        assert dialogue.settled
        assert other.names == set(wishes.names) - bad
        assert set(wishes.refused) == set(wishes.names) & bad
        assert wishes.suspects == [] or closes


@given(st.integers(1, 1000), st.data())
def test_one_bad_name_costs_few_messages(count: int, data: st.DataObject) -> None:
    names = [f"s{n}@kline_1m" for n in range(count)]
    bad = data.draw(st.sampled_from(names))
    wishes, other = Wishes(names), Other({bad})
    dialogue = Dialogue(wishes)
    messages = 0
    while (message := dialogue.next(0.0)) is not None:
        messages += 1
        answer = other.answer(message)
        assert answer is not None
        dialogue.answered(answer, 0.0)
    assert wishes.refused == (bad,)
    assert other.names == set(names) - {bad}
    assert messages <= count // 200 + 2 * 8 + 1


def test_a_refused_name_is_asked_for_again_after_an_hour() -> None:
    wishes, other = Wishes(NAMES), Other({NAMES[3]})
    dialogue = talk(wishes, other)
    assert wishes.due == ASK_AGAIN[0]
    assert dialogue.next(ASK_AGAIN[0] - 1) is None
    other.bad.clear()
    assert resume(dialogue, other, ASK_AGAIN[0])
    assert wishes.refused == ()
    assert other.names == set(NAMES)


def test_a_name_that_is_refused_and_no_longer_wanted_is_forgotten() -> None:
    wishes = Wishes(NAMES)
    talk(wishes, Other({NAMES[3]}))
    wishes.remove([NAMES[3]])
    assert wishes.due is None
    wishes.add([NAMES[3]])
    assert wishes.plain() == [name for name in wishes.names if name not in wishes.refused]
    assert NAMES[3] in wishes.plain()


def test_suspects_are_asked_for_alone_and_last() -> None:
    wishes = Wishes(NAMES)
    wishes.suspect([(NAMES[0], NAMES[1]), (NAMES[2],), ("gone@kline_1m",)])
    dialogue = Dialogue(wishes)
    said = []
    for now in range(3):
        message = dialogue.next(now)
        assert message is not None
        said.append(json.loads(message)["params"])
        assert dialogue.said
        assert not dialogue.settled
        assert dialogue.next(now) is None
        dialogue.answered(Answer(now + 1), now)
    assert said == [NAMES[3:], NAMES[:2], NAMES[2:3]]
    assert dialogue.settled
    assert wishes.suspects == []


def test_an_answer_that_never_comes_does_not_hold_up_the_rest() -> None:
    wishes = Wishes(NAMES)
    wishes.suspect([(NAMES[0],)])
    dialogue = Dialogue(wishes)
    assert dialogue.next(0.0) is not None
    assert dialogue.next(PATIENCE - 1) is None
    assert dialogue.next(PATIENCE) is not None


def test_of_several_unanswered_messages_each_is_suspected_whole() -> None:
    wishes = Wishes([f"s{n}@kline_1m" for n in range(400)])
    dialogue = Dialogue(wishes)
    assert dialogue.next(0.0)
    assert dialogue.next(0.2)
    assert dialogue.turned_away(0.3)
    assert [len(group) for group in wishes.suspects] == [200, 200]
    assert not Dialogue(wishes).turned_away(0.3)


@pytest.mark.parametrize("after", [0.0, PATIENCE])
def test_a_close_after_a_refusal_is_told_by_it(after: float) -> None:
    wishes = Wishes([f"s{n}@kline_1m" for n in range(400)])
    dialogue = Dialogue(wishes)
    assert dialogue.next(0.0)
    assert dialogue.next(0.0)
    dialogue.answered(Answer(1, Refusal(4, "Too many subscriptions")), 0.0)
    assert len(wishes.refused) == 200
    assert dialogue.turned_away(after) == (after == 0.0)
    assert wishes.suspects == []


def test_an_answer_to_nothing_is_none() -> None:
    wishes = Wishes(NAMES)
    dialogue = talk(wishes, Other())
    dialogue.answered(Answer(99, Refusal(2, "")), 0.0)
    dialogue.answered(Answer(1), 0.0)
    assert (dialogue.settled, wishes.refused, wishes.suspects) == (True, (), [])
