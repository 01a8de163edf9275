"""Commands as processes of their own, forked from a process that has already imported the program.

To import it takes each process more than a second of processor time, and these tests start hundreds. From its first
line on a command does the same as ever: it has its own environment, folder, streams, signals and end. How Python starts
it from nothing, as `python -m billing_app`, is for the tests of that.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import multiprocessing
import os
import pkgutil
import runpy
import signal
import sys
import termios
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import billing_app
from billing_app.program import main

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [each.name for each in pkgutil.walk_packages(billing_app.__path__, "billing_app.") if "__main__" not in each.name]
)


class Command:
    """A command that runs or has ended, with the members of `asyncio.subprocess.Process` that tests use."""

    def __init__(self, process: BaseProcess, output: asyncio.StreamReader, errors: asyncio.StreamReader) -> None:
        """Follow a process that was started."""
        assert process.pid is not None
        self.pid = process.pid
        self.stdout, self.stderr = output, errors
        self._process = process
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(process.sentinel, self._end)

    def _end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._ended.set()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end, and return the exit status."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end, and return what it wrote to standard output and error."""
        output, errors = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return output, errors


async def started(
    *arguments: str,
    environment: Mapping[str, str],
    folder: Path | None = None,
    given: bytes = b"",
    captured: Sequence[int] = (),
    terminal: int | None = None,
    program: Path | None = None,
) -> Command:
    """Start `billing` or another program as a process.

    Args:
        arguments: those of its command line.
        environment: all of its environment.
        folder: where it runs, if not here.
        given: what it reads from standard input, no more than a pipe holds.
        captured: which of standard output, 1, and standard error, 2, are read through the result.
        terminal: the descriptor of a terminal, which is all three streams and controls the process.
        program: a file of Python that uses the project, in place of `billing`.
    """
    streams = [_holding(given), os.dup(1), os.dup(2)] if terminal is None else [os.dup(terminal) for _ in range(3)]
    outputs = [asyncio.StreamReader(), asyncio.StreamReader()]
    for number, output in enumerate(outputs, start=1):
        if number in captured:
            os.close(streams[number])
            streams[number] = await _feeding(output)
        else:
            output.feed_eof()
    handed = [Connection(each) for each in streams]  # multiprocessing can send these to another process
    chosen = (handed, program, arguments, dict(environment), folder or Path.cwd())
    process = _FORKS.Process(target=_run, args=chosen, daemon=True)
    process.start()
    for each in handed:
        each.close()
    return Command(process, *outputs)


def _holding(given: bytes) -> int:
    """Return the end for reading of a pipe that holds these bytes."""
    reading, writing = os.pipe()
    os.write(writing, given)
    os.close(writing)
    return reading


async def _feeding(reader: asyncio.StreamReader) -> int:
    """Return the end for writing of a pipe that feeds a reader."""
    reading, writing = os.pipe()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
    )
    return writing


def _run(
    streams: Sequence[Connection],
    program: Path | None,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
) -> None:
    """Become the program, in the process that was forked for it."""
    gc.freeze()  # what was imported is searched for garbage when a process starts from nothing, and need not be here
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    if os.isatty(0):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Python decides on buffers by what the descriptors were when it started.
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the end
        for number, mode in enumerate("rww")
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [str(program or "billing"), *arguments]
    if program is None:
        main()
    else:
        runpy.run_path(str(program), run_name="__main__")
