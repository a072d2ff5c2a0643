"""Seats: a group of streams that stays subscribed, whatever becomes of its sockets."""

import asyncio
import contextlib
from typing import Any

import numpy as np
import pytest
from picows import WSListener
from tests.unit.feed.seats import DELAY, NAMES, PORTS, ROUTES, Scene, during, played

from klinehub.feed.dialogue import ASK_AGAIN
from klinehub.feed.seat import BACKOFF, PATIENCE, REFUSED, TOO_OFTEN
from klinehub.feed.socket import MESSAGE_PAUSE
from klinehub.panel.memory import I64, U8
from klinehub.sim.loop import SimNetwork


def test_it_is_up_when_all_names_were_asked_for() -> None:
    async def act(scene: Scene) -> None:
        assert not scene.seat.up
        assert scene.seat.since == float("inf")
        await asyncio.sleep(2)
        assert scene.seat.up
        assert scene.seat.since < 0.2
        await scene.place.tell()
        await asyncio.sleep(1)

    scene = played(act)
    assert scene.seat.names == NAMES
    assert [names for _, _, names in scene.place.clients[0].heard] == [NAMES]
    assert [(up, why) for _, _, up, why in scene.changes] == [(True, "")]
    assert scene.lacking == []


def test_many_names_are_asked_for_at_the_exchange_s_pace() -> None:
    names = [f"symbol{n}@kline_1m" for n in range(900)]

    async def act(scene: Scene) -> None:
        await asyncio.sleep(3)
        assert scene.seat.up

    scene = played(act, names=names)
    heard = scene.place.clients[0].heard
    assert [name for _, _, part in heard for name in part] == names
    assert max(len(part) for _, _, part in heard) <= 200
    assert np.diff([time for time, _, _ in heard]) == pytest.approx([MESSAGE_PAUSE] * (len(heard) - 1))
    assert scene.changes[0][0] >= heard[-1][0] - DELAY


