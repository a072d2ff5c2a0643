"""Planted bugs: each can be planted, and a few are tried here; `make mutants` tries them all."""

from pathlib import Path

import pytest
from tests.sim.mutants import MUTANTS, SEEDS, Bench, Mutant, is_kernel, plant, seeds_for

QUICK = (
    "a close is announced twice",
    "everything is always stale",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_every_bug_can_be_planted(mutant: Mutant, tmp_path: Path) -> None:
    copy = plant(mutant, tmp_path)
    source = (copy / mutant.path).read_text("utf-8")
    compile(source, mutant.path, "exec")
    assert mutant.new in source


def test_bugs_have_names_of_their_own_and_are_tried_on_200_seeds() -> None:
    assert len({one.name for one in MUTANTS}) == len(MUTANTS) >= 20
    assert sorted(seeds_for(MUTANTS[0])) == list(SEEDS)
    assert len(SEEDS) == 200


def test_words_that_are_gone_can_not_be_planted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 times"):
        plant(MUTANTS[0]._replace(old="words that nobody wrote"), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_few_bugs_are_found_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    chosen = [one for one in MUTANTS if one.name in QUICK]
    assert len(chosen) == len(QUICK)
    assert not any(is_kernel(one) for one in chosen)
    lived = [one.name for one in chosen if bench.killer(one, seeds_for(one)[:3]) is None]
    assert lived == []
