"""Waiting for a command's work: to its end, or until the process is told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from klinehub.errors import KlinehubError

T = TypeVar("T")


class Stopped(KlinehubError):
    """The process was asked to end by SIGTERM."""


def wait(work: Coroutine[Any, Any, int | None]) -> None:
    """Run a command's work to its end; Ctrl-C and SIGTERM let it leave cleanly."""
    try:
        code = waited(work)
    except BrokenPipeError:
        # Whoever read our pipe has seen enough; click would make an error of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    end(code)


def waited(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end and give what came of it."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_told(work))


def end(code: int | None) -> None:
    """End the process with a code, where there is one."""
    if code:
        sys.exit(code)


async def _until_told(work: Coroutine[Any, Any, T]) -> T:
    """Await *work*; SIGTERM cancels it, and is then told as its own way to end."""
    told = False
    task = asyncio.ensure_future(work)

    def stop() -> None:
        nonlocal told
        told = True
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    asyncio.get_running_loop().set_exception_handler(_tell_once)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise Stopped("stopped") from None
        raise


def _tell_once(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell what failed unawaited, but for a TLS handshake that was cut: that is raised where it is awaited.

    The WebSocket library hands that one over as a class, on which the loop's own way of telling fails.
    """
    if not isinstance(context.get("exception"), type):
        loop.default_exception_handler(context)
