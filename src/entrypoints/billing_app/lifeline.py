"""The pipes between a process and the supervisor that started it."""

import asyncio
import contextlib
import os
import sys
from typing import Final

import attrs

READY: Final = "ready"
"""The report of a process that serves."""


@attrs.frozen(kw_only=True)
class Lifeline:
    """A pipe that the supervisor holds open for as long as the process shall run, and one for reports to it.

    A pipe closes however the supervisor ends, so no process outlives one that is killed. A signal would not do: service
    managers signal each process of a service, and a second signal ends a process before its work is done.
    """

    orders: int
    """File descriptor, at whose end the process has to end."""
    reports: int
    """File descriptor."""

    @classmethod
    def inherited(cls) -> "Lifeline":
        """Return the pipes that the supervisor made standard input and output."""
        return cls(orders=sys.stdin.fileno(), reports=sys.stdout.fileno())

    def follow(self, stop: asyncio.Event) -> None:
        """Set an event when the supervisor closes the pipe."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            with contextlib.suppress(OSError):
                if os.read(self.orders, 1):
                    return
            loop.remove_reader(self.orders)
            stop.set()

        loop.add_reader(self.orders, look)

    def report(self, line: str) -> None:
        """Report to the supervisor."""
        with contextlib.suppress(OSError):  # a supervisor that has ended is noticed by `follow`
            os.write(self.reports, f"{line}\n".encode())
