"""The harness's own test: bugs planted in the hub one by one, each of which the soak has to find.

A mutant is a copy of the package in which a few words differ. It is killed by the first of the seeds 1 to
200 that the hub itself passes and the mutant does not; those whose schedule holds what brings it to light
are tried first. `python -m tests.sim.mutants [NAME ...]` tries all, or some, and tells what killed each.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import klinehub
from klinehub.sim.soak import planned

SEEDS: Final = range(1, 201)
PACKAGE: Final = Path(klinehub.__file__).parent
# Shares of symbol-seconds that are fresh without faults, and between them; below that a hub cries wolf.
CALM, BETWEEN = 0.99, 0.9
# Seconds of one process that tries a mutant, compiling included.
_PATIENCE: Final = 3_600
_CHILD: Final = """
import json, sys
from klinehub.sim.soak import soak
for seed in json.loads(sys.argv[1]):
    one = soak(seed, patience=1)
    fresh, found = one.calm_fresh / max(one.calm, 1), [str(each) for each in one.divergences[:1]]
    print(json.dumps([seed, found, bool(one.faults), fresh if one.calm else 1.0]), flush=True)
"""


class Mutant(NamedTuple):
    """A planted bug: in *path* (below the package) *old* becomes *new*; seeds with *kinds* come first."""

    name: str
    path: str
    old: str
    new: str
    kinds: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What one seed gave: the first divergence, if any, and whether it was fresh for long enough."""

    seed: int
    divergence: str
    enough: bool

    @property
    def passed(self) -> bool:
        return self.enough and not self.divergence


MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a row of REST closes a bar that is still open",
        "panel/merge.py",
        "if following - 1 + PROOF <= asked:",
        "if words[OPEN_TIME] <= asked:",
    ),
    Mutant(
        "an answer proves closes by when it arrived",
        "feed/live.py",
        "self.core.on_rest(item, exact, self.timing.proof(answer), self._gate.now())",
        "self.core.on_rest(item, exact, self._gate.now() + 2_000, self._gate.now())",
        ("slow_rest", "restart", "new_listing", "stall", "mute_all"),
    ),
    Mutant(
        "a price of NaN is taken",
        "feed/body.py",
        "if not _NUMERAL.fullmatch(text):",
        'if text not in {"NaN", "Infinity"} and not _NUMERAL.fullmatch(text):',
        ("garbage",),
    ),
    Mutant(
        "a high below the low is taken",
        "feed/wire.py",
        "if not ordered or not aligned or low < 0",
        "if not aligned or low < 0",
        ("garbage",),
    ),
    Mutant(
        "nobody looks whether streams are silent",
        "feed/liveness.py",
        "        for t in self._streamed:\n            self._check_streams(t, now, into)\n"
        "        for number in range(len(self._seats)):\n            self._check_seat(number, now, into)\n",
        "",
        ("stall", "mute_all", "mute_socket"),
    ),
    Mutant(
        "nothing is repaired after a loss",
        "feed/repair.py",
        "        if not found:\n            return []\n        streamed =",
        "        return []\n        streamed =",
        ("reset", "stall", "mute_all"),
    ),
    Mutant(
        "a close is announced twice",
        "feed/closing.py",
        "into.closed.append(BarClosed(",
        "into.closed.append(BarClosed(timeframe.name, bar, timeframe.open_time(bar), not names, names))\n"
        "            into.closed.append(BarClosed(",
    ),
    Mutant(
        "a restart forgets a ban",
        "feed/budget.py",
        "            self._account.ban(self._host, self._budget.banned_until)",
        "            pass",
        ("restart", "ban"),
    ),
    Mutant(
        "a larger bar closes a part too early",
        "panel/resample.py",
        "last = bar_index(after, mem.grid[p, 0], mem.grid[p, 1]) - 1",
        "last = bar_index(after, mem.grid[p, 0], mem.grid[p, 1]) - 2",
    ),
    Mutant(
        "a larger bar counts a part that is still forming",
        "panel/resample.py",
        "if not is_closed(mem, p, row, part):",
        "if part > mem.newest[p, row] or mem.state[p, row, part % mem.state.shape[2]] < FORMING:",
        ("lost_close", "late_close"),
    ),
    Mutant(
        "the smaller bar is announced before the larger",
        "feed/closing.py",
        "t = max(number for number, one in enumerate(ends) if one == end)",
        "t = min(number for number, one in enumerate(ends) if one == end)",
    ),
    Mutant(
        "an older frame replaces a newer one",
        "panel/merge.py",
        " or event < mem.event[t, row] or _behind(mem, t, row, slot, words)\n    ):",
        "\n    ):",
        ("disorder",),
    ),
    Mutant(
        "a late close overwrites a closed bar",
        "panel/merge.py",
        "                return CONFLICT\n",
        "                put(mem, t, row, index, words, CLOSED)\n                return QUIET\n",
        ("correction", "late_close", "stale_replica"),
    ),
    Mutant(
        "a correction leaves no record",
        "feed/core.py",
        "into.corrected.append(Correction(symbol, name, time, old, new, cause, now))",
        "Correction(symbol, name, time, old, new, cause, now)",
        ("correction",),
    ),
    Mutant(
        "a correction is never made",
        "feed/core.py",
        "                self._correct(t, row, one, into, now)",
        "                pass",
        ("correction",),
    ),
    Mutant(
        "nothing is ever stale",
        "feed/liveness.py",
        "stale[rows, 0] = why[rows]",
        "stale[rows, 0] = 0",
        ("stall", "mute_all"),
    ),
    Mutant(
        "everything is always stale",
        "feed/liveness.py",
        "stale[rows, 0] = why[rows]",
        "stale[rows, 0] = 3",
    ),
    Mutant(
        "a delisted symbol is still waited for",
        "feed/roster.py",
        "self._until[row] = min(self._until[row], now)",
        "return",
        ("delisting", "rename"),
    ),
    Mutant(
        "a new listing is ignored",
        "feed/core.py",
        "return returned + changes.added[: self.ring.capacity - len(self.ring.symbols)]",
        "return returned",
        ("new_listing", "rename"),
    ),
    Mutant(
        "a jump of the clock is ignored",
        "feed/timing.py",
        "if verdict in {Verdict.PAUSED, Verdict.JUMPED}:",
        "if False:",
        ("clock_jump", "suspend"),
    ),
    Mutant(
        "requests go on during a ban",
        "feed/budget.py",
        "        return now < self.banned_until",
        "        return False",
        ("ban", "spent"),
    ),
    Mutant(
        "a first answer that differs is believed",
        "feed/doubts.py",
        "        if known is None:\n            self.raised += 1\n",
        "        if known is None:\n            return words is not None\n",
        ("stale_replica", "correction"),
    ),
    Mutant(
        "a bar is closed by any frame",
        "feed/wire.py",
        "out[CLOSED_AT] = 1 if closed == TRUE else 0",
        "out[CLOSED_AT] = 1",
    ),
    Mutant(
        "the budget's minute begins in the middle of the exchange's",
        "feed/budget.py",
        "        minute = now // MINUTE\n        if minute == self._minute:",
        "        minute = (now + MINUTE // 2) // MINUTE\n        if minute == self._minute:",
        ("restart",),
    ),
    Mutant(
        "a lost bar is never given up",
        "feed/closing.py",
        "is_over = patience_ends and now >= end + self._grace",
        "is_over = False",
        ("stall", "mute_all", "lost_close"),
    ),
    Mutant(
        "a lost connection is not told",
        "feed/liveness.py",
        "self._mark(rows, Reason.LOST, now)",
        "pass",
        ("reset", "day_cut", "blackhole"),
    ),
    Mutant(
        "a commit is acknowledged before it is on disk",
        "store/sqlite.py",
        "PRAGMA synchronous = FULL;",
        "PRAGMA synchronous = NORMAL;",
        ("power_cut",),
    ),
    Mutant(
        "a slice is read whatever its checksum says",
        "store/slices.py",
        " or told != _sum(timeframe, bar, body)",
        "",
        ("flipped_bits", "zeroed_page"),
    ),
    Mutant(
        "a disk that fails is not told",
        "store/keeping.py",
        "self.durable, self.fault = False, str(exc)",
        "self.fault = str(exc)",
        ("disk_full", "disk_errors", "read_only_disk"),
    ),
    Mutant(
        "what could not be written is taken for kept",
        "store/keeping.py",
        "                self.durable, self.fault = False, str(exc)\n                return",
        "                self.durable, self.fault = False, str(exc)\n                self._saved[:] = seen\n"
        "                return",
        ("disk_full", "disk_errors", "read_only_disk"),
    ),
    Mutant(
        "only the newest bar is restored",
        "store/keeping.py",
        "store.slices(timeframe, max(0, last - ring.bars + 1), last)",
        "store.slices(timeframe, last, last)",
        ("restart", "kill", "power_cut"),
    ),
    Mutant(
        "a newer store is opened",
        "store/sqlite.py",
        "if version > len(_STEPS):",
        "if version < 0:",
        ("newer_store",),
    ),
)


