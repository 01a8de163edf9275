"""The runtime of a long-running process: event loop, core files and termination by signal."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a process to its end, on uvloop if it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Any:
    if sys.platform == "win32":
        return None
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    return uvloop.new_event_loop


def forbid_core_dumps() -> None:
    """Keep the memory of this process, which holds secrets, out of core files.

    A limit of one byte rather than of none: Linux ignores a limit of zero if it pipes the dump to a program, and takes
    this one as a ban either way. Source: core(5), and do_coredump() in fs/coredump.c.
    """
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def termination() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets. A second signal has its default effect."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    if sys.platform == "win32":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    else:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
    return stop


async def until(*ends: asyncio.Event, failure: "asyncio.Future[Any]") -> None:
    """Wait for one of the events, or raise the error of a failed loop."""
    waiting = [asyncio.ensure_future(end.wait()) for end in ends]
    await asyncio.wait([*waiting, failure], return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    if failure.done():
        failure.result()
