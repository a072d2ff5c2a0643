"""The circuit breaker of one host: a host that fails is left in peace, and one probe finds out about it.

It decides and never waits; every method is told the exchange time *now* in ms.
"""

from typing import Final

from klinehub.domain.moment import utc

FAILURES: Final = 5
REST: Final = 60_000
# A firewall or a forbidden country does not change its mind within a minute.
BLOCK: Final = 300_000
OVERLOAD: Final = 5_000
# The least between two probes that were let out early because something else got through.
NUDGE: Final = 5_000


class Breaker:
    """Rests for *rest* ms after so many *failures* in a row, then lets one request out as a probe.

    Failures of requests that left before the last counted one came back are one and the same incident:
    64 requests that break at once are one failure, not 64.
    """

    def __init__(self, *, failures: int = FAILURES, rest: int = REST, block: int = BLOCK) -> None:
        self.status = 0
        self.until = 0
        self._most = failures
        self._rest = rest
        self._block = block
        self._row = 0
        self._counted = 0
        self._why = ""
        self._probe: int | None = None
        self._left = 0

    def closed(self, now: int) -> str:
        """Say why nothing may leave, in a few words; nothing if it may."""
        if self.until == 0:
            return ""
        name = f"blocked ({self.status})" if self.status else "resting"
        if self._waits(now):
            return f"{name} until {utc(self.until)}{self._why}"
        return f"{name}, a probe is on its way{self._why}" if self._probes(now) else ""

    def leave(self, now: int) -> None:
        """Note that a request leaves: the first one after a rest is the probe."""
        if self.until:
            self._probe = self._left = now

    def answered(self) -> None:
        """Close the circuit: the exchange answered, whatever it said."""
        self.until = self.status = self._row = 0
        self._probe = None

    def failed(self, asked: int, now: int, why: str = "") -> None:
        """Count a time-out, a lost connection, a 5xx or a foreign body of a request that left at *asked*."""
        if self._probe is not None:
            self._open(now + self._rest, why)
        elif not self.until and asked >= self._counted:
            self._row += 1
            self._counted = now
            if self._row >= self._most:
                self._open(now + self._rest, why)

    def overloaded(self, now: int, why: str = "") -> None:
        """Rest shortly: the exchange said that it has too much to do."""
        if not self._waits(now):
            self._open(now + min(OVERLOAD, self._rest), why)

    def blocked(self, status: int, now: int) -> None:
        """Rest for long: the exchange or a firewall refuses this address with *status* 403 or 451."""
        self._open(now + self._block, "")
        self.status = status

    def adopt(self, status: int, until: int, now: int) -> None:
        """Take over a block that another hub, or an earlier run, has met with."""
        # A clock that was wrong then must not close the gate for years.
        until = min(until, now + self._block)
        if until > max(now, self.until):
            self._open(until, "")
            self.status = status

    def released(self) -> None:
        """Let another request be the probe: the one that left has ended without an answer or a failure."""
        self._probe = None

    def nudge(self, now: int) -> None:
        """Let the next request be the probe at once: something else got through. A block stays."""
        if self.until and not self.status and self._probe is None:
            self.until = max(1, min(self.until, max(now, self._left + NUDGE)))

    def _open(self, until: int, why: str) -> None:
        self.until, self.status, self._probe = until, 0, None
        self._why = f" (last failure: {why})" if why else ""

    def _waits(self, now: int) -> bool:
        """Say whether the rest lasts; a clock that was set back does not make it longer."""
        longest = self._block if self.status else self._rest
        return now < self.until <= now + longest

    def _probes(self, now: int) -> bool:
        """Say whether a probe is out; one that nobody reported on is given up after a rest."""
        return self._probe is not None and 0 <= now - self._probe < self._rest
