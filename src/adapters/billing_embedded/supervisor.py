"""The process that runs the servers: `python -m billing_embedded.supervisor DATA_DIR …`.

Only `billing_embedded.client` starts it. It locks the data directory, starts the servers, reports one line of JSON on
standard output, and restarts servers that die. With `--owner`, its standard input is a pipe held by the owner: when the
pipe closes, however the owner ended, the servers are stopped. Without `--owner`, SIGTERM stops them.
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
_log = logging.getLogger("billing_embedded")


class Supervisor:
    """Keeps the servers of one data directory running until it is stopped. Single-threaded on purpose."""

    def __init__(self, directory: DataDirectory, processes: Sequence[ServerProcess], owner: int | None) -> None:
        self._directory = directory
        self._processes = processes
        self._owner = owner
        self._stopping = False
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
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # closing the terminal does not stop a daemon
        self._selector.register(self._wake, selectors.EVENT_READ)
        if self._owner is not None:
            self._selector.register(sys.stdin, selectors.EVENT_READ)

    def _stop(self) -> None:
        self._stopping = True

    def _should_stop(self) -> bool:
        """Read pending signals and return whether to stop; also called during a start."""
        for key, _ in self._selector.select(timeout=0):
            self._handle(key.fileobj)
        return self._stopping

    def _watch(self) -> None:
        while not self._stopping:
            # Before every wait, because the signal of a server that died may have been read while another one started.
            if dead := [process for process in self._processes if process.has_died]:
                self._restart(dead)
                continue
            for key, _ in self._selector.select():
                self._handle(key.fileobj)

    def _handle(self, source: object) -> None:
        if source is self._wake:
            self._wake.recv(4096)
        else:
            # The owner writes nothing, so a readable pipe was closed.
            _log.info("the owner %s has ended", self._owner)
            self._stopping = True
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

    def _start(self, processes: Sequence[ServerProcess]) -> None:
        for process in processes:
            if not self._should_stop():
                process.start(should_stop=self._should_stop)
                _log.info("%s is running as process %s", process.server.kind.name, process.pid)

    def _write_record(self, *, ready: bool) -> None:
        servers = {process.server.kind.name: process.pid for process in self._processes if process.pid}
        self._directory.write_record(SupervisorRecord(pid=os.getpid(), owner=self._owner, ready=ready, servers=servers))


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
