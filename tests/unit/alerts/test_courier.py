"""Couriers on virtual time: each target on its own, and what becomes of what nobody takes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from tests.unit.alerts.telling import alert

from klinehub.alerts.courier import COLLECT, Courier, Timing
from klinehub.alerts.delivering import Tried
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import MEMORY, Decision, Delivered, Fired, Kept, Message, Outbox
from klinehub.alerts.posting import Answer, Ended, Patience
from klinehub.alerts.quiet import Quiet
from klinehub.errors import UnknownName
from klinehub.scan.alerts import Alert
from klinehub.sim.loop import SimLoop, run

NOW: Final = 1_700_000_000_000
HOUR: Final = 3_600_000
TAKEN: Final = Answer(Ended.TAKEN)
REFUSED: Final = Answer(Ended.REFUSED, "status 401")
LATER: Final = Answer(Ended.LATER, "status 503")


class Scripted:
    """A target that answers as it is written, then takes everything; `late` seconds an answer."""

    kind, where, lang, digest, most, waiting = "messenger", "Scripted", "en", 5, 100, 100
    patience = Patience(first=2.0, longest=60.0, tries=None, refusals=3)

    def __init__(
        self, name: str, answers: Sequence[Answer] = (), *, late: float = 0.0, failure: str = ""
    ) -> None:
        self.name, self.failure = name, failure
        self.tried: list[tuple[float, str, int]] = []
        self._answers, self._late = list(answers), late

    async def begin(self) -> None:
        await asyncio.sleep(0)

    def wants(self, alert: Alert) -> bool:
        return alert.rule != "unwanted"

    async def send(self, message: Message, *, quiet: bool) -> Answer:
        self.tried.append((asyncio.get_running_loop().time(), message.id, len(message.alerts)))
        await asyncio.sleep(self._late)
        return self._answers.pop(0) if self._answers else TAKEN

    async def test(self, kept: Kept) -> Answer:
        await asyncio.sleep(self._late)
        return self._answers.pop(0) if self._answers else TAKEN


class Office:
    """The couriers of some targets, with an outbox that they share."""

    def __init__(
        self, log: Log, posts: Sequence[Scripted], loop: SimLoop, quiet: Quiet | None = None
    ) -> None:
        def now() -> int:
            return NOW + round(loop.time() * 1000)

        timing = Timing(now, 1.0, lambda: 0.5)
        self.log, self.now = log, now
        self.said: list[str] = []
        self.couriers = Couriers(
            [Courier(post, log, timing, quiet=quiet, oldest=HOUR, say=self.said.append) for post in posts],
            log,
            now,
        )

    async def offer(self, *alerts: Alert, to: Sequence[str] = ()) -> None:
        fired = tuple(Fired(one, self.couriers.reached(one, to) or tuple(to)) for one in alerts)
        await self.log.do(lambda outbox: outbox.decided(Decision(self.now(), fired)))
        self.couriers.wake()

    async def deliveries(self) -> list[Delivered]:
        entries = await self.log.do(lambda outbox: outbox.entries())
        return [one for logged in entries for one in logged.deliveries]


Test = Callable[[Office], Awaitable[None]]


def deliver(test: Test, *posts: Scripted) -> None:
    async def main(loop: SimLoop) -> None:
        async with Log(lambda: Outbox(MEMORY, now=NOW)) as log:
            office = Office(log, posts, loop)
            work = asyncio.create_task(office.couriers.run())
            try:
                await test(office)
            finally:
                work.cancel()
                await asyncio.wait([work])

    run(main)


def test_a_target_that_hangs_holds_nobody_up() -> None:
    dead, good = Scripted("dead", late=10_000), Scripted("good")

    async def test(office: Office) -> None:
        await office.offer(alert())
        await asyncio.sleep(COLLECT + 0.1)
        await office.offer(alert("ETHUSDT"))
        await asyncio.sleep(COLLECT + 0.1)

        assert [count for _, _, count in good.tried] == [1, 1]
        rows = {row.name: (row.waiting, row.sent) for row in await office.couriers.rows()}
        assert rows == {"dead": (2, 0), "good": (0, 2)}

    deliver(test, dead, good)


def test_a_storm_is_one_message_and_a_few_alerts_are_as_many() -> None:
    phone = Scripted("phone")

    async def test(office: Office) -> None:
        await office.offer(*(alert(f"A{n}USDT") for n in range(3)))
        await asyncio.sleep(1.0)
        await office.offer(*(alert(f"B{n}USDT") for n in range(97)))
        await asyncio.sleep(10.0)
        await office.offer(*(alert(f"C{n}USDT") for n in range(5)))
        await asyncio.sleep(10.0)

        assert [count for _, _, count in phone.tried] == [100, 1, 1, 1, 1, 1]

    deliver(test, phone)


def test_a_refusal_is_tried_a_few_times_and_then_once_a_message_until_one_is_taken() -> None:
    phone = Scripted("phone", [*[REFUSED] * 4, TAKEN, REFUSED])

    async def test(office: Office) -> None:
        for symbol in ("AUSDT", "BUSDT", "CUSDT", "DUSDT"):
            await office.offer(alert(symbol))
            await asyncio.sleep(60)

        tries = [message for _, message, _ in phone.tried]
        assert [tries.count(message) for message in dict.fromkeys(tries)] == [3, 1, 1, 2]
        assert [(one.state, one.detail) for one in await office.deliveries()] == [
            ("given_up", "status 401"),
            ("given_up", "status 401"),
            ("sent", ""),
            ("sent", ""),
        ]
        (row,) = await office.couriers.rows()
        assert (row.state, row.sent, row.retried, row.given_up, row.failure) == ("ok", 2, 3, 2, "")

    deliver(test, phone)


def test_pauses_grow_and_are_never_shorter_than_is_asked_for() -> None:
    phone = Scripted("phone", [LATER, LATER, LATER._replace(pause=90.0), LATER])

    async def test(office: Office) -> None:
        await office.offer(alert())
        await asyncio.sleep(HOUR / 1000)

        times = [time for time, _, _ in phone.tried]
        assert [round(b - a) for a, b in pairwise(times)] == [2, 4, 90, 16]
        assert len({message for _, message, _ in phone.tried}) == 1

    deliver(test, phone)


def test_what_nobody_takes_is_given_up_when_it_is_too_old_with_the_last_reason() -> None:
    phone = Scripted("phone", [LATER] * 1_000)

    async def test(office: Office) -> None:
        await office.offer(alert())
        await asyncio.sleep(2 * HOUR / 1000)

        (one,) = await office.deliveries()
        assert (one.state, one.detail) == ("given_up", "too old: it could not be sent in time (status 503)")
        assert phone.tried[-1][0] <= HOUR / 1000 + 70
        (row,) = await office.couriers.rows()
        assert (row.state, row.waiting, row.given_up) == ("failing", 0, 1)

    deliver(test, phone)


def test_what_was_too_old_before_it_could_be_tried_says_nothing_of_the_target() -> None:
    async def main(loop: SimLoop) -> None:
        phone = Scripted("phone")
        async with Log(lambda: Outbox(MEMORY, now=NOW)) as log:
            office = Office(log, [phone], loop)
            await office.offer(alert())
            await asyncio.sleep(2 * HOUR / 1000)
            work = asyncio.create_task(office.couriers.run())
            await asyncio.sleep(1)
            (row,) = await office.couriers.rows()
            work.cancel()
            await asyncio.wait([work])

        assert (phone.tried, row.state, row.given_up) == ([], "ok", 1)

    run(main)


def test_in_quiet_hours_what_waits_is_counted() -> None:
    async def main(loop: SimLoop) -> None:
        async with Log(lambda: Outbox(MEMORY, now=NOW)) as log:
            office = Office(log, [Scripted("phone")], loop, Quiet(0, 1_439, ZoneInfo("UTC")))
            work = asyncio.create_task(office.couriers.run())
            await office.offer(alert(), alert("ETHUSDT"))
            await asyncio.sleep(1)
            (row,) = office.couriers.now()
            work.cancel()
            await asyncio.wait([work])

            assert (row.state, row.quiet, row.waiting) == ("quiet", "00:00-23:59", 2)
            assert {one.state for one in await office.deliveries()} == {"quiet"}

    run(main)


def test_what_waits_while_a_messenger_is_down_is_one_message_when_it_is_back() -> None:
    phone = Scripted("phone", [LATER] * 6)

    async def test(office: Office) -> None:
        for n in range(20):
            await office.offer(alert(f"S{n}USDT"))
            await asyncio.sleep(5)
        await asyncio.sleep(60)

        assert [count for _, _, count in phone.tried] == [1] * 7 + [19]

    deliver(test, phone)


def test_a_target_that_is_off_gives_up_with_the_reason() -> None:
    phone = Scripted("phone", failure="apprise is not here")

    async def test(office: Office) -> None:
        await office.offer(alert())
        await asyncio.sleep(1)

        assert phone.tried == []
        assert [(one.state, one.detail) for one in await office.deliveries()] == [
            ("given_up", "apprise is not here")
        ]
        (row,) = await office.couriers.rows()
        assert (row.state, row.failure) == ("off", "apprise is not here")
        assert office.said == ["phone is told nothing: apprise is not here"]

    deliver(test, phone)


def test_who_is_reached_is_who_is_named_or_everybody_who_wants_it() -> None:
    async def test(office: Office) -> None:
        reached = office.couriers.reached

        assert reached(alert(), ()) == ("phone", "desk")
        assert reached(alert(), ("desk", "gone")) == ("desk",)
        assert reached(alert(rule="unwanted"), ()) == ()
        assert list(office.couriers.names) == ["phone", "desk"]

    deliver(test, Scripted("phone"), Scripted("desk"))


def test_what_waits_for_a_target_that_is_gone_is_given_up() -> None:
    async def main(loop: SimLoop) -> None:
        async with Log(lambda: Outbox(MEMORY, now=NOW)) as log:
            office = Office(log, [Scripted("phone")], loop)
            await office.offer(alert(), to=("gone",))
            work = asyncio.create_task(office.couriers.run())
            await asyncio.sleep(1)
            work.cancel()
            await asyncio.wait([work])

            (one,) = await office.deliveries()
            assert (one.target, one.state) == ("gone", "given_up")

    run(main)


def test_a_stop_waits_a_moment_for_an_answer() -> None:
    quick, slow = Scripted("quick", late=2.0), Scripted("slow", late=50.0)

    async def main(loop: SimLoop) -> list[Any]:
        async with Log(lambda: Outbox(MEMORY, now=NOW)) as log:
            office = Office(log, [quick, slow], loop)
            work = asyncio.create_task(office.couriers.run())
            await office.offer(alert())
            await asyncio.sleep(COLLECT + 0.5)
            before = loop.time()
            work.cancel()
            await asyncio.wait([work])
            assert loop.time() - before < 5
            return [(one.target, one.state) for one in await office.deliveries()]

    assert run(main) == [("quick", "sent"), ("slow", "waiting")]


def test_a_test_goes_to_the_targets_that_are_named_and_answers_in_time() -> None:
    posts = Scripted("good"), Scripted("wrong", [REFUSED]), Scripted("dead", late=1_000)

    async def test(office: Office) -> None:
        found = await office.couriers.test(alert(), ["good", "wrong", "dead"])

        assert found == [
            Tried("good", ok=True),
            Tried("wrong", ok=False, detail="status 401"),
            Tried("dead", ok=False, detail="no answer within 25 s"),
        ]
        assert await office.deliveries() == []
        with pytest.raises(UnknownName, match="Did you mean 'good'"):
            await office.couriers.test(alert(), ["goood"])

    deliver(test, *posts)
