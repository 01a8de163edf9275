"""The lock of a server, which tells for certain whether any process of it is still alive."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import attrs

from billing_embedded.errors import EmbeddedStartError
from billing_embedded.home import Home, hand_to_owner

STOP_SECONDS = 10.0
"""How long a server may take to stop before it is killed."""
_GRACE_SECONDS = 0.5
_PROC = Path("/proc")


@attrs.frozen(kw_only=True)
class ServerKind:
    """What there is to know about a server without having its programs.

    programs: the names under which it shows in a list of processes. stop_signal: for a clean and prompt stop.
    """

    name: str
    programs: tuple[str, ...]
    stop_signal: signal.Signals


class ServerLock:
    """A locked file that every process of the server inherits.

    It is therefore held for exactly as long as one of them lives, also after the supervisor has been killed, and a
    process id that has been given to somebody else cannot mislead us.
    """

    def __init__(self, home: Home, kind: ServerKind) -> None:
        self._home = home
        self._kind = kind
        self._path = home.lock_file(kind.name)

    def take(self) -> int:
        """Lock the file, and return its descriptor for the server to inherit.

        A process that still holds it is asked to stop, and killed when it does not. Raises: EmbeddedStartError.
        """
        lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        hand_to_owner(self._path)
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
                    f"An earlier {self._kind.name} of {self._home.path} does not end; stop it first."
                )
            time.sleep(0.02)
        return lock

    def name_holder(self, pid: int) -> None:
        """Note the main process, for the one who takes the lock after a crash."""
        self._path.write_text(f"{pid}\n", encoding="ascii")

    def stop_leftover(self) -> None:
        """Stop what a supervisor that was killed may have left behind."""
        os.close(self.take())

    def _signal_holder(self, number: signal.Signals) -> None:
        """The lock says that the server lives; the name check covers a main process that died before its children."""
        try:
            pid = int(self._path.read_text(encoding="ascii"))
            if any(program in command_line(pid) for program in self._kind.programs):
                os.kill(pid, number)
        except (ValueError, ProcessLookupError, PermissionError):
            return  # there is nothing to signal; the wait for the lock goes on


def command_line(pid: int) -> str:
    """The command line of a process, empty when there is none or it may not be read."""
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
