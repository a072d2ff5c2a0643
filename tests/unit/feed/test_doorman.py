"""The door: new connections of a whole hub at the exchange's pace, and those who wait woken together."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from klinehub.feed.doorman import AT_ONCE, BURST, PAUSE, REFILL, Doorman
from klinehub.sim.loop import SimLoop, run


def timed(main: Coroutine[Any, Any, Any]) -> Any:
    async def act(loop: SimLoop) -> Any:
        return await main

    return run(act)


async def enter(doorman: Doorman, opened: list[float], seconds: float = 0.0) -> None:
    async with doorman.door():
        opened.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)


def test_connections_are_opened_one_after_the_other_and_never_too_many() -> None:
    async def main() -> list[float]:
        doorman, opened = Doorman(), list[float]()
        await asyncio.gather(*(enter(doorman, opened) for _ in range(700)))
        return opened

    times = np.array(timed(main()))
    assert len(times) == 700
    assert (np.diff(times) >= PAUSE - 1e-6).all()
    assert times[BURST] == pytest.approx(BURST * PAUSE)
    assert (np.searchsorted(times, times + 300) - np.arange(700)).max() <= 250
    assert np.diff(times)[100:] == pytest.approx(np.full(599, REFILL))


def test_one_that_hangs_does_not_hold_up_the_others() -> None:
    async def main() -> list[float]:
        doorman, opened = Doorman(), list[float]()
        hanging = [asyncio.create_task(enter(doorman, [], 1000)) for _ in range(AT_ONCE - 1)]
        await asyncio.sleep(1)
        await asyncio.gather(*(enter(doorman, opened, 0.05) for _ in range(5)))
        for task in hanging:
            task.cancel()
        await asyncio.gather(enter(doorman, opened), *hanging, return_exceptions=True)
        return opened

    times = timed(main())
    assert len(times) == 6
    assert times[-1] < 2


def test_who_waits_is_woken_when_another_comes_up_and_who_is_alone_is_not() -> None:
    async def main() -> list[float]:
        doorman, loop = Doorman(), asyncio.get_running_loop()
        loop.call_later(3, doorman.came_up)

        async def wait(seconds: float, *, alone: bool) -> float:
            await doorman.rest(asyncio.Event(), seconds, alone=alone)
            return loop.time()

        waits = [wait(8, alone=False), wait(2, alone=False), wait(60, alone=True), wait(5, alone=False)]
        return await asyncio.gather(*waits)

    assert timed(main()) == pytest.approx([3, 2, 60, 3])


def test_news_of_one_s_own_end_a_wait() -> None:
    async def main() -> float:
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        loop.call_later(3, news.set)
        await Doorman().rest(news, 300, alone=True)
        return loop.time()

    assert timed(main()) == pytest.approx(3)


def test_those_who_wait_for_an_exchange_that_is_away_leave_room_for_its_return() -> None:
    async def main() -> float:
        doorman, loop, opened = Doorman(), asyncio.get_running_loop(), list[float]()

        async def fail_for_ever() -> None:
            while True:
                await enter(doorman, [])
                await doorman.rest(asyncio.Event(), 0.5, alone=False)

        failing = [asyncio.create_task(fail_for_ever()) for _ in range(20)]
        await asyncio.sleep(600)
        for task in failing:
            task.cancel()
        await asyncio.gather(*failing, return_exceptions=True)
        begun = loop.time()
        await asyncio.gather(*(enter(doorman, opened) for _ in range(20)))
        return loop.time() - begun

    assert timed(main()) < 20 * PAUSE + 2


def test_one_seat_rotates_at_a_time() -> None:
    doorman = Doorman()
    assert doorman.may_rotate(1)
    assert doorman.may_rotate(1)
    assert not doorman.may_rotate(2)
    doorman.rotated(2)
    assert not doorman.may_rotate(2)
    doorman.rotated(1)
    assert doorman.may_rotate(2)
