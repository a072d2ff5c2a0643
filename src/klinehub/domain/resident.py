"""How much memory this process takes, as the operating system counts it."""

import resource
from pathlib import Path


def resident_bytes() -> int:
    """Give this process's resident memory; the peak where only that is known."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
