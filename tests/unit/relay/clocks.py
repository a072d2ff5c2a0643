"""The clock of tests on a real server."""

import time

from klinehub.domain.clock import Clock


def real_clock(rate: float = 1.0) -> Clock:
    return Clock(int(time.time() * 1000), rate, time.monotonic)
