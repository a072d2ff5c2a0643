"""A courier: brings one target what the outbox holds for it, and disturbs no other.

1. Of what is due it makes a message, which is on disk before it is sent: one alert, a digest of a storm, or
   a digest of what came during quiet hours. What is too old, or too much, is given up.
2. The message is tried until it is taken, refused too often, or too old; each pause is longer than the one
   before. Nothing else is sent to the target meanwhile, and nothing in quiet hours.
3. How it ended is written down. What was taken and cannot be written is written later, not sent again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from klinehub.alerts.delivering import TargetRow
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import Kept, Message, Outbox, Outcome
from klinehub.alerts.parcel import TOO_OLD, Parcel, Terms, parcel
from klinehub.alerts.posting import Answer, Ended, Post
from klinehub.alerts.quiet import Quiet
from klinehub.errors import StoreError

# Real seconds in which alerts of one storm come, until the disk is asked again, and for a last attempt.
COLLECT: Final = 2.0
DISK_PAUSE: Final = 10.0
_LAST: Final = 3.0
# Less is no wait: a loop may take it for over at once.
_MOMENT: Final = 0.001
# Beyond all times: what is quiet by settings of before is due when it is not quiet now.
_EVER: Final = 2**62
# Alerts that are given up at once where more wait than may.
_SPARE: Final = 1_000


class Timing(NamedTuple):
    """Exchange time in ms, how much faster than real time it goes, and chance in [0, 1)."""

    now: Callable[[], int]
    rate: float
    jitter: Callable[[], float]

    def seconds(self, until: int) -> float:
        """Give the real seconds until a time."""
        return max(0.0, (until - self.now()) / (1000 * self.rate))

    def after(self, seconds: float) -> int:
        """Give the time that comes after so many real seconds."""
        return self.now() + int(seconds * 1000 * self.rate)


class Courier:
    """Brings *post* its alerts; those that nobody took for *oldest* ms are given up.

    *say* is told when the target is off, and why.
    """

    def __init__(
        self,
        post: Post,
        log: Log,
        timing: Timing,
        *,
        quiet: Quiet | None,
        oldest: int,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.post = post
        self.sent = self.retried = self.given_up = self.waiting = 0
        self.failure = ""
        self.is_quiet = False
        self.woken = asyncio.Event()
        self._log, self._timing, self._say = log, timing, say
        collect = int(COLLECT * 1000 * timing.rate)
        self._terms = Terms(post.digest, post.most, post.waiting, oldest, collect, quiet)
        # By the loop's own clock, which is never set.
        self._resumes = 0.0
        self._refusals = 0
        # Why the last attempt failed.
        self._why = ""
        self._unwritten: tuple[Message, Outcome] | None = None

    @property
    def state(self) -> str:
        """How it goes: off, quiet, failing or ok."""
        if self.post.failure:
            return "off"
        return "quiet" if self.is_quiet else "failing" if self.failure else "ok"

    def row(self, waiting: int) -> TargetRow:
        """Give what is shown of the target, of which so many deliveries wait."""
        post, hours = self.post, self._terms.quiet
        return TargetRow(
            name=post.name,
            kind=post.kind,
            where=post.where,
            state=self.state,
            quiet="" if hours is None else str(hours),
            digest=post.digest,
            lang=post.lang,
            waiting=waiting,
            sent=self.sent,
            retried=self.retried,
            given_up=self.given_up,
            failure=self.post.failure or self.failure,
        )

    async def run(self) -> None:
        """Bring what comes, until cancelled."""
        await self.post.begin()
        if self.post.failure:
            self._say(f"{self.post.name} is told nothing: {self.post.failure}")
        while True:
            self.woken.clear()
            try:
                pause = await self._turn()
            except StoreError as exc:
                self.failure, pause = str(exc), DISK_PAUSE
            if pause is None or pause > 0:
                await self._idle(pause)

    async def _idle(self, seconds: float | None) -> None:
        """Wait until something is new, at most so long."""
        waiting = asyncio.ensure_future(self.woken.wait())
        try:
            await asyncio.wait([waiting], timeout=seconds)
        finally:
            waiting.cancel()

    async def _turn(self) -> float | None:
        """Do the next thing; gives how long there is nothing to do, None for until something is new."""
        if self._unwritten is not None:
            await self._write(*self._unwritten)
        now, name, most = self._timing.now(), self.post.name, self.post.waiting + _SPARE
        quiet = None if self.post.failure else self._terms.quiet
        until = None if quiet is None else quiet.until(now)
        self.is_quiet = until is not None
        if until is not None:
            await self._log.do(lambda outbox: outbox.hush(name, now, until))
        messages, due = await self._log.do(lambda outbox: _held(outbox, name, most))
        self.waiting = len(due) + sum(len(message.alerts) for message in messages)
        if until is not None:
            return self._timing.seconds(until)
        if messages:
            return await self._again(messages[0], now)
        return await self._next(due, now) if due else None

    async def _again(self, message: Message, now: int) -> float:
        """Try a message that was begun; gives how long it is too early for that."""
        pause = self._resumes - asyncio.get_running_loop().time()
        if pause > _MOMENT:
            return pause
        if self._terms.waited(message.time, now) > self._terms.oldest:
            self.given_up += len(message.alerts)
            why = f"{TOO_OLD} ({self._why})" if self._why else TOO_OLD
            await self._write(message, Outcome("given_up", why))
        else:
            await self._attempt(message)
        return 0.0

    async def _next(self, due: Sequence[Kept], now: int) -> float:
        """Make the next message of what is due, or wait for what comes with it."""
        found = Parcel(due, self.post.failure) if self.post.failure else parcel(due, now, self._terms)
        if found is None:
            return self._timing.seconds(due[0].time + self._terms.collect)
        ids, name = [kept.id for kept in found.alerts], self.post.name
        if found.refusal:
            given_up = Outcome("given_up", found.refusal)
            await self._log.do(lambda outbox: outbox.settled(outbox.claim(name, ids, now), given_up, now))
            self.given_up += len(ids)
            # What nobody tried to send says nothing of the target.
            self.failure = self.failure if found.refusal == TOO_OLD else found.refusal
            return 0.0
        message = await self._log.do(lambda outbox: outbox.claim(name, ids, now))
        await self._attempt(message)
        return 0.0

    async def _attempt(self, message: Message) -> None:
        """Try a message once, and write down how that ended; a stop waits a moment for it."""
        if message.attempts:
            self.retried += 1
        trying = asyncio.ensure_future(self._tried(message))
        try:
            await asyncio.shield(trying)
        except asyncio.CancelledError:
            over, _ = await asyncio.wait([trying], timeout=_LAST)
            for one in over:
                # A disk that refuses is told already; what it did not take is sent again.
                one.exception()
            trying.cancel()
            raise

    async def _tried(self, message: Message) -> None:
        held = self._terms.held(message.alerts, message.time)
        answer = await self.post.send(message, quiet=len(held) == len(message.alerts))
        outcome = self._outcome(message, answer)
        self._unwritten = (message, outcome)
        await self._write(message, outcome)

    async def _write(self, message: Message, outcome: Outcome) -> None:
        """Write down how an attempt ended."""
        now = self._timing.now()
        await self._log.do(lambda outbox: outbox.settled(message, outcome, now))
        self._unwritten = None

    def _outcome(self, message: Message, answer: Answer) -> Outcome:
        """Say what becomes of a message after an attempt, and count it."""
        alerts, patience = len(message.alerts), self.post.patience
        if answer.ended is Ended.TAKEN:
            self._refusals, self.failure, self._why = 0, "", ""
            self.sent += alerts
            return Outcome("sent")
        self.failure = self._why = answer.detail
        self._refusals += answer.ended is Ended.REFUSED
        attempts = message.attempts + 1
        refused = answer.ended is Ended.REFUSED and self._refusals >= patience.refusals
        if refused or attempts == patience.tries:
            self.given_up += alerts
            return Outcome("given_up", answer.detail)
        pause = min(patience.longest, patience.first * 2.0 ** min(attempts - 1, 30))
        pause = max(pause * (0.5 + self._timing.jitter()), answer.pause)
        self._resumes = asyncio.get_running_loop().time() + pause
        return Outcome("failed", answer.detail, self._timing.after(pause))


def _held(outbox: Outbox, name: str, most: int) -> tuple[list[Message], list[Kept]]:
    """Give the messages of a target that were begun, and the alerts that no message has taken."""
    return outbox.unsettled(name, _EVER), outbox.due(name, _EVER, limit=most)
