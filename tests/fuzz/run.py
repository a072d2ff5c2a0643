"""Fuzz the wire decoders: `python -m tests.fuzz.run --inputs 10000000 --seed 1` prints one JSON document.

It exits with 1 when anything is wrong, and keeps the smallest input found that shows it in `found`.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.conftest import pytest_configure as drop_old_kernels
from tests.fuzz.crew import DEATH, shared_out
from tests.fuzz.decoders import Decoders, real
from tests.fuzz.jobs import Job, Outcome, Work
from tests.fuzz.targets import TARGETS
from tests.fuzz.work import work

FOUND: Final = Path(__file__).with_name("found")
# How many of a hundred inputs each target gets; frames and bodies take the most time each.
SHARES: Final = {"frames": 45, "bodies": 8, "numerals": 37, "answers": 10}
CHUNK: Final = 5_000
# Beyond this many differences more would tell nothing new.
ENOUGH: Final = 50
MOST_TRIES: Final = 3_000


def jobs(inputs: int, seed: int, only: Sequence[str] = ()) -> Iterator[Job]:
    """Part a number of inputs into chunks, targets in turn."""
    shares = {target: share for target, share in SHARES.items() if not only or target in only}
    left = {target: inputs * share // sum(shares.values()) for target, share in shares.items()}
    left[next(iter(left))] += inputs - sum(left.values())
    chunk = 0
    while any(left.values()):
        for target, count in left.items():
            if count:
                yield Job(target, seed, chunk, 0, min(CHUNK, count))
        left = {target: max(0, count - CHUNK) for target, count in left.items()}
        chunk += 1


def kind_of(reason: str) -> str:
    """Give the part of a reason that does not depend on the input."""
    return reason.partition(":")[0]


def shrunk(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Cut pieces out of an input as long as it still fails: halves first, single bytes last."""
    size, tries = len(data) // 2, 0
    while size:
        at = 0
        while at < len(data) and tries < MOST_TRIES:
            tries += 1
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


def smallest(target: str, data: bytes, reason: str, decoders: Decoders) -> bytes:
    """Shrink an input for as long as it fails in the same way."""

    def fails(shorter: bytes) -> bool:
        return any(kind_of(why) == kind_of(reason) for _, why in TARGETS[target]([shorter], decoders).wrong)

    return shrunk(data, fails) if fails(data) else data


class Report:
    """Adds up what the jobs bring."""

    def __init__(self) -> None:
        self.counts = {target: {"inputs": 0, "accepted": 0, "wrong": 0} for target in SHARES}
        self.seconds = dict.fromkeys(SHARES, 0.0)
        self.wrong: list[tuple[str, bytes, str]] = []

    def add(self, outcome: Outcome) -> None:
        target = outcome.job.target
        counts = self.counts[target]
        counts["inputs"] += outcome.job.end - outcome.job.begin
        counts["accepted"] += outcome.accepted
        counts["wrong"] += len(outcome.wrong)
        self.seconds[target] += outcome.seconds
        self.wrong += [(target, data, reason) for data, reason in outcome.wrong]

    def document(self, seed: int, seconds: float, found: list[dict[str, str]]) -> dict[str, Any]:
        """Give what is printed; refused inputs are those that were not taken."""
        crashes = sum(reason.startswith("crash") for _, _, reason in self.wrong)
        totals = {key: sum(counts[key] for counts in self.counts.values()) for key in ("inputs", "accepted")}
        targets = {
            target: counts
            | {
                "refused": counts["inputs"] - counts["accepted"],
                "inputs_per_cpu_second": round(counts["inputs"] / max(self.seconds[target], 1e-9)),
            }
            for target, counts in self.counts.items()
            if counts["inputs"]
        }
        return {
            "inputs": totals["inputs"],
            "seed": seed,
            "targets": targets,
            "accepted": totals["accepted"],
            "refused": totals["inputs"] - totals["accepted"],
            "differences": len(self.wrong) - crashes,
            "crashes": crashes,
            "seconds": round(seconds, 1),
            "found": found,
        }


def keep(report: Report, decoders: Callable[[], Decoders], folder: Path) -> list[dict[str, str]]:
    """Write the smallest input of each kind of failure to *folder*, and say how to replay it."""
    kinds: dict[tuple[str, str], tuple[bytes, str]] = {}
    for target, data, reason in sorted(report.wrong, key=lambda one: len(one[1])):
        kinds.setdefault((target, kind_of(reason)), (data, reason))
    found = []
    for (target, _), (data, reason) in kinds.items():
        # What kills a process would kill this one too.
        least = data if reason.startswith(DEATH) else smallest(target, data, reason, decoders())
        folder.mkdir(exist_ok=True)
        path = folder / f"{target}-{hashlib.sha256(least).hexdigest()[:12]}"
        path.write_bytes(least)
        replay = f"python -m tests.fuzz.run --replay {path}"
        found.append({"target": target, "reason": reason[:400], "replay": replay})
    return found


def fuzz(
    inputs: int, seed: int, processes: int, only: Sequence[str] = (), task: Work = work
) -> dict[str, Any]:
    """Judge a number of inputs and give the document."""
    began, report = time.monotonic(), Report()
    for outcome in shared_out(jobs(inputs, seed, only), task, processes):
        report.add(outcome)
        if len(report.wrong) >= ENOUGH:
            break
    found = keep(report, real, FOUND)
    return report.document(seed, time.monotonic() - began, found)


def replayed(path: Path, decoders: Decoders) -> list[str]:
    """Judge one kept input; its target is the first word of the file's name."""
    target = path.name.partition("-")[0]
    return [reason for _, reason in TARGETS[target]([path.read_bytes()], decoders).wrong]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzz the wire decoders.")
    parser.add_argument("--inputs", type=int, default=10_000_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=1, help="decides every input")
    parser.add_argument("--processes", type=int, default=2, help="how many processes share the work")
    parser.add_argument("--only", action="append", choices=tuple(SHARES), default=[], help="only this target")
    parser.add_argument("--replay", type=Path, help="judge the input kept in this file")
    options = parser.parse_args(arguments)
    drop_old_kernels()
    if options.replay is not None:
        reasons = replayed(options.replay, real())
        sys.stdout.write("".join(f"{reason}\n" for reason in reasons) or "Nothing is wrong with it.\n")
        return 1 if reasons else 0
    document = fuzz(options.inputs, options.seed, max(1, options.processes), options.only)
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 1 if document["differences"] + document["crashes"] else 0


if __name__ == "__main__":
    sys.exit(main())
