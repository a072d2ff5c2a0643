"""An exchange whose streams tell no closes and no trades: REST proves, is asked at once, and waited for."""

from typing import Final

from tests.unit.feed.telling import MINUTE, NAMES, START, a_core, at, truth
from tests.unit.panel.model import Bar, exact

from klinehub.feed.core import PROOF_MARGIN, Core
from klinehub.feed.decisions import Fetch
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM, venue_of
from klinehub.panel.merge import PROOF

VENUE: Final = venue_of("ccxt:somewhere")


def untraded(one: Bar) -> Bar:
    return one._replace(quote_volume=0, trades=0, taker_base=0, taker_quote=0)


def asked(core: Core, now: int) -> set[str]:
    return {fetch.symbol for fetch in core.on_timer(now).fetches if fetch.use is Use.REPAIR}


def test_rest_is_asked_as_soon_as_it_can_prove() -> None:
    core, usual = a_core(venue=VENUE), a_core(venue=USDM, grace=9_000)
    soon = at(1) + PROOF + PROOF_MARGIN

    assert asked(core, soon - 1) == set()
    assert asked(core, soon) == set(NAMES)
    assert asked(usual, soon + 1_000) == set()


def test_a_bar_is_announced_when_the_last_was_proved_or_the_longer_grace_is_over() -> None:
    core = a_core(venue=VENUE)
    now = at(1) + PROOF + PROOF_MARGIN
    core.on_timer(now)
    closed = []
    for symbol in NAMES[:2]:
        fetch = Fetch(symbol, "1m", START, 1, Use.REPAIR)
        closed += core.on_rest(fetch, exact([untraded(truth(symbol, 0, 0)[0])]), now, now).closed
    assert closed == []
    assert core.on_timer(at(1) + VENUE.grace - 2).closed == []
    (late,) = core.on_timer(at(1) + VENUE.grace - 1).closed

    assert (late.timeframe, late.bar, late.missing) == ("1m", START // MINUTE, ("C",))


def test_volume_that_only_rest_knows_shows_what_a_stream_owes() -> None:
    core = a_core(venue=VENUE)
    one = untraded(truth("A", 0, 0)[0])
    core.ring.load(0, core.ring.rows["A"], exact([one]), START + 30_000)
    more = exact([one._replace(volume=one.volume + 1)])

    assert core._untold(0, core.ring.rows["A"], more) == START
    assert core._untold(0, core.ring.rows["A"], exact([one])) is None
