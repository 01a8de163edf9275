"""One server process: stopped cleanly, stopped with its supervisor, and recognized reliably after a crash."""

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

from billing_embedded.data_directory import DataDirectory, give_to_folder_owner
from billing_embedded.errors import EmbeddedStartError
from billing_embedded.lock import STOP_SECONDS, ServerKind, ServerLock
from billing_embedded.system_user import SystemUser

START_SECONDS = 60.0
"""Long, because recovery after a crash replays the log since the last checkpoint."""
_LOG_LIMIT_BYTES = 8 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


class Server(Protocol):
    """The parts that differ between Postgres and Valkey."""

    @property
    def kind(self) -> ServerKind: ...

    @property
    def folder(self) -> Path:
        """The working directory; it exists after `prepare`."""
        ...

    def prepare(self) -> None:
        """Create or repair its files and choose its port. No process of this server is alive meanwhile."""
        ...

    def command(self) -> list[str]: ...

    def is_ready(self, pid: int) -> bool:
        """Return whether the process `pid`, and no other, responds on the port."""
        ...


class ServerProcess:
    """Runs one server as a child process, which inherits the lock of the server."""

    def __init__(self, server: Server, directory: DataDirectory, user: SystemUser) -> None:
        self.server = server
        self._directory = directory
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = ServerLock(directory, server.kind)

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def has_died(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def start(self, *, should_stop: Callable[[], bool]) -> None:
        """Start the server and wait until it responds; return early once `should_stop` returns True.

        Raises: EmbeddedStartError.
        """
        lock = self._lock.take()
        try:
            self.server.prepare()
            self._process = self._spawn(lock)
        finally:
            os.close(lock)  # the child has its own copy by now, which holds the lock
        self._lock.name_holder(self._process.pid)
        self._wait_until_ready(self._process, should_stop)

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
        with open_log(self._directory.log(self.server.kind.name)) as log:
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
                    **self._user.popen_arguments(),
                )
            except OSError as exc:
                raise EmbeddedStartError(f"{command[0]} cannot be run: {exc.strerror}") from exc

    def _wait_until_ready(self, process: subprocess.Popen[bytes], should_stop: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.server.is_ready(process.pid):
            if should_stop():
                return
            if process.poll() is not None:
                raise self._start_error(f"ended with status {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise self._start_error(f"did not respond within {START_SECONDS:.0f} s")
            time.sleep(0.01)

    def _start_error(self, what: str) -> EmbeddedStartError:
        log = self._directory.log(self.server.kind.name)
        return EmbeddedStartError(f"{self.server.kind.name} {what}. The end of {log}:\n{tail(log)}")


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a server, without our settings, which contain secrets, and without PGPORT."""
    kept = {name: environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        return f"({log} cannot be read: {exc.strerror})"
    return "\n".join(text.splitlines()[-lines:])


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending; rotate an oversized one first and keep one old file."""
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    give_to_folder_owner(path)
    return open(descriptor, "ab", buffering=0)


def stop_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return a function for the child to call before exec: on Linux the kernel then sends `number` if the parent dies.

    The kernel watches the thread that forked, so the supervisor starts servers from its only thread. On other systems a
    server outlives a killed supervisor until the next start or `billing embedded stop`, which find it by its lock.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def request_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return request_signal
