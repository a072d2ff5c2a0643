"""Work that dies or hangs at some input, to show that the crew notices and finds which one."""

import os
import time

from tests.fuzz.jobs import Job, Outcome, inputs_of


def dies_of_an_e(job: Job) -> Outcome:
    """End the whole process at the first input that holds a capital E."""
    if any(b"E" in data for data in inputs_of(job)):
        os._exit(1)
    return Outcome(job, 0, [], 0.0)


def hangs_on_an_e(job: Job) -> Outcome:
    """Never answer for an input that holds a capital E."""
    while any(b"E" in data for data in inputs_of(job)):
        time.sleep(1)
    return Outcome(job, 0, [], 0.0)
