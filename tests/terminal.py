"""Commands in a pseudo-terminal, typed and read as a person would."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
from tests.commands import Command, started
from tests.patience import PATIENCE

INTERRUPT: Final = "\x03"
"""Ctrl-C."""


@attrs.define(eq=False)
class Terminal:
    """A command and the terminal that it runs in."""

    process: Command | asyncio.subprocess.Process
    _master: int
    screen: str = ""
    """Everything that was shown so far, typed text included where the command echoes it."""
    _seen: int = 0
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def shows(self, text: str) -> None:
        """Wait until a text is shown after the one that was waited for before."""
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := self.screen.find(text, self._seen)) < 0:
                    self._changed.clear()
                    assert not self._is_over, f"{text!r} was not shown:\n{self.screen}"
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not shown:\n{self.screen}") from None
        self._seen = found + len(text)

    def types(self, text: str) -> None:
        """Type a text; a line ends with a line feed."""
        os.write(self._master, text.encode())

    async def ends(self) -> int:
        """Wait for the end of the command, and return its exit status."""
        async with asyncio.timeout(PATIENCE):
            status = await self.process.wait()
            while not self._is_over:
                self._changed.clear()
                await self._changed.wait()
        return status

    @property
    def _is_over(self) -> bool:
        return self._master < 0

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the last process of the terminal is gone
            data = b""
        if data:
            self.screen += data.decode(errors="replace")
        else:
            self._close()
        self._changed.set()

    def _close(self) -> None:
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            self._master = -1


@asynccontextmanager
async def terminal(
    *arguments: str, environment: Mapping[str, str], folder: Path, program: str | None = None, columns: int = 0
) -> AsyncIterator[Terminal]:
    """Run `billing` with these arguments in a terminal of its own, and kill what is left of it at the end.

    `program` is the Python that has it, if not this one; `columns` is the width of the terminal, which has 24 lines
    then.
    """
    master, slave = pty.openpty()
    if columns:
        termios.tcsetwinsize(slave, (24, columns))
    process: Command | asyncio.subprocess.Process
    if program is None:
        process = await started(*arguments, environment=environment, folder=folder, terminal=slave)
    else:
        process = await asyncio.create_subprocess_exec(
            program,
            "-m",
            "billing_app",
            *arguments,
            env=environment,
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
    os.close(slave)
    shown = Terminal(process, master)
    asyncio.get_running_loop().add_reader(master, shown._read)
    try:
        yield shown
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            process.kill()  # it has not begun its session
        await process.wait()
        shown._close()


def _take_terminal() -> None:
    """Make the terminal the controlling one of the new session, so that Ctrl-C reaches the command.

    A shell that runs the tests in the background ignores Ctrl-C for all its children; a terminal does not.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
