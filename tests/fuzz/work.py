"""Work: jobs judged with the decoders as they are, or with others."""

import time
from functools import cache

from tests.fuzz.decoders import Decoders, real
from tests.fuzz.jobs import Job, Outcome, inputs_of
from tests.fuzz.targets import TARGETS


def judged(job: Job, decoders: Decoders) -> Outcome:
    """Draw the inputs of a job and judge what the decoders make of them."""
    began = time.process_time()
    inputs = inputs_of(job)
    verdicts = TARGETS[job.target](inputs, decoders)
    wrong = [(inputs[n], reason) for n, reason in verdicts.wrong]
    return Outcome(job, verdicts.accepted, wrong, time.process_time() - began)


@cache
def _decoders() -> Decoders:
    return real()


def work(job: Job) -> Outcome:
    """Judge the decoders as they are."""
    return judged(job, _decoders())
