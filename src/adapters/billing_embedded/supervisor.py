"""The process that runs the servers: `python -m billing_embedded.supervisor DATA_DIR …`.

It is started by `billing_embedded.client` only. It takes the data directory, starts the servers, reports one line
of JSON on standard output, and restarts a server that dies. With `--owner` its standard input is a pipe that the owner
holds: when the pipe closes, however the owner ended, the servers are stopped. Without it, SIGTERM ends it.
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

from billing_embedded.errors import EmbeddedError, EmbeddedInUseError, EmbeddedStartError
from billing_embedded.home import Home, SupervisorRecord
from billing_embedded.server_process import ServerProcess
from billing_embedded.servers import ALL_SERVERS, server_processes

_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_log = logging.getLogger("billing_embedded")


class Supervisor:
    """Keeps the servers of one data directory running until it is told to stop. Single-threaded on purpose."""

    def __init__(self, home: Home, processes: Sequence[ServerProcess], owner: int | None) -> None:
        self._home = home
        self._processes = processes
        self._owner = owner
        self._stopping = False
        self._restarts: deque[float] = deque(maxlen=_RESTARTS)
        self._selector = selectors.DefaultSelector()
        self._wake, self._wake_sender = socket.socketpair()

    def run(self) -> None:
        """Start, report, watch, stop. Whatever happens in between, no server is left running."""
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
            self._home.remove_record()

    def _listen(self) -> None:
        """Turn signals into bytes on a socket, so that one `select` waits for signals and the owner's pipe alike."""
        self._wake_sender.setblocking(False)
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that is closed does not end a daemon
        self._selector.register(self._wake, selectors.EVENT_READ)
        if self._owner is not None:
            self._selector.register(sys.stdin, selectors.EVENT_READ)

    def _stop(self) -> None:
        self._stopping = True

    def _gave_up(self) -> bool:
        """Whether to stop; reads what has arrived, so it also works in the middle of a start."""
        for key, _ in self._selector.select(timeout=0):
            self._take_note(key.fileobj)
        return self._stopping

    def _watch(self) -> None:
        while not self._stopping:
            # Before every wait: while one server is started, the news of another's death is read along with the rest.
            if dead := [process for process in self._processes if process.has_died]:
                self._restart(dead)
                continue
            for key, _ in self._selector.select():
                self._take_note(key.fileobj)

    def _take_note(self, source: object) -> None:
        if source is self._wake:
            self._wake.recv(4096)
        else:
            # The owner writes nothing: being readable means that the pipe was closed.
            _log.info("the owner %s has ended", self._owner)
            self._stopping = True
            self._selector.unregister(sys.stdin)

    def _restart(self, dead: Sequence[ServerProcess]) -> None:
        names = ", ".join(process.server.kind.name for process in dead)
        now = time.monotonic()
        if len(self._restarts) == _RESTARTS and now - self._restarts[0] < _RESTART_WINDOW_SECONDS:
            raise EmbeddedStartError(
                f"{names} died {_RESTARTS} times within {_RESTART_WINDOW_SECONDS:.0f} s; giving up."
            )
        self._restarts.append(now)
        _log.warning("%s died; starting again", names)
        self._write_record(ready=False)
        self._start(dead)
        self._write_record(ready=True)

    def _start(self, processes: Sequence[ServerProcess]) -> None:
        for process in processes:
            if not self._gave_up():
                process.start(gave_up=self._gave_up)
                _log.info("%s runs as process %s", process.server.kind.name, process.pid)

    def _write_record(self, *, ready: bool) -> None:
        servers = {process.server.kind.name: process.pid for process in self._processes if process.pid}
        self._home.write_record(SupervisorRecord(pid=os.getpid(), owner=self._owner, ready=ready, servers=servers))


def report(message: dict[str, object]) -> None:
    """Tell the process that started us; it may be gone, which is no reason to stop a daemon."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        pass
    finally:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def main() -> int:
    arguments = _parse_arguments()
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s supervisor %(message)s")
    try:
        home = Home.at(arguments.data_dir)
        if not home.take():
            holder = home.record()
            raise EmbeddedInUseError(home.path, holder.owner or holder.pid if holder else 0)
        Supervisor(home, server_processes(home, arguments.servers), arguments.owner).run()
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
