"""The log of trials: what counts as one, which ones deflate, and what was tuned on what it is judged on."""

import msgspec
import numpy as np

from klinehub.evidence.trials import Trial, is_new, known_of

FIRST = Trial(kind="judged", screen="mine", hash="a", data="d", timeframe="1h", start=0, end=100, sharpe=0.1)


def other(**changes: object) -> Trial:
    return msgspec.structs.replace(FIRST, **changes)


def test_the_first_is_one_trial_and_was_not_tuned() -> None:
    known = known_of(FIRST, [])

    assert (known.trials, known.tuned, known.ratios.tolist()) == (1, (), [0.1])


def test_the_same_again_is_no_new_trial() -> None:
    assert known_of(FIRST, [FIRST, other(made=7)]).trials == 1
    assert not is_new(FIRST, [other(made=7)])
    assert is_new(FIRST, [other(data="other")])


def test_all_others_on_some_of_the_time_count_and_those_elsewhere_do_not() -> None:
    log = [
        other(screen="b", hash="b", sharpe=0.3),
        other(screen="c", hash="c", start=99, end=200, sharpe=None),
        other(screen="d", hash="d", start=100, end=200),
    ]
    known = known_of(FIRST, log)

    assert known.trials == 3
    np.testing.assert_array_equal(known.ratios, [0.1, 0.3, np.nan])
    assert known.tuned == ()


def test_another_version_of_the_screen_on_this_time_is_tuning() -> None:
    assert known_of(FIRST, [other(hash="b")]).tuned == (
        "1 other version of mine was judged on this time before",
    )
    assert "2 other versions of mine were" in known_of(FIRST, [other(hash="b"), other(hash="c")]).tuned[0]
    assert known_of(FIRST, [other(hash="b", start=100, end=200)]).tuned == ()


def test_weights_that_were_fitted_on_this_time_are_tuned_and_no_trial() -> None:
    known = known_of(FIRST, [other(kind="fitted", start=50, end=150)])

    assert known.tuned == ("its weights were fitted on this time",)
    assert known.trials == 1
    assert known_of(FIRST, [other(kind="fitted", start=100, end=150)]).tuned == ()
