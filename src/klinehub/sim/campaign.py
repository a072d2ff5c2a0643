"""Campaigns: many seeds on several processes, and what they add up to."""

import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from typing import Final

import msgspec

from klinehub.sim.consumers import Lend
from klinehub.sim.faults import ALL_KINDS
from klinehub.sim.soak import Outcome, soak

HOUR: Final = 3600.0
# Seeds that are handed out to a process ahead of time.
_AHEAD: Final = 2


class Failed(msgspec.Struct, frozen=True):
    """A seed that failed: how often, the first divergence, and the command that shows it again."""

    seed: int
    divergences: int
    first: str
    replay: str


class Told(msgspec.Struct, frozen=True):
    """The longest seconds that a symbol, and that everything, was silent before it was told stale."""

    stream: float
    feed: float
    healed: float


class Report(msgspec.Struct, frozen=True):
    """What a campaign found; shares are of symbol-seconds, `seconds` real ones of all processes together.

    `availability_fault_free` is the share of fresh ones in seeds without a fault, `availability_faulty`
    that in the others while no fault was in force or just healed; None where there were none. `hashes`
    is the number of seeds whose second run gave the same trace, None when each was run once. `kept_slices`
    were acknowledged to be on disk, `restored_bars` were there for hubs that started. Clients of the streams
    were told `told_closes`, and `clients_cut` of them were too slow.
    """

    seeds: int
    simulated_hours: float
    faults: dict[str, int]
    divergences: int
    wrong_closed_served: int
    stale_seconds_share: float
    availability_fault_free: float | None
    availability_faulty: float | None
    seconds: float
    told: Told
    failed: tuple[Failed, ...]
    hashes: int | None = None
    kept_slices: int = 0
    restored_bars: int = 0
    told_closes: int = 0
    clients_cut: int = 0


def campaign(
    seeds: Sequence[int],
    *,
    jobs: int,
    monotonic: Callable[[], float],
    progress: Callable[[Outcome], None] = lambda _: None,
    twice: bool = False,
    lend: Lend | None = None,
) -> Report:
    """Run *seeds* on *jobs* processes, each *twice* to compare its traces; *progress* gets each outcome.

    *lend* serves the hub's streams to clients.
    """
    started = monotonic()
    outcomes: dict[int, Outcome] = {}
    equal: Counter[bool] = Counter()
    for outcome in _all([*seeds, *seeds] if twice else seeds, jobs, partial(soak, lend=lend)):
        if outcome.seed in outcomes:
            equal[outcomes[outcome.seed].hash == outcome.hash] += 1
            continue
        outcomes[outcome.seed] = outcome
        progress(outcome)
    found = [outcomes[seed] for seed in seeds]
    return _summed(found, monotonic() - started, equal[True] if twice else None)


def replay_command(seed: int) -> str:
    """Give the command that runs one seed again and shows what happens in it."""
    return f"klinehub sim soak --seed {seed} --trace"


def _all(seeds: Iterable[int], jobs: int, play: Callable[[int], Outcome]) -> Iterator[Outcome]:
    """Give the outcomes as they come; what is still to be done is dropped when the caller stops."""
    if jobs == 1:
        yield from map(play, seeds)
        return
    left = iter(seeds)
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    try:
        running = {pool.submit(play, seed) for _, seed in zip(range(jobs * _AHEAD), left, strict=False)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in sorted(done, key=_seed):
                running |= {pool.submit(play, seed) for seed in _next(left)}
                yield one.result()
    finally:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - a pool has no way to stop at once
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _seed(done: "Future[Outcome]") -> int:
    return done.result().seed


def _next(left: Iterator[int]) -> list[int]:
    return [seed for _, seed in zip(range(1), left, strict=False)]


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the process that gives out the seeds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _summed(found: Sequence[Outcome], seconds: float, equal: int | None) -> Report:
    """Add outcomes up."""
    faults = Counter(dict.fromkeys(ALL_KINDS, 0))
    for one in found:
        faults.update(one.faults)
    failed = [one for one in found if one.divergences]
    total = sum(one.symbol_seconds for one in found)
    return Report(
        seeds=len(found),
        simulated_hours=round(sum(one.seconds for one in found) / HOUR, 3),
        faults=dict(faults),
        divergences=sum(len(one.divergences) for one in found),
        wrong_closed_served=sum(each.kind == "I1" for one in found for each in one.divergences),
        stale_seconds_share=sum(one.stale_seconds for one in found) / total if total else 0.0,
        availability_fault_free=_available([one for one in found if not one.faults]),
        availability_faulty=_available([one for one in found if one.faults]),
        seconds=round(seconds, 1),
        told=Told(
            max((one.untold for one in found), default=0.0),
            max((one.feed_untold for one in found), default=0.0),
            max((one.healed for one in found), default=0.0),
        ),
        failed=tuple(
            Failed(one.seed, len(one.divergences), str(one.divergences[0]), replay_command(one.seed))
            for one in failed
        ),
        hashes=equal,
        kept_slices=sum(one.kept for one in found),
        restored_bars=sum(one.restored for one in found),
        told_closes=sum(one.told for one in found),
        clients_cut=sum(one.cut for one in found),
    )


def _available(found: Sequence[Outcome]) -> float | None:
    """Give the share of fresh symbol-seconds while nothing was wrong outside."""
    calm = sum(one.calm for one in found)
    return sum(one.calm_fresh for one in found) / calm if calm else None
