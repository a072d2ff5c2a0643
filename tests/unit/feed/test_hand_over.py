"""Hand-overs: a socket replaced by another one that is proven, with no frame lost and none left behind."""

import asyncio

import numpy as np
import pytest
from tests.unit.feed.seats import NAMES, PORTS, Client, Scene, during, played

from klinehub.feed import seat as seat_module
from klinehub.feed.seat import HAND_OVER, NEXT_HAND_OVER, PROOF
from klinehub.panel.memory import I64, U8


def test_a_planned_rotation_loses_no_frame() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(1)
        await scene.place.tell()
        await asyncio.sleep(22 * 3600)
        await during(scene, asyncio.sleep(3600))

    scene = played(act, names=NAMES)
    assert scene.seat.rotations == 1
    assert scene.seat.reconnects == 0
    first, second = scene.place.clients
    assert 22 * 3600 < second.opened - first.opened <= 23 * 3600
    assert scene.lacking == []
    assert all(up for _, _, up, _ in scene.changes)


@pytest.mark.parametrize("names", [NAMES, [f"s{n}@kline_1m" for n in range(450)]], ids=["few", "many"])
def test_a_renewal_overlaps_until_the_next_socket_is_proven(names: list[str]) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(3)
        scene.seat.renew("the exchange shuts down", overlap=True)
        await asyncio.sleep(PROOF)
        assert len(scene.place.living) == 2
        await asyncio.sleep(PROOF)
        assert len(scene.place.living) == 1
        assert scene.seat.since == pytest.approx(3, abs=0.2)

    scene = played(lambda scene: during(scene, act(scene)), names=names)
    assert (scene.seat.rotations, scene.seat.reconnects) == (1, 0)
    assert scene.lacking == []
    assert all(up for _, _, up, _ in scene.changes)


def test_a_socket_that_is_answered_but_silent_never_replaces_one_that_works() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.place.silent = lambda client: True
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(HAND_OVER + 1)
        assert len(scene.place.living) == 1
        assert scene.seat.given_up == 1
        assert "delivered less" in scene.seat.last_loss
        scene.place.silent = lambda client: False
        await asyncio.sleep(NEXT_HAND_OVER + 10)

    scene = played(lambda scene: during(scene, act(scene)))
    assert (scene.seat.rotations, scene.seat.given_up, scene.seat.reconnects) == (1, 1, 0)
    assert len(scene.place.clients) == 3
    assert scene.lacking == []


def test_where_nothing_is_heard_at_all_nothing_is_proven() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(HAND_OVER + 1)

    scene = played(act)
    assert (scene.seat.rotations, scene.seat.given_up) == (0, 1)
    assert len(scene.place.clients) == 2


def test_when_the_old_socket_is_lost_the_next_one_has_to_do_without_proof() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(1)
        scene.place.links()[0].reset()
        await asyncio.sleep(2 * HAND_OVER)
        assert scene.seat.up

    scene = played(act)
    assert (scene.seat.rotations, scene.seat.given_up, scene.seat.reconnects) == (0, 0, 1)
    assert len(scene.place.clients) == 2


def test_a_socket_that_lacks_one_stream_never_replaces_one_that_has_it() -> None:
    def silent(client: Client) -> bool:
        # The second socket hears all names but the last.
        client.without = {NAMES[-1]}
        return False

    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.place.silent = silent
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(HAND_OVER + 1)

    scene = played(lambda scene: during(scene, act(scene)))
    assert (scene.seat.rotations, scene.seat.given_up) == (0, 1)
    assert scene.lacking == []


def test_a_hand_over_waits_for_a_stream_that_is_rarely_heard() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.seat.renew("for the test", overlap=True)
        for _ in range(7):
            await scene.place.tell(NAMES[:3])
            await asyncio.sleep(1)

    scene = played(act)
    assert scene.seat.rotations == 1


def test_a_socket_that_is_lost_during_a_hand_over_is_replaced_at_once() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(1)
        scene.place.links()[0].reset()
        await asyncio.sleep(1)
        assert scene.seat.up
        assert len(scene.place.clients) == 2
        await asyncio.sleep(30)

    scene = played(lambda scene: during(scene, act(scene)))
    assert (scene.seat.rotations, scene.seat.reconnects, scene.seat.given_up) == (0, 1, 0)
    assert len(scene.place.clients) == 2
    assert all(up for _, _, up, _ in scene.changes)
    assert scene.lacking == []


