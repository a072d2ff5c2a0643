"""A machine's clock that goes wrong: it jumps, or runs too fast or too slow."""

from collections.abc import Callable


class Skewed:
    """Monotonic seconds of *source* with every jump and drift that was made so far."""

    def __init__(self, source: Callable[[], float]) -> None:
        self._source = source
        self._origin = self._since = source()
        self._rate = 1.0

    def __call__(self) -> float:
        """Give the seconds that the wrong clock shows."""
        return self._origin + (self._source() - self._since) * self._rate

    def jump(self, seconds: float) -> None:
        """Set the clock forward, or back where *seconds* is negative."""
        self._rebase()
        self._origin += seconds

    def drift(self, ppm: float) -> None:
        """Let the clock gain *ppm* microseconds a second from now on (negative: lose)."""
        self._rebase()
        self._rate = 1.0 + ppm * 1e-6

    def _rebase(self) -> None:
        self._origin, self._since = self(), self._source()
