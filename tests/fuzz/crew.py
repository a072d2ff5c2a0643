"""The crew: processes that judge chunks of inputs, so that one that dies or hangs tells on its input."""

import multiprocessing
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from tests.fuzz.jobs import Job, Outcome, Work, inputs_of

# A chunk takes about a second; one that takes this long hangs.
HANGS: Final = 180.0
# Importing and compiling may take this long, too.
STARTS: Final = 120.0
DEATH: Final = "crash by a process"


def _serve(pipe: Connection, task: Work) -> None:
    pipe.send(None)  # imported
    while (job := pipe.recv()) is not None:
        pipe.send(task(job))


class _Worker:
    """One process and the job that it has."""

    def __init__(self, task: Work) -> None:
        context: Any = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, task), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.since = time.monotonic() + STARTS

    def give(self, job: Job) -> None:
        """Send a job; the time that the process needs to start does not count."""
        self.job, self.since = job, max(self.since, time.monotonic())
        self.pipe.send(job)

    def answer(self) -> Outcome | None:
        """Take what the process sent: None when it has only started."""
        self.since = time.monotonic()
        outcome: Outcome | None = self.pipe.recv()
        return outcome

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def shared_out(jobs: Iterable[Job], task: Work, processes: int, hangs: float = HANGS) -> Iterator[Outcome]:
    """Give jobs to processes and yield what comes of them, in any order.

    A job whose process died or did not answer within *hangs* seconds is halved until one input is left.
    """
    left = iter(jobs)
    crew: list[_Worker] = []
    try:
        for job in left:
            crew.append(_Worker(task))
            crew[-1].give(job)
            if len(crew) == processes:
                break
        while crew:
            yield from _turn(crew, left, task, hangs)
    finally:
        for worker in crew:
            worker.end()


def _turn(crew: list[_Worker], left: Iterator[Job], task: Work, hangs: float) -> Iterator[Outcome]:
    """Wait for one answer or death, and give the next jobs out."""
    ready = wait([worker.pipe for worker in crew], timeout=1.0)
    for worker in list(crew):
        job, answered = worker.job, worker.pipe in ready
        if job is None or (not answered and time.monotonic() - worker.since < hangs):
            continue
        try:
            outcome = worker.answer() if answered else _isolated(job, task, hangs, "hangs")
            if outcome is None:
                continue
        except EOFError:
            outcome, answered = _isolated(job, task, hangs, "dies"), False
        yield outcome
        following = next(left, None)
        if following is None or not answered:
            worker.end()
            crew.remove(worker)
        if following is not None:
            if not answered:
                crew.append(worker := _Worker(task))
            worker.give(following)


def _isolated(job: Job, task: Work, hangs: float, why: str) -> Outcome:
    """Find the first input of a job at which its process dies or hangs, by halving."""
    began = time.monotonic()
    begin, end = job.begin, job.end
    while end - begin > 1:
        middle = (begin + end) // 2
        if _survives(job._replace(begin=begin, end=middle), task, hangs):
            begin = middle
        else:
            end = middle
    (data,) = inputs_of(job._replace(begin=begin, end=end))
    return Outcome(job, 0, [(data, f"{DEATH} that {why}")], time.monotonic() - began)


def _survives(job: Job, task: Work, hangs: float) -> bool:
    worker = _Worker(task)
    try:
        worker.give(job)
        worker.pipe.poll(STARTS)
        worker.answer()
        if not worker.pipe.poll(hangs):
            return False
        worker.answer()
    except EOFError:
        return False
    finally:
        worker.end()
    return True
