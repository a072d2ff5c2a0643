"""Market time: an epoch, a rate and a monotonic source, so that time can be simulated or sped up."""

from collections.abc import Callable


class Clock:
    """Market time in ms UTC that runs *rate* times as fast as the *monotonic* seconds it is given.

    *epoch* is the market time at the moment of construction. With rate 60 a market minute takes a
    real second. Below the app floor this is the only source of time.
    """

    def __init__(self, epoch: int, rate: float, monotonic: Callable[[], float]) -> None:
        self.epoch = epoch
        self.rate = rate
        self.monotonic = monotonic
        self._origin = monotonic()

    def now(self) -> int:
        """Give the market time in ms UTC."""
        return self.epoch + int((self.monotonic() - self._origin) * 1000.0 * self.rate)

    def seconds_until(self, time: int) -> float:
        """Give the real seconds until market time *time* (ms UTC); never negative."""
        return max(0.0, (time - self.now()) / (1000.0 * self.rate))

    def shifted(self, by: int) -> "Clock":
        """Give a clock on the same source that is *by* ms of market time ahead of this one."""
        return Clock(self.now() + by, self.rate, self.monotonic)
