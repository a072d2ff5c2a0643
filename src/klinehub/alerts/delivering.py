"""What the rest of a hub needs of delivery: to wake it, to try a target out, and to show how it goes."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from klinehub.scan.alerts import Alert


class TargetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A target as it is shown: of its address only the host or the service, never more.

    `kind` is "webhook" or "messenger"; `state` is "ok", "failing", "quiet" or "off", the last with the reason
    in `failure`: a library that is not installed, an address that can not be. `waiting` deliveries have not
    been sent, `sent`, `retried` and `given_up` are counted since the start.
    """

    name: str
    kind: str
    where: str
    state: str = "ok"
    quiet: str = ""
    digest: int = 0
    lang: str = ""
    waiting: int = 0
    sent: int = 0
    retried: int = 0
    given_up: int = 0
    failure: str = ""


class Tried(msgspec.Struct, frozen=True):
    """What became of a test message to one target; `detail` says why it was not taken."""

    target: str
    ok: bool
    detail: str = ""


class Delivery(Protocol):
    """Sends what the outbox holds; `run` until cancelled."""

    @property
    def names(self) -> Collection[str]:
        """The targets that there are, also those that are off."""

    def reached(self, alert: Alert, to: Sequence[str]) -> tuple[str, ...]:
        """Give the targets that get an alert addressed to *to*, all of them without any."""

    def wake(self) -> None:
        """Say that the outbox has something new; never waits, may be called from the event loop alone."""

    async def run(self) -> None:
        """Deliver until cancelled."""

    async def test(self, alert: Alert, to: Sequence[str]) -> list[Tried]:
        """Send *alert* to targets at once, marked as a test, beside the outbox; answers within seconds."""

    async def rows(self) -> list[TargetRow]:
        """Give what is shown of each target."""

    def now(self) -> Sequence[TargetRow]:
        """Give the same at once, with what waited when it was last looked at."""
