"""Likeness: which scores are alike, which screens are the same, what is said where too little is known."""

import math
from typing import Any, Final

import msgspec
import pytest
from tests.unit.scan.conftest import Panels

from klinehub.factors.expr import field
from klinehub.scan.likeness import (
    NEVER,
    Bucket,
    Calibration,
    Calibrations,
    Outcome,
    kin_of,
    like,
    likeness,
    likenesses,
    line,
)
from klinehub.scan.scanner import compute, default_screen
from klinehub.scan.screen import Screen

FRAMES: Final = ("5m", "15m", "1h")
SCORE: Final = default_screen(FRAMES, "15m")
CHEAP: Final = field("close") < 100
DAY: Final = 86_400_000


def bucket(low: float | None, high: float | None, n: int = 1_204, days: int = 180) -> Bucket:
    outcomes = tuple(Outcome(bars, n, 0.0021, (-0.001, 0.005), 0.53) for bars in (1, 24, 96))
    return Bucket(low, high, n, days, outcomes)


def calibration(screen: Screen, *buckets: Bucket, **changed: Any) -> Calibration:
    usual: dict[str, Any] = {"start": 0, "end": 180 * DAY, "bars": 17_280, "symbols": 6, "made": 1}
    told = {
        "data": "d",
        "code": "c",
        "universe": "u",
        "timeframe": screen.timeframe or "",
        **usual,
        **changed,
    }
    return Calibration(screen=screen.name, hash=screen.uncut.hash, buckets=buckets, **told)


PARTED: Final = (bucket(None, -20.0), bucket(-20.0, 30.0, n=7), bucket(30.0, None, days=12))
KNOWN: Final = Calibrations((calibration(SCORE, *PARTED),))


@pytest.mark.parametrize(("score", "place"), [(-99.0, 0), (-20.0, 1), (29.9, 1), (30.0, 2), (99.0, 2)])
def test_a_score_belongs_to_the_bucket_from_whose_low_end_on_it_lies(score: float, place: int) -> None:
    assert like(KNOWN.screens[0], score) is PARTED[place]


def test_a_score_that_is_not_known_is_like_no_other() -> None:
    assert like(KNOWN.screens[0], None) is None
    assert like(KNOWN.screens[0], math.nan) is None
    assert like(calibration(SCORE), 5.0) is None


def test_hits_of_a_screen_without_a_score_are_all_alike() -> None:
    only = bucket(None, None)

    assert like(calibration(Screen(name="cheap", timeframe="15m", where=CHEAP), only), None) is only


def test_what_only_cuts_hits_down_makes_no_other_screen() -> None:
    cut = msgspec.structs.replace(
        SCORE, top=5, min_score=40.0, side="long", symbols=("BTCUSDT",), columns={"c": field("close")}
    )

    assert cut.hash != SCORE.hash
    assert KNOWN.of(cut, "15m") is KNOWN.screens[0]


def test_a_screen_that_narrows_the_score_is_known_by_the_score_until_it_is_calibrated_itself() -> None:
    narrowed = msgspec.structs.replace(SCORE, name="mine", where=CHEAP)
    both = KNOWN.merged([calibration(narrowed, bucket(None, None))])

    assert kin_of(narrowed)[1:] == kin_of(SCORE)
    assert KNOWN.of(narrowed, "15m") is KNOWN.screens[0]
    assert (both.of(narrowed, "15m") or KNOWN.screens[0]).screen == "mine"


def test_few_hits_or_hits_of_few_days_are_thin_and_it_is_said_why() -> None:
    found = [likeness(KNOWN, SCORE, score) for score in (-50.0, 0.0, 50.0)]

    assert [one.thin for one in found if one] == [
        "",
        "thin: 7 hits on 180 days",
        "thin: 1,204 hits on 12 days",
    ]


def test_a_screen_of_which_nothing_is_known_says_why() -> None:
    other = default_screen(FRAMES, "15m", weights={"rsi": 1.0})
    where = Screen(name="cheap", timeframe="15m", where=CHEAP)
    hourly = default_screen(FRAMES, "1h")

    assert likeness(KNOWN, other, 5.0) is None
    assert KNOWN.of(where, "15m") is KNOWN.of(hourly, "1h") is None
    assert Calibrations().lacking("score", "15m") == NEVER
    assert "another version" in KNOWN.lacking("score", "15m")
    assert "on 15m bars, not on 1h ones" in KNOWN.lacking("score", "1h")
    assert "cheap was never calibrated" in KNOWN.lacking("cheap", "15m")


def test_each_hit_of_a_result_has_its_own_and_all_of_a_bucket_share_one(panels: Panels) -> None:
    result = compute(SCORE, panels, benchmark="BTCUSDT")

    found = likenesses(KNOWN, SCORE, result)

    assert result.results
    assert found.lacking == ""
    assert set(found.hits) == {hit.symbol for hit in result.results}
    for hit in result.results:
        one = found.hits[hit.symbol]
        assert (-math.inf if one.low is None else one.low) <= (hit.score or 0.0)
        assert (hit.score or 0.0) < (math.inf if one.high is None else one.high)
    assert len({id(one) for one in found.hits.values()}) == len({one.low for one in found.hits.values()})


def test_a_later_calibration_takes_the_place_of_the_one_before_and_leaves_others() -> None:
    newer = calibration(SCORE, bucket(None, None), made=2)
    hourly = calibration(default_screen(FRAMES, "1h"), bucket(None, None))

    merged = KNOWN.merged([hourly]).merged([newer])

    assert [(one.timeframe, one.made) for one in merged.screens] == [("15m", 2), ("1h", 1)]


def test_the_line_of_a_hit_has_every_figure_that_it_needs() -> None:
    found = likeness(KNOWN, SCORE, 50.0)
    assert found is not None

    assert line(found) == (
        "+0.21% median over 24 bars [-0.10, +0.50], 53% went its way, n 1,204, 1970-01-01..1970-06-29 "
        "(thin: 1,204 hits on 12 days)"
    )
