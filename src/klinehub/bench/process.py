"""The processes that benchmarks start: klinehub's own modules, spoken to by lines."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Self, TypeVar

import msgspec

from klinehub.errors import FeedError

T = TypeVar("T")


class Process:
    """One of our own modules in a process of its own, spoken to by lines; ended with the block."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        one_core: bool = False,
    ) -> None:
        self._module = module
        self._process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=None if environment is None else {**os.environ, **environment},
        )
        if one_core:
            _bind(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.communicate()

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        if self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def line(self) -> str:
        """Read a line of its stdout; raises FeedError when it has ended."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise FeedError(f"{self._module} has ended, or did not start; its words are above.")
        return line

    def asked(self, line: str = "") -> str:
        """Give what it answers to a line."""
        self.tell(line)
        return self.line()

    def pause(self) -> None:
        """Have it stand still from now on."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()

    def last_words(self, line: str, *, within: float) -> str:
        """Tell it a last line and give all that it still says; it is ended after so many seconds."""
        try:
            told, _ = self._process.communicate(line + "\n", timeout=within)
        finally:
            self._process.kill()
        if self._process.returncode != 0:
            raise FeedError(
                f"{self._module} ended with code {self._process.returncode}; its words are above."
            )
        return told


def _bind(pid: int) -> None:
    """Keep a process on one core, where the system can do that."""
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(pid))})


def say(value: object) -> None:
    """Write a line to whoever started this process."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def obey(work: Callable[[T], Coroutine[Any, Any, object]], kind: type[T]) -> None:
    """Be such a process: read the task from stdin, do it, and say what comes of it, if anything does."""
    task = msgspec.json.decode(sys.stdin.readline(), type=kind)
    found = in_loop(work(task))
    if found is not None:
        say(found)


def in_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run something in the loop that the command line uses."""
    import uvloop  # noqa: PLC0415 - absent on some systems

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
