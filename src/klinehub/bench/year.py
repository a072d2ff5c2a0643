"""A whole study of a made-up year, in a process of its own that tells its peak of memory."""

import json
import os
import resource
import sys
import time

from klinehub.bench.evidence import year_tape
from klinehub.evidence.members import Listed
from klinehub.evidence.pools import Threads
from klinehub.evidence.study import Asked, study
from klinehub.scan.scanner import default_screen


def main() -> None:
    """Print the seconds that a study took, and the process's peak of memory in MB (10^6 bytes)."""
    tape = year_tape(*map(int, sys.argv[1:4]))
    screen = default_screen(tape.panels, "1h")
    asked = Asked(pool=Threads(os.cpu_count() or 1))
    began = time.perf_counter()
    study(screen, tape, 0, 2**60, asked, members=Listed(), code="bench")
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    sys.stdout.write(json.dumps({"year_seconds": round(took, 2), "peak_mb": round(peak, 1)}))


if __name__ == "__main__":
    main()
