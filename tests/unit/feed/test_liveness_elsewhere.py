"""Liveness by what others know: a replica that lags, and sockets on another route."""

from tests.unit.feed.watching import FRESH, TICK, Watch

from klinehub.domain.stale import Reason
from klinehub.feed.decisions import Renew, Reroute
from klinehub.feed.liveness import LAGS, SEAT_UNPROVEN


def test_what_rest_loaded_proves_nobody_quiet_who_traded_just_before_since_a_replica_may_lag() -> None:
    watch = Watch()
    watch.begin()
    watch.now += TICK
    watch.trade("A")
    traded = watch.now
    while watch.now < traded + LAGS:
        watch.load("A")
        watch.prices()
        watch.check()
        watch.now += TICK
        watch.hear("B", "C")
    assert watch.reason("A") is Reason.SILENT

    watch.load("A")
    watch.prices()
    watch.check()
    assert watch.reasons() == FRESH


def test_a_silent_socket_goes_where_another_one_is_told_klines() -> None:
    watch = Watch([["A"], ["B", "C"]])
    watch.begin()
    for seat, route in enumerate(["bare", "market"]):
        watch.liveness.on_seat(seat, watch.now, up=False)
        watch.liveness.on_seat(seat, watch.now, up=True, route=route)
    watch.go(SEAT_UNPROVEN + 2 * TICK)
    assert [type(step) for _, step in watch.steps] == [Renew, Renew]

    watch.go(12_000, talking=["B", "C"])
    assert [step for _, step in watch.steps[2:]] == [Reroute(0, "another route tells klines")]
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.liveness.on_seat(0, watch.now, up=True, route="market")
    watch.go(20_000, talking=["B", "C"])
    assert [type(step) for _, step in watch.steps[3:]] == [Renew]
