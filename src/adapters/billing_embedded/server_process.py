"""One server process: cannot be orphaned unnoticed, is recognised with certainty after a crash, is stopped cleanly."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from billing_embedded.account import Account
from billing_embedded.errors import EmbeddedStartError
from billing_embedded.home import Home, hand_to_owner
from billing_embedded.lock import STOP_SECONDS, ServerKind, ServerLock

START_SECONDS = 60.0
"""Long, because recovery after a crash replays the log of everything since the last checkpoint."""
_LOG_LIMIT_BYTES = 8 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


class Server(Protocol):
    """What is particular about Postgres or Valkey."""

    @property
    def kind(self) -> ServerKind: ...

    @property
    def folder(self) -> Path:
        """Its working directory; it exists after `prepare`."""
        ...

    def prepare(self) -> None:
        """Create or repair what it needs on disk, and choose its port. No process of this server is alive meanwhile."""
        ...

    def command(self) -> list[str]: ...

    def is_ready(self, pid: int) -> bool:
        """Whether the process `pid`, and no other, answers on the port."""
        ...


class ServerProcess:
    """Runs one server as a child, which inherits the lock of the server."""

    def __init__(self, server: Server, home: Home, account: Account) -> None:
        self.server = server
        self._home = home
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = ServerLock(home, server.kind)

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def has_died(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def start(self, *, gave_up: Callable[[], bool]) -> None:
        """Start the server and wait until it answers. `gave_up` is asked meanwhile; when it says so, return early.

        Raises: EmbeddedStartError.
        """
        lock = self._lock.take()
        try:
            self.server.prepare()
            self._process = self._spawn(lock)
        finally:
            os.close(lock)  # the child has its own copy by now, which keeps the lock
        self._lock.name_holder(self._process.pid)
        self._wait_until_ready(self._process, gave_up)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self.server.kind.stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        command = self.server.command()
        with open_log(self._home.log(self.server.kind.name)) as log:
            try:
                return subprocess.Popen(  # noqa: S603 - our own command
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.server.folder,
                    env=server_environment(os.environ),
                    pass_fds=(lock,),
                    start_new_session=True,
                    preexec_fn=stop_with_parent(self.server.kind.stop_signal),  # noqa: PLW1509 - one thread only, see there
                    **self._account.popen_arguments(),
                )
            except OSError as exc:
                raise EmbeddedStartError(f"{command[0]} cannot be run: {exc.strerror}") from exc

    def _wait_until_ready(self, process: subprocess.Popen[bytes], gave_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.server.is_ready(process.pid):
            if gave_up():
                return
            if process.poll() is not None:
                raise self._start_error(f"ended with status {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise self._start_error(f"did not answer within {START_SECONDS:.0f} s")
            time.sleep(0.01)

    def _start_error(self, what: str) -> EmbeddedStartError:
        log = self._home.log(self.server.kind.name)
        return EmbeddedStartError(f"{self.server.kind.name} {what}. The end of {log}:\n{tail(log)}")


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child may know: nothing of our settings, which hold secrets, nor PGPORT and the like, which mislead it."""
    kept = {name: environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def tail(log: Path, lines: int = 15) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        return f"({log} cannot be read: {exc.strerror})"
    return "\n".join(text.splitlines()[-lines:])


def open_log(path: Path) -> BinaryIO:
    """Append to the log; an oversized one is set aside first, one generation is kept."""
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    hand_to_owner(path)
    return open(descriptor, "ab", buffering=0)


def stop_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A function for the child to call before exec: on Linux the kernel then sends `number` when the supervisor dies.

    The kernel means the thread that forked, so the supervisor starts servers from its only thread. Elsewhere a server
    outlives a killed supervisor until the next start or `billing embedded stop`, which find it by its lock.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    supervisor = os.getpid()

    def ask_the_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != supervisor:  # it died between the fork and the line above
            os._exit(1)

    return ask_the_kernel
