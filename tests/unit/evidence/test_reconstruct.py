"""The universe of the past, as the live rules would have chosen it from what was known at each hour."""

import numpy as np

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.domain.universe_rules import Rules
from klinehub.evidence.members import Told
from klinehub.evidence.reconstruct import changes_by_rules
from klinehub.evidence.tape import listed_of
from klinehub.panel.history import History
from klinehub.scan.universe_history import Change

HOUR = TIMEFRAMES["1h"]
FIRST = 1_735_689_600_000 // HOUR.milliseconds
HOURS = 24 * 20
NAMES = ("BIGUSDT", "SMALLUSDT", "SURGEUSDT", "NEWUSDT", "GONEUSDT", "BIGUSDC")


def market() -> History:
    """Liquid, illiquid, one that surges on the tenth day, a listing, a delisting, another quote."""
    rng = np.random.default_rng(1)
    closes = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.001, (6, HOURS)), axis=1))
    turnover = np.full((6, HOURS), 1e6)
    turnover[1] = 2e3
    turnover[2] = 2e5
    turnover[2, 240:264] = 1e7
    planes = np.stack([closes] * 4 + [turnover / closes, turnover, turnover, turnover, turnover])
    planes[:, 3, :300] = np.nan
    planes[:, 4, 200:] = np.nan
    return History(HOUR, NAMES, FIRST, planes)


def changes() -> list[Change]:
    panel = market()
    return changes_by_rules(Rules(), panel, FIRST, FIRST + HOURS - 1, listed_of(panel))


def test_each_comes_and_goes_when_the_rules_say_so() -> None:
    panel = market()
    inside = Told(changes(), "").of(panel, FIRST, HOURS)

    big, small, surge, new, gone, other = inside.T
    assert big[24:].all()
    assert not small.any()
    assert not other.any()
    assert gone[24:199].all()
    assert not gone[200:].any()
    assert 240 <= surge.nonzero()[0][0] <= 246
    assert new[300:].any()
    assert not new[:300].any()


def test_what_comes_later_changes_nothing_before() -> None:
    """The planted cheat: a universe chosen by what is liquid today."""
    panel = market()
    later = panel.planes.copy()
    later[5, :, 250:] *= 100.0
    other = History(HOUR, NAMES, FIRST, later)
    cut = HOUR.open_time(FIRST + 250)

    plain = [one for one in changes() if one.time <= cut]
    again = changes_by_rules(Rules(), other, FIRST, FIRST + HOURS - 1, listed_of(other))
    assert plain == [one for one in again if one.time <= cut]
    assert [one for one in again if one.time > cut] != [one for one in changes() if one.time > cut]


def test_nobody_that_fits_is_nobody_in_and_no_error() -> None:
    panel = market()
    assert (
        changes_by_rules(Rules(elite_turnover=1e15, overlay_turnover=1e15), panel, FIRST, FIRST + 50, {})
        == []
    )
