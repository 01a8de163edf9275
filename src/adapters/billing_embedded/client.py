"""Start, find and stop the supervisor of a data directory. Nothing here runs a server itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from billing_embedded import postgres, valkey
from billing_embedded.errors import EmbeddedError, EmbeddedInUseError, EmbeddedStartError, EmbeddedUnavailableError
from billing_embedded.home import Home, SupervisorRecord
from billing_embedded.lock import ServerLock, command_line
from billing_embedded.server_process import START_SECONDS, open_log, server_environment, tail
from billing_embedded.servers import ALL_SERVERS, KINDS
from billing_embedded.urls import POSTGRES, VALKEY, ServerUrls

_STOP_SECONDS = 30.0
_RECORD_SECONDS = 5.0
_SUPERVISOR = "billing_embedded.supervisor"
_TO_URL = {POSTGRES: postgres.postgres_url, VALKEY: valkey.valkey_url}
_ERRORS: dict[str, type[EmbeddedError]] = {
    error.__name__: error for error in (EmbeddedUnavailableError, EmbeddedStartError)
}


@attrs.frozen(kw_only=True)
class Status:
    """What runs in a data directory at this moment.

    state: stopped · starting · running (both answer) · failing (the supervisor lives, a server does not answer).
    owner: the process the servers end with; None for servers started by `billing embedded start`.
    """

    data_dir: Path
    state: str
    pid: int | None = None
    owner: int | None = None
    ports: dict[str, int] = attrs.field(factory=dict)
    processes: dict[str, int] = attrs.field(factory=dict)


class Attached:
    """Servers that end with this process, or when `release` is called."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def release(self) -> None:
        """Stop the servers and wait for them."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def attach(home: Home, servers: Sequence[str]) -> Attached:
    """Start servers that live as long as this process. Raises: EmbeddedInUseError, EmbeddedStartError, …"""
    process = _spawn(home, servers, owner=os.getpid())
    _await_report(process, home)
    return Attached(process)


def running_daemon(home: Home) -> SupervisorRecord | None:
    """The supervisor started by `billing embedded start`, once it is ready; None when nothing runs here.

    Raises: EmbeddedInUseError when the servers there belong to a process and will end with it.
    """
    deadline = time.monotonic() + START_SECONDS
    while (holder := _holder(home)) is not None:
        if holder.owner is not None:
            raise EmbeddedInUseError(home.path, holder.owner)
        if holder.ready:
            return holder
        if time.monotonic() > deadline:
            raise EmbeddedStartError(f"The servers in {home.path} do not get ready; see {home.path / 'logs'}.")
        time.sleep(0.05)
    return None


def start_daemon(home: Home) -> bool:
    """Start servers that outlive this process. False when they were running before."""
    if running_daemon(home) is not None:
        return False
    process = _spawn(home, ALL_SERVERS, owner=None)
    try:
        _await_report(process, home)
    except EmbeddedInUseError:
        if running_daemon(home) is None:  # otherwise somebody else has just started them
            raise
        return False
    process.returncode = 0  # it goes on without us: keeps Popen from warning about a child that still runs
    return True


def stop_daemon(home: Home) -> bool:
    """Stop the servers and wait for them. False when they were not running. Raises: EmbeddedInUseError."""
    holder = _holder(home)
    if holder is not None:
        if holder.owner is not None:
            raise EmbeddedInUseError(home.path, holder.owner)
        try:
            os.kill(holder.pid, signal.SIGTERM)
        except PermissionError as exc:
            raise EmbeddedError(
                f"Process {holder.pid} runs the servers for another user, who has to stop them."
            ) from exc
        _wait_until_released(home)
    for kind in KINDS:
        ServerLock(home, kind).stop_leftover()
    return holder is not None


def daemon_urls(home: Home) -> ServerUrls:
    """Where the servers are that `start_daemon` has started. Raises: EmbeddedError when they do not run."""
    if running_daemon(home) is None:
        raise EmbeddedError(f"Nothing runs in {home.path}; start it: billing embedded start")
    return ServerUrls(database_url=local_url(home, POSTGRES), redis_url=local_url(home, VALKEY))


def local_url(home: Home, name: str) -> str:
    """Return a server's URL, password included. Raises: EmbeddedError when this server was never started here."""
    return _TO_URL[name](home.endpoint(name))


def status(home: Home) -> Status:
    holder = _holder(home)
    if holder is None:
        return Status(data_dir=home.path, state="stopped")
    state = "starting"
    if holder.ready:
        state = "running" if all(_answers(home, name) for name in holder.servers) else "failing"
    return Status(
        data_dir=home.path,
        state=state,
        pid=holder.pid,
        owner=holder.owner,
        ports={name: home.endpoint(name).port for name in holder.servers},
        processes=dict(holder.servers),
    )


def _holder(home: Home) -> SupervisorRecord | None:
    """The supervisor that holds the data directory.

    A supervisor takes the lock a moment before it writes its record. In between, the record is that of a supervisor
    which was killed, and its process id may be anybody's by now; so the process has to look like a supervisor.
    """
    deadline = time.monotonic() + _RECORD_SECONDS
    while home.is_held():
        record = home.record()
        if record is not None and _SUPERVISOR in command_line(record.pid):
            return record
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"{home.path} is held by a process that is not ours; see {home.lock_file('supervisor')}."
            )
        time.sleep(0.02)
    return None


def _answers(home: Home, name: str) -> bool:
    endpoint = home.endpoint(name)
    return postgres.answers(endpoint.port) if name == POSTGRES else valkey.answers(endpoint)


def _wait_until_released(home: Home) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while home.is_held():
        if time.monotonic() > deadline:
            raise EmbeddedError(f"The supervisor of {home.path} does not end; see {home.log('supervisor')}.")
        time.sleep(0.02)


def _spawn(home: Home, servers: Sequence[str], *, owner: int | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", _SUPERVISOR, str(home.path), "--servers", *servers]
    if owner is not None:
        command += ["--owner", str(owner)]
    # The supervisor imports what we can import, wherever that came from.
    search_path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    with open_log(home.log("supervisor")) as log:
        return subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL if owner is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=home.path,
            env={**server_environment(os.environ), "PYTHONPATH": search_path},
            start_new_session=True,  # Ctrl-C in the terminal reaches us, and we stop the servers when we are done
        )


def _await_report(process: subprocess.Popen[bytes], home: Home) -> None:
    """Wait for the one line a supervisor writes when it is ready or has failed, and raise what it says."""
    if process.stdout is None:
        raise EmbeddedError("the supervisor was started without a pipe for its report")
    with process.stdout as pipe:
        line = pipe.readline()
    report: dict[str, Any] = json.loads(line) if line else {"ready": False}
    if report["ready"]:
        return
    if process.stdin is not None:
        process.stdin.close()
    process.wait()
    if not line:
        log = home.log("supervisor")
        raise EmbeddedStartError(f"The supervisor ended without a word. The end of {log}:\n{tail(log)}")
    if report["error"] == EmbeddedInUseError.__name__:
        raise EmbeddedInUseError(home.path, report["pid"])
    raise _ERRORS.get(report["error"], EmbeddedError)(report["message"])
