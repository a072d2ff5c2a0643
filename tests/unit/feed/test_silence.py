"""Silence: what is done about streams that tell nothing, and that it ends once they do."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from klinehub.feed.seat import Seat
from klinehub.feed.silence import SILENT, Silence
from klinehub.sim.loop import SimLoop, run


class Place:
    """A seat that notes what is asked of it."""

    def __init__(self) -> None:
        self.up = True
        self.asked: list[tuple[float, Any]] = []

    def _note(self, what: Any) -> None:
        self.asked.append((asyncio.get_running_loop().time(), what))

    def resubscribe(self, names: Iterable[str]) -> None:
        self._note(list(names))

    def renew(self, reason: str, *, overlap: bool) -> None:
        assert not overlap
        self._note(reason)

    def reroute(self, reason: str) -> None:
        self._note(f"elsewhere: {reason}")


async def stirred(silence: Silence, seat: Place, seconds: float, beats: dict[str, range]) -> list[Any]:
    """Let *beats* be heard at these seconds; gives what was asked of the seat."""
    silence.begin()
    stirring = asyncio.create_task(silence.stir(cast("Seat", seat)))
    for second in range(int(seconds)):
        for name, times in beats.items():
            if second in times:
                silence.heard(name)
        await asyncio.sleep(1.0)
    stirring.cancel()
    return [(round(time), what) for time, what in seat.asked]


def test_nothing_is_done_while_all_are_heard() -> None:
    async def main(_: SimLoop) -> list[Any]:
        beats = {"a": range(0, 300, 10), "b": range(0, 300, 14)}
        return await stirred(Silence(["a", "b"], "news"), Place(), 300, beats)

    assert run(main) == []


def test_the_silent_one_is_asked_for_then_the_socket_then_the_route_and_ever_later() -> None:
    async def main(_: SimLoop) -> list[Any]:
        return await stirred(Silence(["a", "b"], "news"), Place(), 230, {"a": range(230)})

    why = f"no news came for {SILENT:g} s"
    assert run(main) == [
        (15, ["b"]),
        (45, why),
        (105, f"elsewhere: {why}"),
        (165, f"elsewhere: {why}"),
        (225, f"elsewhere: {why}"),
    ]


def test_once_heard_it_begins_anew() -> None:
    async def main(_: SimLoop) -> list[Any]:
        return await stirred(Silence(["a"], "news"), Place(), 100, {"a": range(20, 50)})

    assert run(main) == [(15, ["a"]), (75, ["a"])]


def test_a_seat_without_a_socket_is_left_alone() -> None:
    async def main(_: SimLoop) -> list[Any]:
        seat = Place()
        seat.up = False
        return await stirred(Silence(["a"], "news"), seat, 100, {})

    assert run(main) == []


def test_it_says_who_is_silent() -> None:
    async def main(_: SimLoop) -> list[list[str]]:
        silence = Silence(["a", "b"], "news")
        before = silence.silent()
        silence.begin()
        await asyncio.sleep(SILENT)
        silence.heard("a")
        return [before, silence.silent(), silence.silent("a"), silence.silent("b")]

    assert run(main) == [["a", "b"], ["b"], [], ["b"]]