def test_a_successor_that_is_lost_is_replaced_by_the_next_one() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(1)
        scene.place.links()[1].reset()
        await asyncio.sleep(10)

    scene = played(lambda scene: during(scene, act(scene)))
    assert (scene.seat.rotations, scene.seat.reconnects) == (1, 0)
    assert len(scene.place.clients) == 3
    assert scene.lacking == []


def test_a_successor_that_can_not_connect_leaves_the_old_socket_alone() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.place.status[PORTS[0]] = 500
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(HAND_OVER + 1)

    scene = played(lambda scene: during(scene, act(scene)))
    assert scene.seat.given_up == 1
    assert 5 < len(scene.place.handshakes) < 30
    assert len(scene.place.clients) == 1
    assert scene.lacking == []


@pytest.mark.parametrize("after", [0.0, 0.015, 0.025, 0.04, 0.2, 1.0, 5.0])
def test_a_seat_that_is_cancelled_during_a_hand_over_leaves_nothing(after: float) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.place.silent = lambda client: True
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(after)

    played(act)


def test_two_seats_never_rotate_at_once() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(1)
        for seat in scene.seats:
            # As after losses at times that bring their slots together.
            seat._rotate_at = 10
            seat._news.set()
        await during(scene, asyncio.sleep(200))

    scene = played(act, seats=3)
    assert [seat.rotations for seat in scene.seats] == [1, 1, 1]
    opened = sorted(client.opened for client in scene.place.clients)[3:]
    assert (np.diff(opened) > PROOF).all()


def test_seats_opened_together_rotate_in_slots_of_their_own() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(5)

    scene = played(act, seats=25)
    times = sorted(seat._rotate_at for seat in scene.seats)
    assert (np.diff(times) >= HAND_OVER - 5).all()
    assert all(22 * 3600 <= time <= 23 * 3600 + 5 for time in times)


def test_renewals_asked_for_again_and_again_have_their_pause() -> None:
    async def act(scene: Scene) -> None:
        for _ in range(600):
            await asyncio.sleep(0.5)
            scene.seat.renew("again", overlap=True)

    scene = played(lambda scene: during(scene, act(scene)))
    assert 3 <= scene.seat.rotations <= 300 / HAND_OVER + 1
    assert scene.lacking == []


@pytest.mark.parametrize("after", [0.0, 0.02, 0.03, 0.5, 2.0])
def test_a_reroute_during_a_hand_over_takes_both_sockets_away(after: float) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(10)
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(after)
        scene.seat.reroute("it is silent")
        await asyncio.sleep(3)
        assert [client.port for client in scene.place.living] == [PORTS[1]]
        assert scene.seat.up

    played(act, routes=2)


def test_an_exchange_that_answers_nothing_is_lived_with() -> None:
    async def act(scene: Scene) -> None:
        scene.place.answers = False
        await asyncio.sleep(2)
        assert scene.seat.up
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(10)

    scene = played(lambda scene: during(scene, act(scene)))
    assert scene.seat.rotations == 1
    assert scene.lacking == []


@pytest.mark.parametrize("after", [0.5, 2.0, 6.0])
def test_a_bug_in_the_sink_during_or_after_a_hand_over_is_raised(after: float) -> None:
    async def act(scene: Scene) -> None:
        def broken(buf: U8, ends: I64, frames: int) -> None:
            raise ZeroDivisionError

        await asyncio.sleep(2)
        scene.seat.renew("for the test", overlap=True)
        await asyncio.sleep(after)
        scene.seat._intake._sink = broken
        await asyncio.sleep(2)
        raise AssertionError("it went on")

    with pytest.raises(ZeroDivisionError):
        played(lambda scene: during(scene, act(scene)))


def test_the_times_fit_each_other() -> None:
    assert seat_module.SLOT * seat_module.SLOTS <= 3600
    assert seat_module.SLOT * 0.5 >= HAND_OVER
