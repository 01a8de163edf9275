"""The lock of a server, held as long as any process of the server is alive."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import attrs

from billing_embedded.data_directory import DataDirectory, give_to_folder_owner
from billing_embedded.errors import EmbeddedStartError

STOP_SECONDS = 10.0
"""Seconds until a server that does not stop is killed."""
_GRACE_SECONDS = 0.5
_PROC = Path("/proc")


@attrs.frozen(kw_only=True)
class ServerKind:
    """The properties of a server that do not depend on its installation.

    programs: its names in a list of processes. stop_signal: the signal for a clean and fast stop.
    """

    name: str
    programs: tuple[str, ...]
    stop_signal: signal.Signals


class ServerLock:
    """A locked file that every process of the server inherits.

    The lock is held as long as one of them is alive, even after the supervisor was killed. Unlike a process id, it
    cannot belong to an unrelated process.
    """

    def __init__(self, directory: DataDirectory, kind: ServerKind) -> None:
        self._directory = directory
        self._kind = kind
        self._path = directory.lock_file(kind.name)

    def take(self) -> int:
        """Lock the file and return its descriptor, for the server to inherit.

        A process that still holds the lock is stopped, or killed if it does not stop. Raises: EmbeddedStartError.
        """
        lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_to_folder_owner(self._path)
        escalation = [
            (_GRACE_SECONDS, self._kind.stop_signal),
            (_GRACE_SECONDS + STOP_SECONDS, signal.SIGKILL),
        ]
        began = time.monotonic()
        while not _try_lock(lock):
            waited = time.monotonic() - began
            if escalation and waited > escalation[0][0]:
                self._signal_holder(escalation.pop(0)[1])
            if waited > 2 * STOP_SECONDS:
                os.close(lock)
                raise EmbeddedStartError(
                    f"A previous {self._kind.name} of {self._directory.path} does not stop. Stop it first."
                )
            time.sleep(0.02)
        return lock

    def name_holder(self, pid: int) -> None:
        """Record the main process, for the next process that takes the lock after a crash."""
        self._path.write_text(f"{pid}\n", encoding="ascii")

    def stop_leftover(self) -> None:
        """Stop a server that a killed supervisor may have left running."""
        os.close(self.take())

    def _signal_holder(self, number: signal.Signals) -> None:
        """Signal the main process. Its name is checked, because it may have died before its children."""
        try:
            pid = int(self._path.read_text(encoding="ascii"))
            if any(program in command_line(pid) for program in self._kind.programs):
                os.kill(pid, number)
        except (ValueError, ProcessLookupError, PermissionError):
            return  # no process to signal; keep waiting for the lock


def command_line(pid: int) -> str:
    """Return the command line of a process; empty if there is none or it cannot be read."""
    if (_PROC / "self").exists():
        try:
            return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    answer = subprocess.run(  # noqa: S603 - fixed command, numeric argument
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