def test_a_socket_that_is_lost_right_after_its_handshake_is_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library then gives a transport, but tells the listener neither of a connection nor of its end."""
    opened = SimNetwork.open_socket
    lost = [True, True]

    async def mute(self: SimNetwork, url: str, listener_factory: Any) -> Any:
        return await opened(self, url, WSListener if lost and lost.pop() else listener_factory)

    async def act(scene: Scene) -> None:
        await asyncio.sleep(3)
        assert scene.seat.up
        for client in scene.place.living[:2]:
            await client.ws.close()
        await asyncio.sleep(1)

    monkeypatch.setattr(SimNetwork, "open_socket", mute)
    scene = played(act)
    assert "was cut" in scene.changes[0][3]


@pytest.mark.parametrize("fault", ["reset", "cut", "close"])
def test_it_comes_back_when_its_socket_is_lost(fault: str) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(30)
        if fault == "close":
            await scene.place.clients[0].ws.close(code=1001, message=b"Going away")
        else:
            getattr(scene.place.links()[0], fault)()
        await asyncio.sleep(0.03)
        assert not scene.seat.up
        await asyncio.sleep(2)
        assert scene.seat.up

    scene = played(act)
    assert scene.seat.reconnects == 1
    assert [up for _, _, up, _ in scene.changes] == [True, False, True]
    lost, back = scene.changes[1], scene.changes[2]
    assert lost[3].startswith("Socket 0 was lost: ")
    assert ("1001 (Going away)" in lost[3]) == (fault == "close")
    assert BACKOFF[0] / 2 <= back[0] - lost[0] <= BACKOFF[0] + 0.2


def test_a_half_open_socket_is_noticed_and_replaced() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(30)
        scene.place.links()[0].stall()
        await asyncio.sleep(16)
        assert scene.seat.up
        scene.loop.links[0].resume()

    scene = played(act)
    assert scene.seat.reconnects == 1
    assert "ping" in scene.changes[1][3]


def test_a_huge_frame_costs_the_socket_and_nothing_else() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(10)
        await scene.place.clients[0].ws.send_str("x" * ((1 << 20) + 1))
        await asyncio.sleep(5)
        assert scene.seat.up
        await scene.place.tell()
        await asyncio.sleep(1)

    scene = played(act)
    assert scene.seat.reconnects == 1
    assert "exceeding max allowed size" in scene.changes[1][3]
    assert scene.place.clients[0].ws.close_code == 1009
    assert scene.lacking == []


def test_waits_grow_while_it_can_not_connect() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(100)

    scene = played(act, up=False)
    times = [time for time, *_ in scene.changes]
    longest = np.minimum(BACKOFF[0] * 2.0 ** np.arange(len(times) - 1), BACKOFF[1])
    waits = np.diff(times) - 2 * DELAY
    assert len(waits) > 10
    assert (waits <= longest + 0.1).all()
    assert (waits >= longest / 2 - 0.001).all()
    assert "refused the connection" in scene.changes[0][3]


def test_a_socket_lost_soon_after_it_came_up_counts_as_failed() -> None:
    async def act(scene: Scene) -> None:
        for _ in range(400):
            await asyncio.sleep(0.25)
            for client in scene.place.living:
                if scene.loop.time() - client.opened > 1:
                    await client.ws.close()

    scene = played(act)
    waits = np.diff([client.opened for client in scene.place.clients])
    assert waits[0] < 2.5
    assert (waits[5:] > BACKOFF[1] / 2).all()


def test_seats_that_wait_try_at_once_when_another_comes_up() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(200.5)
        await scene.place.open(PORTS[0])
        await asyncio.sleep(BACKOFF[1] + 1)
        assert all(seat.up for seat in scene.seats)

    scene = played(act, up=False, seats=8)
    came = [time for time, _, up, _ in scene.changes if up]
    assert len(came) == 8
    assert came[-1] - came[0] < 1.2
    opened = [time for time, _ in scene.place.handshakes]
    assert (np.diff(opened) >= 0.1 - 1e-6).all()


@pytest.mark.parametrize(("status", "rest"), [(403, REFUSED), (451, REFUSED), (429, TOO_OFTEN)])
def test_a_refused_handshake_is_not_repeated_for_long(status: int, rest: float) -> None:
    async def act(scene: Scene) -> None:
        scene.place.status[PORTS[0]] = status
        await asyncio.sleep(rest - 1)
        assert len(scene.place.handshakes) == 1
        scene.place.status.clear()
        await asyncio.sleep(5)
        assert scene.seat.up

    scene = played(act)
    assert str(status) in scene.changes[0][3]


def test_a_route_that_refuses_is_left_for_one_that_does_not() -> None:
    async def act(scene: Scene) -> None:
        scene.place.status[PORTS[0]] = 403
        await asyncio.sleep(2)
        assert scene.seat.up
        assert scene.seat.route == ROUTES[1]

    scene = played(act, routes=2)
    assert [port for _, port in scene.place.handshakes] == [PORTS[0], PORTS[1]]


def test_after_three_failures_it_goes_on_to_the_next_route() -> None:
    async def act(scene: Scene) -> None:
        for port in PORTS:
            scene.place.status[port] = 500
        await asyncio.sleep(60)

    scene = played(act, routes=3)
    ports = [port for _, port in scene.place.handshakes]
    assert ports[:12] == [port for port in (*PORTS, PORTS[0]) for _ in range(3)]


def test_a_route_that_never_answers_is_left_after_three_times_of_patience() -> None:
    async def act(scene: Scene) -> None:
        scene.loop.dark.add(("127.0.0.1", PORTS[0]))
        await asyncio.sleep(30)
        assert scene.seat.up
        assert scene.seat.route == ROUTES[1]
        scene.loop.dark.clear()

    scene = played(act, routes=2)
    times = [time for time, *_ in scene.changes]
    assert times[0] == pytest.approx(PATIENCE[0], abs=0.1)
    waits = np.diff(times[:3])
    assert (waits >= [PATIENCE[1] + BACKOFF[0] / 2, PATIENCE[2] + BACKOFF[0]]).all()
    assert (waits <= [PATIENCE[1] + BACKOFF[0] + 0.1, PATIENCE[2] + 2 * BACKOFF[0] + 0.1]).all()
    assert "did not answer in time" in scene.changes[0][3]


@pytest.mark.parametrize("after", [0.0, 0.005, 0.015, 0.025, 0.035, 3.0])
def test_a_seat_that_is_cancelled_while_it_connects_leaves_nothing(after: float) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(after)

    played(act)


def test_a_socket_closed_for_its_pace_puts_no_name_under_suspicion() -> None:
    async def act(scene: Scene) -> None:
        scene.place.answers = False
        await asyncio.sleep(0.055)
        await scene.place.clients[0].ws.close(code=1008, message=b"Too many requests")
        await asyncio.sleep(3)
        assert scene.seat.up

    scene = played(act)
    assert [[names for *_, names in client.heard] for client in scene.place.clients] == [[NAMES]] * 2


def test_a_reroute_changes_to_the_next_route_and_stays_there() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(10)
        scene.seat.reroute("it is silent")
        await asyncio.sleep(1)
        assert scene.seat.up
        assert scene.seat.route == ROUTES[1]
        await asyncio.sleep(10)
        scene.place.links(PORTS[1])[0].reset()
        await asyncio.sleep(5)
        assert scene.seat.up

    scene = played(act, routes=3)
    assert [client.port for client in scene.place.clients] == [PORTS[0], PORTS[1], PORTS[1]]
    assert scene.place.clients[1].opened == pytest.approx(10, abs=0.1)
    assert "it is silent" in scene.changes[1][3]


@pytest.mark.parametrize("after", [0.005, 0.015, 0.025, 0.035])
def test_a_reroute_while_it_connects_is_followed(after: float) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(after)
        scene.seat.reroute("for the test")
        await asyncio.sleep(2)
        assert [client.port for client in scene.place.living] == [PORTS[1]]

    played(act, routes=2)


def test_a_reroute_ends_the_wait_for_a_route_that_refuses() -> None:
    async def act(scene: Scene) -> None:
        scene.place.status |= {PORTS[0]: 403, PORTS[1]: 403}
        await asyncio.sleep(20)
        assert len(scene.place.handshakes) == 2
        scene.place.status.clear()
        scene.seat.reroute("the network has changed")
        await asyncio.sleep(1)
        assert scene.seat.up

    played(act, routes=2)


def test_a_renewal_without_overlap_drops_the_socket_and_opens_another_at_once() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(1)
        for _ in range(3):
            scene.seat.renew("it is silent", overlap=False)
            assert scene.seat.up
            await asyncio.sleep(0.1)
            assert scene.seat.up

    scene = played(act)
    assert scene.seat.reconnects == 3
    assert len(scene.place.clients) == 4


def test_names_may_come_and_go_at_any_time() -> None:
    async def act(scene: Scene) -> None:
        seat, place = scene.seat, scene.place
        seat.add(["early@kline_1m"])
        await asyncio.sleep(2)
        seat.add(["late@kline_1m", NAMES[0]])
        seat.remove([NAMES[1], "never@kline_1m"])
        await asyncio.sleep(1)
        wanted = {*NAMES, "early@kline_1m", "late@kline_1m"} - {NAMES[1]}
        assert set(place.living[0].names) == set(seat.names) == wanted
        place.links()[0].reset()
        await asyncio.sleep(0.05)
        assert not seat.up
        seat.add(["lost@kline_1m"])
        seat.remove(["late@kline_1m"])
        seat.resubscribe([NAMES[2]])
        await asyncio.sleep(2)
        wanted = (wanted | {"lost@kline_1m"}) - {"late@kline_1m"}
        assert set(place.living[0].names) == set(seat.names) == wanted
        seat.renew("for the test", overlap=True)
        await asyncio.sleep(1)
        seat.add(["both@kline_1m"])
        seat.remove([NAMES[3]])
        await asyncio.sleep(1)
        assert [set(client.names) for client in place.living] == [set(seat.names)] * 2
        await asyncio.sleep(4)
        assert scene.seat.rotations == 1
        assert set(place.living[0].names) == set(seat.names)

    played(lambda scene: during(scene, act(scene)))


def test_a_resubscription_leaves_and_asks_anew_on_the_same_socket() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.seat.resubscribe([NAMES[2], NAMES[4], "unknown@kline_1m"])
        await asyncio.sleep(2)

    scene = played(act)
    (client,) = scene.place.clients
    assert [(method, names) for _, method, names in client.heard[1:]] == [
        ("UNSUBSCRIBE", (NAMES[2], NAMES[4])),
        ("SUBSCRIBE", (NAMES[2], NAMES[4])),
    ]
    assert client.heard[2][0] - client.heard[1][0] == pytest.approx(MESSAGE_PAUSE)
    assert set(client.names) == set(NAMES)


@pytest.mark.parametrize("closes", [False, True])
def test_a_name_that_is_refused_is_found_and_the_others_are_kept(closes: bool) -> None:  # noqa: FBT001
    names = [f"symbol{n}@kline_1m" for n in range(300)]
    bad = {names[7], names[271]}

    async def act(scene: Scene) -> None:
        scene.place.bad, scene.place.closes = bad, closes
        await asyncio.sleep(25)
        assert set(scene.seat.refused) == bad
        assert scene.seat.up
        (client,) = scene.place.living
        assert set(client.names) == set(names) - bad
        scene.place.bad = set()
        await asyncio.sleep(ASK_AGAIN[0] + 5)
        assert scene.seat.refused == ()
        assert set(scene.place.living[0].names) == set(names)

    scene = played(act, names=names)
    assert (scene.seat.reconnects > 10) == closes
    assert len(scene.place.clients) == scene.seat.reconnects + 1
    assert any(scene.place.clients[-1].opened < time for time, *_ in scene.changes)
    for client in scene.place.clients:
        assert (np.diff([time for time, *_ in client.heard]) >= MESSAGE_PAUSE - 1e-6).all()


def test_a_name_that_stays_bad_is_asked_for_ever_more_rarely() -> None:
    async def act(scene: Scene) -> None:
        scene.place.bad, scene.place.closes = {NAMES[0]}, True
        await asyncio.sleep(5 * 3600 + 60)
        assert scene.seat.refused == (NAMES[0],)
        assert scene.seat.up

    scene = played(act)
    assert scene.seat.reconnects <= 4 + 6 + 5 + 3


def test_too_many_names_for_one_socket_are_set_aside_together() -> None:
    names = [f"symbol{n}@kline_1m" for n in range(500)]

    async def act(scene: Scene) -> None:
        scene.place.most = 450
        await asyncio.sleep(10)
        assert scene.seat.up
        assert len(scene.place.living[0].names) + len(scene.seat.refused) == 500

    scene = played(act, names=names)
    assert scene.seat.reconnects == 1


def test_connections_of_all_seats_together_stay_within_the_exchange_s_limit() -> None:
    async def act(scene: Scene) -> None:
        async def end_all() -> None:
            while True:
                await asyncio.sleep(0.5)
                for client in scene.place.living:
                    with contextlib.suppress(ConnectionError):
                        await client.ws.close()

        ending = asyncio.create_task(end_all())
        await asyncio.sleep(900)
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)

    scene = played(act, seats=25)
    times = np.array([time for time, _ in scene.place.handshakes])
    within = np.searchsorted(times, times + 300) - np.arange(len(times))
    assert len(times) > 500
    assert within.max() <= 250


def test_a_bug_in_the_sink_is_raised_and_no_further_frame_is_handed_on() -> None:
    calls: list[int] = []

    async def act(scene: Scene) -> None:
        def broken(buf: U8, ends: I64, frames: int) -> None:
            calls.append(frames)
            raise ZeroDivisionError

        scene.seat._intake._sink = broken
        await asyncio.sleep(2)
        for _ in range(3):
            await scene.place.tell(NAMES[:1])
            await asyncio.sleep(1)
        raise AssertionError("it went on")

    with pytest.raises(ZeroDivisionError):
        played(act)
    assert calls == [1]


def test_a_bug_in_whoever_is_told_of_changes_is_raised() -> None:
    async def act(scene: Scene) -> None:
        def broken(number: int) -> None:
            raise ZeroDivisionError

        scene.seat._on_change = broken
        await asyncio.sleep(5)
        raise AssertionError("it went on")

    with pytest.raises(ZeroDivisionError):
        played(act)


def test_equal_seeds_give_equal_traces() -> None:
    async def act(scene: Scene) -> None:
        rng = np.random.default_rng(1)
        for _ in range(60):
            await asyncio.sleep(4 * rng.random())
            links = scene.place.links()
            match rng.integers(5):
                case 0 if links:
                    links[rng.integers(len(links))].reset()
                case 1:
                    scene.seats[rng.integers(3)].renew("for the test", overlap=True)
                case 2:
                    scene.seats[rng.integers(3)].renew("for the test", overlap=False)
                case 3:
                    scene.seats[rng.integers(3)].reroute("for the test")
                case _:
                    scene.seats[rng.integers(3)].resubscribe(NAMES[:2])

    def trace(seed: int) -> Any:
        scene = played(lambda scene: during(scene, act(scene)), seats=3, routes=2, seed=seed)
        heard = [(client.port, client.heard) for client in scene.place.clients]
        return scene.changes, scene.frames, heard, scene.place.handshakes

    first = trace(1)
    assert trace(1) == first
    assert trace(2) != first
