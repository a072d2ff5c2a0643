"""The pool on Ray: a range is parted among the workers of a cluster, with the same bits as here.

1. The tape is put into Ray's object store once; workers of a machine map it, others have it sent.
2. A worker streams its values portion by portion, so that none has to hold a whole part of them.
3. A user's own factors travel with the work. klinehub, numpy and numba do not: each part of the work is told
   which ones the others have, and is refused by a worker that has different ones.
"""

import hashlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Final

import numba
import numpy as np
import ray
from ray import ObjectRef, cloudpickle
from ray.exceptions import RayError, RayTaskError

from klinehub.errors import DefinitionError, KlinehubError, Unreachable
from klinehub.evidence.pools import Job, Progress, Values, computed, put
from klinehub.evidence.tape import Tape
from klinehub.factors.define import Factor
from klinehub.factors.expr import Expr, terms

AUTO: Final = "auto"
LOCAL: Final = "local"
_SECONDS: Final = 3.0
# Portions that a worker may be ahead of who takes them.
_AHEAD: Final = 4


class RayPool:
    """The workers of a Ray cluster that this process is connected to."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        work: Any = ray.remote(_portions)
        self._work = work.options(num_returns="streaming", _generator_backpressure_num_objects=_AHEAD)
        self._lent: tuple[Tape, ObjectRef[Tape]] | None = None

    def compute(self, job: Job, tape: Tape, values: Values, progress: Progress) -> None:
        """Fill *values* [bars, symbols] of each expression; *progress* is told of bars that are done."""
        taken = _take_along(job.asked)
        lent, code = self._lend(tape), _code()
        streams: list[Any] = [self._work.remote(part, lent, code, taken) for part in job.parts(self.workers)]
        try:
            while streams:
                ready: list[Any] = ray.wait(streams)[0]
                for stream in ready:
                    reference = next(stream, None)
                    if reference is None:
                        streams.remove(stream)
                        continue
                    bar, found = ray.get(reference)
                    progress(put(values, bar - job.first, found))
        except RayTaskError as exc:
            raise _told(exc) from exc
        except RayError as exc:
            raise Unreachable(f"Ray lost the work ({exc}): try again, or leave --ray out.") from exc
        finally:
            for stream in streams:
                ray.cancel(stream)

    def _lend(self, tape: Tape) -> ObjectRef[Tape]:
        """Put a tape where the workers read it, unless it is the one that is there already."""
        if self._lent is None or self._lent[0] is not tape:
            # What is paid is booked here, not there. The tape before is freed first: both may be large.
            self._lent = None
            self._lent = tape, ray.put(tape._replace(funding={}))
        return self._lent[1]


@contextmanager
def connected(address: str, workers: int | None = None) -> Iterator[RayPool]:
    """Give the pool of the cluster at `auto` or HOST:PORT, or of one that is started for it, `local`.

    It has as many *workers* as the cluster has cores where that is not said. Raises DefinitionError for what
    is no address, Unreachable where nobody answers.
    """
    _knock(address)
    # A cluster of its own leaves nothing behind, and logs nothing where others read.
    with TemporaryDirectory(prefix="klinehub-ray-") if address == LOCAL else nullcontext() as folder:
        options = {"num_cpus": workers or os.cpu_count(), "include_dashboard": False, "_temp_dir": folder}
        try:
            _join(address, options if address == LOCAL else {})
            cores = int(ray.cluster_resources().get("CPU", 0))
            if not (workers or cores):
                raise DefinitionError(f"The Ray at {address} has no cores: say how many come, --workers N.")
            yield RayPool(workers or cores)
        finally:
            ray.shutdown()


def _join(address: str, options: Mapping[str, Any]) -> None:
    """Connect this process to a cluster, or start one."""
    # What is looked at is nobody else's business.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ending = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as exc:
        raise Unreachable(
            f"The Ray at {address} did not let this program in ({exc}): `ray start --head` starts one, "
            "`ray start --address HOST:PORT` has this machine join one, and one with a token asks for "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too."
        ) from exc
    if signal.getsignal(signal.SIGTERM) is not ending:
        # Ray has an own way to end, of which whoever started this program knows nothing.
        signal.signal(signal.SIGTERM, ending)


def _knock(address: str) -> None:
    """See whether anybody is at an address; Ray itself would try for a minute."""
    if address in {AUTO, LOCAL}:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise DefinitionError(f"{address!r} is no address of Ray: write auto, HOST:PORT or local.")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except (OSError, OverflowError) as exc:
        raise Unreachable(
            f"There is no Ray at {address} ({exc}): `ray start --head --port {port}` starts one on its host."
        ) from exc


def _portions(job: Job, tape: Tape, code: str, taken: list[str]) -> Iterator[tuple[int, Values]]:
    """Compute a part of a job, on a worker: the first bar of each portion, and its values."""
    for name in taken:
        # numba asks for the module of what it compiled before, and for nothing in it.
        sys.modules.setdefault(name, ModuleType(name))
    if code != _code():
        raise DefinitionError(
            f"{socket.gethostname()} has another klinehub, numpy or numba than the program that asks it: "
            "install the same ones on each machine of the cluster."
        )
    for bar, found in computed(job, tape):
        yield bar, {name: np.ascontiguousarray(values) for name, values in found.items()}


@cache
def _code() -> str:
    """Give sixteen digits that differ where klinehub, numpy or numba do."""
    told = hashlib.blake2b(f"{np.__version__} {numba.__version__}".encode(), digest_size=8)
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        # Among what is compiled are sources that were written here.
        if path.parent.name != "__pycache__":
            told.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return told.hexdigest()


def _take_along(asked: Mapping[str, Expr]) -> list[str]:
    """Name the modules of a user's own factors, and those beside them, and have them travel with the work."""
    folders = {
        _folder(sys.modules.get(param.function.__module__))
        for expr in asked.values()
        for term in terms(expr)
        for param in term.params
        if isinstance(param, Factor) and not param.is_own
    }
    taken = [name for name, module in sys.modules.items() if _folder(module) in folders - {None}]
    for name in taken:
        cloudpickle.register_pickle_by_value(sys.modules[name])
    return taken


def _folder(module: object) -> Path | None:
    file = getattr(module, "__dict__", {}).get("__file__")
    return Path(file).parent if isinstance(file, str) else None


def _told(exc: RayTaskError) -> KlinehubError:
    """Give what a worker raised."""
    if isinstance(exc.cause, KlinehubError):
        return exc.cause
    last = str(exc).strip().splitlines()[-1]
    return Unreachable(f"A worker of Ray failed ({last}): each machine of it needs klinehub.")
