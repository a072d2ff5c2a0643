"""Studies: what is planted is found, what is nothing is called that, and bad data gives a sentence."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.unit.evidence.studies import FIRST, FOREVER, HOUR, SCREEN, TOLD, planes, spoiled, studied, tape_for

from klinehub.errors import DataError, DefinitionError
from klinehub.evidence.members import Listed
from klinehub.evidence.pools import Threads
from klinehub.evidence.portfolio import Costs
from klinehub.evidence.result import Evidence
from klinehub.evidence.study import Asked, study
from klinehub.evidence.tape import Payments, Tape
from klinehub.evidence.trials import Trial
from klinehub.scan.screen import Screen

pytestmark = pytest.mark.timeout(120)


def judged(tape: Tape, screen: Screen = SCREEN, *, log: tuple[Trial, ...] = (), **asked: Any) -> Evidence:
    return studied(tape, screen, log=log, **asked).evidence


def numbers(value: object) -> list[float]:
    """List every number of a result."""
    if isinstance(value, dict):
        return [found for part in value.values() for found in numbers(part)]
    if isinstance(value, list | tuple):
        return [found for part in value for found in numbers(part)]
    return [value] if isinstance(value, float) else []


@pytest.fixture(scope="module")
def planted() -> Evidence:
    return judged(tape_for(planes(1_200, 40, edge=0.3)))


def test_a_planted_edge_is_found_at_its_horizon_and_pays_without_costs(planted: Evidence) -> None:
    at = planted.horizons["1"]

    assert at.rank_ic is not None
    assert 0.2 < at.rank_ic < 0.35
    assert at.quantiles == tuple(sorted(at.quantiles, key=lambda value: value or 0.0))
    assert at.spread is not None
    assert at.spread > 0
    assert planted.verdict.startswith("Higher scores were followed by higher returns over 1 bar")
    assert planted.portfolio.net is not None
    assert planted.portfolio.net > 1.0
    assert planted.deflated_sharpe is not None
    assert planted.deflated_sharpe > 0.99
    assert all((one.rank_ic or 0) > 0.1 for one in (*planted.folds, *planted.tiers, *planted.hours))


def test_costs_eat_what_they_eat() -> None:
    dear = judged(tape_for(planes(1_200, 40, edge=0.3)), costs=Costs(0.05, 0.0))

    assert "Costs eat it" in dear.verdict
    assert dear.portfolio.gross == judged(tape_for(planes(1_200, 40, edge=0.3))).portfolio.gross


def test_a_random_score_is_not_distinguishable_from_noise() -> None:
    told = [judged(tape_for(planes(600, 20, seed=seed))).verdict for seed in range(20)]

    assert sum(one.startswith("Not distinguishable from noise") for one in told) >= 17


def test_an_edge_turned_round_points_the_wrong_way(planted: Evidence) -> None:
    turned = judged(tape_for(planes(1_200, 40, edge=0.3)), Screen(name="t", timeframe="1h", order_by=TOLD))

    assert turned.verdict.startswith("It points the wrong way")
    assert turned.horizons["1"].rank_ic == -(planted.horizons["1"].rank_ic or 0)


def test_the_same_gives_the_same_bytes_whatever_the_workers() -> None:
    bars = planes(900, 20, edge=0.1)
    one, two = (msgspec.json.encode(judged(tape_for(bars), pool=Threads(n))) for n in (1, 2))

    assert one == two
    other = bars.copy()
    other[3, 4, 500] *= 1.0001
    assert judged(tape_for(other)).data != judged(tape_for(bars)).data


def test_other_trials_of_the_time_deflate_and_other_versions_are_told(planted: Evidence) -> None:
    bars = planes(1_200, 40, edge=0.01)
    alone = judged(tape_for(bars))
    mine = Trial(
        kind="judged", screen="told", hash="x", data="d", timeframe="1h", start=0, end=FOREVER, sharpe=0.05
    )
    log = (mine, *(msgspec.structs.replace(mine, screen=f"s{n}", hash=str(n)) for n in range(50)))
    tried = judged(tape_for(bars), log=log)

    assert (alone.trials, tried.trials) == (1, 52)
    assert (tried.deflated_sharpe or 0) < (alone.deflated_sharpe or 0)
    assert tried.notes[0].startswith("Tuned on what it is judged on: 1 other version of told")
    assert not alone.notes[0].startswith("Tuned")


def test_funding_is_paid_by_who_holds_when_it_is_due() -> None:
    bars = planes(600, 20)
    # Due each eight hours, told by the archive a few milliseconds late.
    times = np.arange(FIRST, FIRST + 600, 8) * HOUR.milliseconds + 3
    rising = Payments(times, np.full(times.size, 0.001))
    names = tape_for(bars).base.symbols
    none = judged(tape_for(bars))
    even = judged(tape_for(bars, funding=dict.fromkeys(names, rising)))
    assert none.portfolio.funding is None
    assert any("No funding was recorded" in note for note in none.notes)
    # Longs pay what shorts get.
    assert even.portfolio.funding == pytest.approx(0.0, abs=1e-9)
    assert not any("No funding" in note for note in even.notes)
    # The lowest names are sold, the highest bought: of one that is always bought its half pays.
    bars[7] = np.arange(20)[:, None]
    bought = judged(tape_for(bars, funding={names[-1]: rising}), quantiles=20)
    paid = bought.portfolio.funding or 0.0
    assert paid == pytest.approx(0.5 * 0.001 * 73 * 365 / 25, rel=0.02)


@pytest.mark.parametrize(
    "kind", ["gaps", "constant", "zero", "crash", "infinite", "alone", "short", "unknown"]
)
def test_bad_data_gives_a_sentence_and_no_number_that_is_none(kind: str) -> None:
    found = judged(tape_for(spoiled(kind)), horizons=(1, 4, 24))

    told = numbers(msgspec.to_builtins(found))
    assert all(map(math.isfinite, told))
    assert "nan" not in found.verdict.lower()
    assert "inf" not in found.verdict.lower()
    assert found.verdict.endswith(".")
    if kind in {"constant", "alone", "short", "unknown"}:
        assert found.verdict.startswith("Too little data to conclude anything")
        assert found.horizons["1"].rank_ic_interval is None


def test_a_horizon_longer_than_the_data_is_not_known_and_others_are() -> None:
    found = judged(tape_for(planes(400, 12)), horizons=(1, 1_000))

    assert found.horizons["1000"].rank_ic is None
    assert (found.horizons["1000"].n, found.horizons["1000"].quantiles) == (0, (None,) * 5)
    assert found.horizons["1"].rank_ic is not None


def test_a_crash_of_all_prices_moves_no_rank() -> None:
    calm, crash = planes(600, 30, edge=0.2), planes(600, 30, edge=0.2)
    crash[:4, :, 300:] *= 0.43

    one, two = (judged(tape_for(bars)).horizons["1"].rank_ic for bars in (calm, crash))
    assert one == pytest.approx(two, abs=1e-3)


def test_who_is_delisted_counts_and_the_dead_are_no_survivors() -> None:
    """The planted cheat: to leave out who went to nothing would flatter a score that bought them."""
    bars = planes(600, 20)
    bars[7] = 0.0
    bars[7, 10:15] = 1.0
    for row in range(10, 15):
        bars[:, row, 300 + row :] = np.nan
        bars[3, row, 299 + row] = bars[0, row, 299 + row] * 0.05

    found = judged(tape_for(bars), horizons=(24,), headline=24, quantiles=2)
    assert found.horizons["24"].delisted == 5 * 24
    assert any("end with a delisting" in note for note in found.notes)
    worst = judged(tape_for(planes(600, 20)), horizons=(24,), headline=24)
    assert worst.horizons["24"].delisted == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"horizons": (0, 4)}, "whole numbers from 1"),
        ({"horizons": ()}, "whole numbers from 1"),
        ({"headline": 3}, "choose one of"),
        ({"quantiles": 1}, "give 2 to 20"),
    ],
)
def test_what_can_not_be_measured_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        judged(tape_for(planes(50, 6)), **asked)


def test_no_bars_is_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match="no 1h bars"):
        study(SCREEN, tape_for(planes(50, 6)), 0, 1, Asked(), members=Listed(), code="1")
