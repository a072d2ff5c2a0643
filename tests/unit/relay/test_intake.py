"""Intake: whatever order messages come in, and however often, each bar closes once and as it was told."""

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.panel.model import exact
from tests.unit.relay.two import COUNT, LATER, MINUTE, START, SYMBOLS, Told, bars_of, loaded, same, told

from klinehub.domain.kline import Scale
from klinehub.domain.stale import Reason
from klinehub.errors import DataError
from klinehub.feed.core import Core
from klinehub.relay.cutting import Cutter
from klinehub.relay.messages import Fix, Pulse


def ended(bar: int) -> int:
    """Give a moment soon after a bar's end."""
    return (bar + 1) * MINUTE + 200


@pytest.mark.timeout(120)
@given(st.integers(0, 10_000))
def test_any_order_and_number_of_messages_gives_the_same_bars_and_closes_each_once(seed: int) -> None:
    source, here = loaded(), Told()
    dice = random.Random(seed)
    parts = [SYMBOLS[:1], SYMBOLS[1:], SYMBOLS]
    messages = [told(source, START + n, part) for n in range(COUNT) for part in parts]
    messages += [told(source, START // 5 + n, t=1) for n in range(COUNT // 5)]
    messages += dice.choices(messages, k=10)
    dice.shuffle(messages)
    now, closed, revised = ended(START + COUNT - 1), [], []
    for message in messages:
        decisions = here.intake.on_bars(message, now)
        closed += decisions.closed
        revised += decisions.revised
        assert not decisions.corrected

    assert same(source, here.core)
    assert [event.bar for event in closed if event.timeframe == "1m"] == [START + n for n in range(COUNT)]
    assert all(event.complete for event in closed)
    assert not revised
    assert here.core.counts.conflicts == 0


def test_a_bar_is_announced_when_all_parts_of_the_market_have_come() -> None:
    source, here = loaded(), Told()

    first = here.intake.on_bars(told(source, START, SYMBOLS[:2]), ended(START))
    assert not first.closed
    second = here.intake.on_bars(told(source, START, SYMBOLS[2:], hub="two"), ended(START))
    assert [(event.bar, event.complete) for event in second.closed] == [(START, True)]


def test_the_larger_bar_is_announced_first_and_equals_the_one_that_is_told() -> None:
    source, here = loaded(), Told(since=START)
    whole = START // 5 + 1
    closed = []
    for bar in range(START, (whole + 1) * 5):
        closed += here.intake.on_bars(told(source, bar), ended(bar)).closed

    assert [event.timeframe for event in closed if event.bar in {whole, whole * 5 + 4}] == ["5m", "1m"]
    before = here.core.counts.closes
    again = here.intake.on_bars(told(source, whole, t=1), ended(bar))
    assert here.core.counts.closes == before
    assert not again.news
    assert here.core.counts.conflicts == 0


def test_what_a_hub_gave_up_is_not_waited_for_and_comes_as_a_revision() -> None:
    source, here = loaded(), Told()
    late = SYMBOLS[2]

    at_close = here.intake.on_bars(told(source, START, SYMBOLS[:2], missing=(late,)), ended(START))
    assert [(event.complete, event.missing) for event in at_close.closed] == [(False, (late,))]
    later = here.intake.on_bars(told(source, START, (late,)), ended(START) + 900)
    assert not later.closed
    assert [(one.symbol, one.bar) for one in later.revised] == [(late, START)]


def test_a_part_of_which_nobody_tells_is_given_up_when_the_grace_is_over() -> None:
    source, here = loaded(), Told()
    here.intake.on_bars(told(source, START, SYMBOLS[:2]), ended(START))

    assert not here.intake.on_timer((START + 1) * MINUTE + 4_000).closed
    over = here.intake.on_timer((START + 1) * MINUTE + 4_600).closed
    assert [event.missing for event in over] == [(SYMBOLS[2],)]


def changed(core: Core, symbol: str, bar: int) -> Fix:
    """Correct a closed bar of one that tells, and give the fix."""
    row, one = core.ring.rows[symbol], bars_of(sum(symbol.encode()))[bar - START]
    new = exact([one])
    new.rows["volume"] += 7
    core.ring.correct(0, row, new)
    words = core.ring.memory.cells[0, row, bar % core.ring.bars]
    return Fix(symbol, tuple(words.tolist()), (*core.ring.scale(row),), "REST told it so twice", 123)


def test_a_fix_changes_a_closed_bar_and_the_larger_one_with_a_record_and_once() -> None:
    source, here = loaded(), Told()
    for bar in range(START, START + COUNT):
        here.intake.on_bars(told(source, bar), ended(bar))
    fix = changed(source, "AAA", START + 6)
    message = told(source, START + 6, fixes=(fix,))

    found = here.intake.on_bars(message, ended(START + COUNT)).corrected
    assert [(one.symbol, one.timeframe, one.cause) for one in found] == [
        ("AAA", "1m", "REST told it so twice"),
        ("AAA", "5m", "REST told it so twice"),
    ]
    assert same(source, here.core)
    assert not here.intake.on_bars(message, ended(START + COUNT)).news
    assert here.core.counts.conflicts == 0


def test_another_bar_without_a_fix_is_a_conflict_and_changes_nothing() -> None:
    source, here, before = loaded(), Told(), loaded()
    here.intake.on_bars(told(source, START + 6), ended(START + 6))
    changed(source, "AAA", START + 6)

    decisions = here.intake.on_bars(told(source, START + 6), ended(START + 6))
    assert not decisions.corrected
    assert here.core.counts.conflicts == 1
    kept, was = (
        core.ring.panel("1m").exact("AAA", start=START + 6, end=START + 6) for core in (here.core, before)
    )
    assert kept.rows.tobytes() == was.rows.tobytes()


def test_more_decimals_are_taken_over_and_fewer_are_widened() -> None:
    source, here = loaded(), Told()
    source.ring.rescale(source.ring.rows["AAA"], Scale(2, 5, 8))
    here.core.ring.rescale(here.core.ring.rows["BBB"], Scale(2, 6, 6))
    for bar in range(START, START + COUNT):
        here.intake.on_bars(told(source, bar), ended(bar))

    for symbol in SYMBOLS:
        mine, its = (core.ring.panel("1m").klines(symbol, COUNT) for core in (here.core, source))
        assert mine.tobytes() == its.tobytes()


def test_what_is_not_kept_here_is_left_out() -> None:
    source, here = loaded(), Told(symbols=("AAA", "ZZZ"))

    here.intake.on_bars(told(source, START), ended(START))
    assert here.core.ring.is_closed(0, here.core.ring.rows["AAA"], START)
    assert not here.core.ring.is_closed(0, here.core.ring.rows["ZZZ"], START)
    assert not here.intake.on_bars(msgspec.structs.replace(told(source, START), timeframe="1d"), 0).news


def test_a_bar_that_the_exchange_does_not_have_is_known_not_to_be() -> None:
    source, here = loaded(("AAA", "BBB")), Told()
    whole = bars_of(sum(b"CCC"))
    row = source.ring.add("CCC", Scale(2, 3, 5))
    source.watch(["CCC"])
    del whole[4]
    source.ring.load(0, row, exact(whole), LATER)
    source.repair.absent.add((0, row, START + 4))

    for bar in range(START, START + COUNT):
        here.intake.on_bars(told(source, bar), ended(bar))
    assert here.core.repair.absent == {(0, here.core.ring.rows["CCC"], START + 4)}


def test_what_others_told_of_own_symbols_is_said_once_it_is_all_that_is_kept() -> None:
    source, here = loaded(), Told(mine=("AAA", "BBB"))
    row = here.core.ring.rows["AAA"]
    here.core.ring.load(0, row, exact(bars_of(sum(b"AAA"))), LATER)

    here.intake.on_bars(told(source, START, ("BBB", "CCC")), ended(START))
    assert not here.covered
    here.intake.on_bars(told(source, START, ("AAA",)), ended(START))
    assert not here.covered  # BBB is kept too, and not in this message
    here.intake.on_bars(told(source, START, ("AAA", "BBB")), ended(START))
    assert here.covered == [(0, START)]


@pytest.mark.parametrize(
    "broken",
    [
        {"scales": b"\x01"},
        {"slice": b"KS"},
        {"bar": START + 1},
        {"slice": b""},
    ],
)
def test_a_message_that_says_nothing_is_refused_and_changes_nothing(broken: dict[str, object]) -> None:
    source, here = loaded(), Told()

    with pytest.raises((DataError,)):
        here.intake.on_bars(msgspec.structs.replace(told(source, START), **broken), ended(START))
    assert not (here.core.ring.memory.state > 0).any()


def pulse(core: Core, hub: str, now: int, stale: dict[str, tuple[int, int]] | None = None) -> Pulse:
    """Give the pulse of a hub that has all bars of *core*'s symbols."""
    names = tuple(sorted(core.ring.symbols))
    own = np.ones(core.ring.capacity, bool)
    cut = Cutter(core.ring, frozenset).open(0, now // MINUTE, own)
    heard = np.full(len(names), now - 50, "<i8").tobytes()
    return Pulse(hub, "1m", now // MINUTE, now, 1.0, names, heard, *cut, 0, stale or {})


def reasons(here: Told) -> dict[str, int]:
    ring = here.core.ring
    return {symbol: int(ring.memory.stale[row, 0]) for symbol, row in ring.rows.items()}


def test_a_symbol_is_as_fresh_as_its_hub_says_and_stale_when_that_is_silent() -> None:
    source, here = loaded(), Told()
    now = ended(START + COUNT)
    here.intake.on_timer(now)
    assert set(reasons(here).values()) == {Reason.RELAY}

    here.intake.on_pulse(pulse(source, "one", now, {"CCC": (Reason.SILENT, now - 9_000)}), now)
    assert reasons(here) == {"AAA": 0, "BBB": 0, "CCC": Reason.SILENT}
    assert here.core.ring.memory.stale[here.core.ring.rows["CCC"], 1] == now - 9_000
    here.intake.on_timer(now + 2_900)
    assert reasons(here)["AAA"] == Reason.FRESH
    here.intake.on_timer(now + 3_100)
    assert set(reasons(here).values()) == {Reason.RELAY}


def test_of_two_hubs_that_follow_a_symbol_the_better_one_counts() -> None:
    source, here = loaded(), Told()
    now = ended(START + COUNT)
    here.intake.on_pulse(pulse(source, "one", now, {"AAA": (Reason.LOST, now - 5_000)}), now)
    here.intake.on_pulse(pulse(source, "two", now), now)

    assert reasons(here)["AAA"] == Reason.FRESH
    here.intake.on_timer(now + 2_000)
    here.intake.on_pulse(pulse(source, "one", now + 2_000, {"AAA": (Reason.LOST, now - 5_000)}), now + 2_000)
    here.intake.on_timer(now + 4_000)
    assert reasons(here)["AAA"] == Reason.LOST


def test_open_bars_come_with_the_pulse_once_the_bar_before_is_announced() -> None:
    source, here = loaded(), Told(since=START + COUNT - 1)
    now = (START + COUNT) * MINUTE + 30_000
    following = bars_of(99, COUNT + 1)[-1:]
    for row in range(3):
        source.ring.load(0, row, exact(following), now)
        source.ring.lift(0, row, -1)
    told_open = pulse(source, "one", now)
    assert len(told_open.symbols) == 3

    here.intake.on_pulse(told_open, now)
    assert here.core.ring.panel("1m").klines("AAA", 1, forming=True).size == 0
    for bar in range(START, START + COUNT):
        here.intake.on_bars(told(source, bar), now)
    here.intake.on_pulse(told_open, now)
    for name in ("1m", "5m"):
        mine, its = (core.ring.panel(name).klines("AAA", 1, forming=True) for core in (here.core, source))
        assert mine.tobytes() == its.tobytes()


def test_own_symbols_are_left_to_the_own_streams() -> None:
    source, here = loaded(), Told(mine=("AAA",))
    now = ended(START + COUNT)
    here.intake.on_pulse(pulse(source, "one", now), now)

    row = here.core.ring.rows["AAA"]
    assert here.core.ring.memory.heard[0, row] == 0
    assert reasons(here)["AAA"] == Reason.STARTING


def test_a_pulse_that_does_not_count_its_symbols_is_refused() -> None:
    here = Told()
    broken = msgspec.structs.replace(pulse(loaded(), "one", LATER), heard=b"12345678")
    with pytest.raises(DataError, match="does not say of each symbol"):
        here.intake.on_pulse(broken, LATER)
