"""Whose turn it is, how long one waits for it, and what becomes of who goes away."""

import asyncio
from typing import Any

from aiohttp import web
from tests.unit.serve.brokers import BTC, DEPTH, INTEREST, LATE, rig, slow, told

from klinehub.feed.forwarded import Reply
from klinehub.feed.use import Use
from klinehub.sim.loop import SimLoop, run


def test_a_client_that_has_spent_its_part_waits_for_the_minute_and_another_does_not() -> None:
    async def main(loop: SimLoop) -> list[Any]:
        async with rig(loop, limit=1000, client_share=0.1) as made:
            seen: list[Any] = [await made.ask("a", DEPTH, f"{BTC}&limit={n}") for n in (500, 500, 500)]
            seen.append(await made.ask("b", DEPTH, f"{BTC}&limit=500"))
            await asyncio.sleep(50.0)
            seen.append(await made.ask("a", DEPTH, f"{BTC}&limit=500"))
            return [*seen, made.broker.stats()]

    *replies, stats = run(main)

    assert [reply.status for reply in replies] == [200, 200, 429, 200, 200]
    assert told(replies[2]) == (429, -1003)
    assert 49 <= int(replies[2].headers["Retry-After"]) <= 50
    assert (stats.weight, stats.refused) == ({"a": 30, "b": 10}, {"quota": 1})


def test_the_flood_of_one_client_holds_up_nobody_else() -> None:
    async def main(loop: SimLoop) -> tuple[float, float]:
        async with rig(loop, slow, width=2) as made:

            async def timed(client: str, n: int) -> float:
                await made.ask(client, DEPTH, f"{BTC}&limit=5&fromId={n}")
                return loop.time()

            flood = [asyncio.create_task(timed("loud", n)) for n in range(16)]
            await asyncio.sleep(0.1)
            quiet = await timed("quiet", 99)
            return quiet, max(await asyncio.gather(*flood))

    quiet, last = run(main)

    # Two are asked just now, and two more of the flood at most go first.
    assert quiet < 2.5 * LATE
    assert last > 8 * LATE


def test_who_joins_a_request_of_a_flood_need_not_wait_for_the_flood() -> None:
    async def main(loop: SimLoop) -> tuple[float, int]:
        async with rig(loop, slow, width=1) as made:
            flood = [asyncio.create_task(made.ask("loud", DEPTH, f"limit={n}")) for n in range(8)]
            await asyncio.sleep(0.1)
            await made.ask("quiet", DEPTH, "limit=7")
            seconds = loop.time()
            await asyncio.gather(*flood)
            return seconds, len(made.asked)

    seconds, asked = run(main)

    # After the one that is asked just now, and one more of the flood at most.
    assert seconds < 3.5 * LATE
    assert asked == 8


def test_no_more_wait_than_there_is_room_for() -> None:
    async def main(loop: SimLoop) -> tuple[list[int], int, Any]:
        async with rig(loop, slow, width=1, client_share=1.0) as made:
            flood = [asyncio.create_task(made.ask("loud", INTEREST, f"symbol=A{n}")) for n in range(70)]
            await asyncio.sleep(0.1)
            waiting = made.broker.stats().waiting
            replies = await asyncio.gather(*flood)
            return [reply.status for reply in replies], waiting, made.broker.stats()

    statuses, waiting, stats = run(main)

    assert waiting == 64
    assert stats.refused["queue"] == 5
    # Who has waited for too long is told so, and has spent nothing.
    assert stats.refused["budget"] == 65 - stats.forwarded
    assert statuses.count(200) == stats.forwarded == stats.weight["loud"]


def test_a_budget_that_is_spent_is_told_at_once_instead_of_waited_for() -> None:
    async def main(loop: SimLoop) -> tuple[Reply, float, int]:
        async with rig(loop, limit=100) as made:
            await made.spend(20, Use.FORWARDED)
            return await made.ask("a"), loop.time(), len(made.asked)

    reply, seconds, asked = run(main)

    assert (told(reply), reply.headers["Retry-After"], asked) == ((429, -1003), "50", 0)
    assert seconds == 0.0


def test_a_minute_that_ends_soon_is_waited_for() -> None:
    async def main(loop: SimLoop) -> tuple[Reply, float]:
        async with rig(loop, limit=100) as made:
            await made.spend(20, Use.FORWARDED)
            await asyncio.sleep(46)
            return await made.ask("a"), loop.time()

    reply, seconds = run(main)

    assert reply.status == 200
    assert 50 < seconds < 50.2


def test_a_request_survives_some_who_wait_for_it_but_not_all() -> None:
    gone: list[str] = []

    async def watched(request: web.Request) -> web.StreamResponse:
        try:
            return await slow(request)
        except asyncio.CancelledError:
            gone.append(request.path_qs)
            raise

    async def main(loop: SimLoop) -> tuple[list[Reply], int, Any]:
        async with rig(loop, watched, width=1) as made:
            three = [asyncio.create_task(made.ask(f"client {n}")) for n in range(3)]
            await asyncio.sleep(0.2)
            three[0].cancel()
            served = await asyncio.gather(*three[1:])
            two = [asyncio.create_task(made.ask(f"client {n}")) for n in range(2)]
            await asyncio.sleep(0.2)
            for one in two:
                one.cancel()
            await asyncio.gather(*two, return_exceptions=True)
            served.append(await made.ask("late"))
            return served, len(made.asked), made.broker.stats()

    served, asked, stats = run(main)

    assert [reply.status for reply in served] == [200] * 3
    assert asked == 3
    assert (stats.flying, stats.waiting, stats.forwarded) == (0, 0, 2)


def test_one_that_is_given_up_while_it_waits_costs_nothing() -> None:
    async def main(loop: SimLoop) -> tuple[list[str], list[int], Any]:
        async with rig(loop, slow, width=1) as made:
            first = asyncio.create_task(made.ask("a", DEPTH, "limit=5"))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(made.ask("b", DEPTH, "limit=50"))
            await asyncio.sleep(0.1)
            waiting = [made.broker.stats().waiting]
            second.cancel()
            await asyncio.sleep(0.1)
            waiting.append(made.broker.stats().waiting)
            await asyncio.gather(first, second, return_exceptions=True)
            await made.ask("a", DEPTH, "limit=6")
            return made.asked, waiting, made.broker.stats()

    asked, waiting, stats = run(main)

    assert asked == [f"{DEPTH}?limit=5", f"{DEPTH}?limit=6"]
    assert waiting == [1, 0]
    assert stats.weight == {"a": 4, "b": 0}


def test_one_that_is_given_up_in_the_moment_of_its_turn_passes_the_turn_on() -> None:
    async def main(loop: SimLoop) -> tuple[int, list[str]]:
        async with rig(loop, slow, width=1) as made:
            asking = [asyncio.create_task(made.ask("a", DEPTH, f"limit={n}")) for n in range(3)]
            await asyncio.sleep(0.1)
            queue = made.broker._lanes["binance-usdm"].queue
            leave = queue.leave

            def leave_and_cancel() -> None:
                leave()
                queue.leave = leave  # type: ignore[method-assign]
                asking[1].cancel()
                second.task.cancel()

            _, second, _ = made.broker._lanes["binance-usdm"].flights.values()
            queue.leave = leave_and_cancel  # type: ignore[method-assign]
            await asyncio.gather(*asking, return_exceptions=True)
            return [task.cancelled() for task in asking].count(True), made.asked

    assert run(main) == (1, [f"{DEPTH}?limit=0", f"{DEPTH}?limit=2"])