def seeds_for(mutant: Mutant) -> list[int]:
    """Give the seeds 1 to 200, those first whose schedule holds most of what the bug is about."""
    return sorted(SEEDS, key=lambda seed: -sum(fault.kind in mutant.kinds for fault in planned(seed)))


def plant(mutant: Mutant, folder: Path, *, compiled: bool = False) -> Path:
    """Make a copy of the package with the bug in it; raises ValueError where the words are not there once.

    What is *compiled* of the package is taken along: a compiled file counts while its source is as old.
    """
    copy = folder / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.pyc" if compiled else "__pycache__"))
    path = copy / mutant.path
    source = path.read_text("utf-8")
    if source.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.name}: {mutant.path} holds {mutant.old!r} {source.count(mutant.old)} times"
        )
    path.write_text(source.replace(mutant.old, mutant.new), "utf-8")
    return copy


def is_kernel(mutant: Mutant) -> bool:
    """Whether the bug is in compiled code, so that nothing compiled may be taken over."""
    source = (PACKAGE / mutant.path).read_text("utf-8")
    return "@kernel" in source or "njit" in source


def outcomes(seeds: Sequence[int], package: Path, cache: Path | None) -> Iterator[Seen]:
    """Run seeds one after the other against a copy of the package, in a process of its own.

    What is compiled lies in *cache*, or beside the sources.
    """
    env = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONHASHSEED": "0"}
    if cache is not None:
        env["NUMBA_CACHE_DIR"] = str(cache)
    command = [sys.executable, "-c", _CHILD, json.dumps(list(seeds))]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            for line in child.stdout or ():
                seed, divergences, faulty, fresh = json.loads(line)
                enough = fresh >= (BETWEEN if faulty else CALM)
                yield Seen(seed, divergences[0] if divergences else "", enough)
        finally:
            child.kill()
    if child.returncode not in {0, -signal.SIGKILL}:
        raise RuntimeError(f"{package} could not be run at all: exit code {child.returncode}.")


class Bench:
    """Tries mutants, and knows what the hub itself makes of the seeds that killed them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: dict[int, bool] = {}

    def killer(self, mutant: Mutant, seeds: Iterable[int]) -> Seen | None:
        """Give what the first seed that kills a mutant showed, None when all of them let it live."""
        place = self._folder / "package"
        shutil.rmtree(place, ignore_errors=True)
        kernel = is_kernel(mutant)
        copy = plant(mutant, place, compiled=not kernel)
        cache = Path(tempfile.mkdtemp(dir=self._folder)) if kernel else None
        try:
            for seen in outcomes(list(seeds), copy, cache):
                if not seen.passed and self._passes(seen.seed):
                    return seen
        finally:
            if cache is not None:
                shutil.rmtree(cache)
        return None

    def _passes(self, seed: int) -> bool:
        """Whether the hub without any bug passes a seed."""
        if seed not in self._own:
            seen = next(outcomes([seed], PACKAGE, None), None)
            self._own[seed] = seen is not None and seen.passed
        return self._own[seed]


def main(names: Sequence[str]) -> int:
    """Try all mutants, or those whose name holds one of *names*; gives how many lived."""
    chosen = [one for one in MUTANTS if not names or any(name in one.name for name in names)]
    lived = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for mutant in chosen:
            seen = bench.killer(mutant, seeds_for(mutant))
            lived += seen is None
            fate = "LIVES" if seen is None else f"seed {seen.seed}: {seen.divergence or 'not fresh enough'}"
            sys.stdout.write(f"{mutant.name}: {fate}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - lived}/{len(chosen)} killed\n")
    return lived


if __name__ == "__main__":
    # Leaving by an exception ends the process that is trying a mutant, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(min(main(sys.argv[1:]), 1))
