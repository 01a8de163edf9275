"""The process that runs the servers: `python -m billing_embedded.supervisor DATA_DIR …`.

Only `billing_embedded.client` starts it. It locks the data directory, starts the servers, reports one line of JSON on
standard output, and restarts servers that die. With `--owner`, its standard input is a pipe held by the owner: when the
pipe closes, however the owner ended, the servers are stopped as soon as no other process shares them. SIGUSR1 asks for
the servers that the owner did not name. Without `--owner`, SIGTERM stops them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from billing_embedded.data_directory import DataDirectory, SupervisorRecord
from billing_embedded.errors import EmbeddedError, EmbeddedInUseError, EmbeddedStartError
from billing_embedded.server_process import ServerProcess
from billing_embedded.servers import ALL_SERVERS, server_processes

_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_USERS_SECONDS = 0.1
"""Wait between two looks at whether a process still shares the servers of an owner that has ended."""
_log = logging.getLogger("billing_embedded")


class Supervisor:
    """Keeps the servers of one data directory running until it is stopped. Single-threaded on purpose."""

    def __init__(self, directory: DataDirectory, processes: Sequence[ServerProcess], owner: int | None) -> None:
        self._directory = directory
        self._processes = list(processes)
        self._owner = owner
        self._stopping = False
        self._owner_ended = False
        self._asked_for_all = False
        self._failed: dict[str, str] = {}
        self._restarts: deque[float] = deque(maxlen=_RESTARTS)
        self._selector = selectors.DefaultSelector()
        self._wake, self._wake_sender = socket.socketpair()

    def run(self) -> None:
        """Start the servers, report, watch and stop them. No server is left running, whatever happens."""
        self._listen()
        self._write_record(ready=False)
        try:
            self._start(self._processes)
            if not self._stopping:
                self._write_record(ready=True)
                report({"ready": True})
                self._watch()
        finally:
            for process in self._processes:
                process.stop()
            self._directory.remove_record()

    def _listen(self) -> None:
        """Turn signals into bytes on a socket, so that one `select` waits for signals and for the owner's pipe."""
        self._wake_sender.setblocking(False)
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGUSR1, lambda *_: self._ask_for_all())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # closing the terminal does not stop a daemon
        self._selector.register(self._wake, selectors.EVENT_READ)
        if self._owner is not None:
            self._selector.register(sys.stdin, selectors.EVENT_READ)

    def _stop(self) -> None:
        self._stopping = True

    def _ask_for_all(self) -> None:
        self._asked_for_all = True

    def _should_stop(self) -> bool:
        """Read pending signals and return whether to stop; also called during a start."""
        self._read(timeout=0)
        return self._stopping

    def _watch(self) -> None:
        while not self._stopping:
            # Before every wait, because the signal of a server that died may have been read while another one started.
            if dead := [process for process in self._processes if process.has_died]:
                self._restart(dead)
                continue
            if self._asked_for_all:
                self._start_all()
                continue
            self._read(timeout=_USERS_SECONDS if self._owner_ended else None)

    def _read(self, *, timeout: float | None) -> None:
        """Wait for signals and for the end of the owner, and stop when no process is left that uses the servers."""
        for key, _ in self._selector.select(timeout):
            self._handle(key.fileobj)
        if self._owner_ended and not self._stopping and self._directory.end_sharing():
            self._stopping = True

    def _handle(self, source: object) -> None:
        if source is self._wake:
            self._wake.recv(4096)
        else:
            # The owner writes nothing, so a readable pipe was closed.
            _log.info("the owner %s has ended", self._owner)
            self._owner_ended = True
            self._selector.unregister(sys.stdin)

    def _restart(self, dead: Sequence[ServerProcess]) -> None:
        names = ", ".join(process.server.kind.name for process in dead)
        now = time.monotonic()
        if len(self._restarts) == _RESTARTS and now - self._restarts[0] < _RESTART_WINDOW_SECONDS:
            raise EmbeddedStartError(
                f"{names} died {_RESTARTS} times within {_RESTART_WINDOW_SECONDS:.0f} s. Giving up."
            )
        self._restarts.append(now)
        _log.warning("%s died; restarting", names)
        self._write_record(ready=False)
        self._start(dead)
        self._write_record(ready=True)

    def _start_all(self) -> None:
        """Start the servers that the owner had no use for. Those that run already are left alone if one fails."""
        self._asked_for_all = False
        running = {process.server.kind.name for process in self._processes}
        names = [name for name in ALL_SERVERS if name not in running]
        fresh: list[ServerProcess] = []
        try:
            fresh = server_processes(self._directory, names)
            self._start(fresh)
            self._processes += fresh
            self._failed = {}
        except EmbeddedError as exc:
            _log.error("%s", exc)
            for process in fresh:
                process.stop()
            self._failed = dict.fromkeys(names, str(exc))
        self._write_record(ready=True)

    def _start(self, processes: Sequence[ServerProcess]) -> None:
        for process in processes:
            if not self._should_stop():
                process.start(should_stop=self._should_stop)
                _log.info("%s is running as process %s", process.server.kind.name, process.pid)

    def _write_record(self, *, ready: bool) -> None:
        servers = {process.server.kind.name: process.pid for process in self._processes if process.pid}
        self._directory.write_record(
            SupervisorRecord(pid=os.getpid(), owner=self._owner, ready=ready, servers=servers, failed=self._failed)
        )


def report(message: dict[str, object]) -> None:
    """Report to the process that started us. It may have ended, which does not stop a daemon."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        pass
    finally:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def main() -> int:
    arguments = _parse_arguments()
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s supervisor %(message)s")
    try:
        directory = DataDirectory.at(arguments.data_dir)
        if not directory.take():
            holder = directory.record()
            raise EmbeddedInUseError(directory.path, holder.owner or holder.pid if holder else 0)
        Supervisor(directory, server_processes(directory, arguments.servers), arguments.owner).run()
    except EmbeddedError as exc:
        _log.error("%s", exc)
        pid = exc.pid if isinstance(exc, EmbeddedInUseError) else None
        report({"ready": False, "error": type(exc).__name__, "message": str(exc), "pid": pid})
        return 1
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="billing_embedded.supervisor")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--servers", nargs="+", choices=ALL_SERVERS, required=True)
    parser.add_argument("--owner", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
