"""Start, find and stop the supervisor of a data directory, which in turn runs the servers."""

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
from billing_embedded.data_directory import DataDirectory, SupervisorRecord
from billing_embedded.errors import EmbeddedError, EmbeddedInUseError, EmbeddedStartError, EmbeddedUnavailableError
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
    """The current state of the servers in a data directory.

    state: stopped · starting · running (both respond) · failing (the supervisor runs, a server does not respond).
    owner: the process that started the servers, which stop with it and with all others that use them; None for servers
    started by `billing embedded start`.
    """

    data_dir: Path
    state: str
    pid: int | None = None
    owner: int | None = None
    ports: dict[str, int] = attrs.field(factory=dict)
    processes: dict[str, int] = attrs.field(factory=dict)


class AttachedServers:
    """Servers that this process has started. They stop with it, or when `release` is called, unless others use them."""

    def __init__(self, process: subprocess.Popen[bytes], directory: DataDirectory) -> None:
        self._process = process
        self._directory = directory

    def release(self) -> None:
        """Stop the servers and wait until they have stopped, or leave them to the processes that share them."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        deadline = time.monotonic() + _STOP_SECONDS
        while self._process.poll() is None:
            if self._directory.is_shared():
                _leave_running(self._process)
                return
            if time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                return
            time.sleep(0.01)


def _leave_running(process: subprocess.Popen[bytes]) -> None:
    """Keep Popen from warning about a child that outlives this process."""
    process.returncode = 0


def attach(directory: DataDirectory, servers: Sequence[str]) -> AttachedServers:
    """Start servers that live as long as this process. Raises: EmbeddedInUseError, EmbeddedStartError, …"""
    process = _spawn(directory, servers, owner=os.getpid())
    _await_report(process, directory)
    return AttachedServers(process, directory)


def running_daemon(directory: DataDirectory) -> SupervisorRecord | None:
    """Wait for the supervisor started by `billing embedded start` to become ready; None if none is running.

    Raises: EmbeddedInUseError if the servers belong to a process and will stop with it.
    """
    deadline = time.monotonic() + START_SECONDS
    while (holder := supervisor_of(directory)) is not None:
        if holder.owner is not None:
            raise EmbeddedInUseError(directory.path, holder.owner)
        if holder.ready:
            return holder
        if time.monotonic() > deadline:
            raise EmbeddedStartError(
                f"The servers in {directory.path} did not become ready. See {directory.path / 'logs'}."
            )
        time.sleep(0.05)
    return None


def start_daemon(directory: DataDirectory) -> bool:
    """Start servers that outlive this process; return False if they were running already."""
    if running_daemon(directory) is not None:
        return False
    process = _spawn(directory, ALL_SERVERS, owner=None)
    try:
        _await_report(process, directory)
    except EmbeddedInUseError:
        if running_daemon(directory) is None:  # otherwise another process has just started them
            raise
        return False
    _leave_running(process)
    return True


def stop_daemon(directory: DataDirectory) -> bool:
    """Stop the servers and wait; return False if they were not running. Raises: EmbeddedInUseError."""
    holder = supervisor_of(directory)
    if holder is not None:
        if holder.owner is not None:
            raise EmbeddedInUseError(directory.path, holder.owner)
        try:
            os.kill(holder.pid, signal.SIGTERM)
        except PermissionError as exc:
            raise EmbeddedError(
                f"Process {holder.pid} runs the servers for another user. Only that user can stop them."
            ) from exc
        _wait_until_released(directory)
    for kind in KINDS:
        ServerLock(directory, kind).stop_leftover()
    return holder is not None


def running_urls(directory: DataDirectory) -> ServerUrls:
    """Return the URLs of running servers, whatever has started them. Raises: EmbeddedError if none is running."""
    holder = supervisor_of(directory)
    if holder is None or not holder.ready or POSTGRES not in holder.servers:
        raise EmbeddedError(f"No servers are running in {directory.path}. Start them with `billing embedded start`.")
    redis_url = local_url(directory, VALKEY) if VALKEY in holder.servers else None
    return ServerUrls(database_url=local_url(directory, POSTGRES), redis_url=redis_url)


def local_url(directory: DataDirectory, name: str) -> str:
    """Return a server's URL, password included. Raises: EmbeddedError if it was never started here."""
    return _TO_URL[name](directory.endpoint(name))


def status(directory: DataDirectory) -> Status:
    """Return the current state of the servers."""
    holder = supervisor_of(directory)
    if holder is None:
        return Status(data_dir=directory.path, state="stopped")
    state = "starting"
    if holder.ready:
        state = "running" if all(_answers(directory, name) for name in holder.servers) else "failing"
    return Status(
        data_dir=directory.path,
        state=state,
        pid=holder.pid,
        owner=holder.owner,
        ports={name: directory.endpoint(name).port for name in holder.servers},
        processes=dict(holder.servers),
    )


def supervisor_of(directory: DataDirectory) -> SupervisorRecord | None:
    """Return the supervisor that holds the data directory, or None.

    A supervisor takes the lock shortly before it writes its record. In between, the record may be that of a killed
    supervisor whose process id has been reused, so the process must also look like a supervisor.
    """
    deadline = time.monotonic() + _RECORD_SECONDS
    while directory.is_held():
        record = directory.record()
        if record is not None and _SUPERVISOR in command_line(record.pid):
            return record
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"{directory.path} is locked by an unknown process. See {directory.lock_file('supervisor')}."
            )
        time.sleep(0.02)
    return None


def _answers(directory: DataDirectory, name: str) -> bool:
    endpoint = directory.endpoint(name)
    return postgres.answers(endpoint.port) if name == POSTGRES else valkey.answers(endpoint)


def _wait_until_released(directory: DataDirectory) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while directory.is_held():
        if time.monotonic() > deadline:
            raise EmbeddedError(f"The supervisor of {directory.path} did not stop. See {directory.log('supervisor')}.")
        time.sleep(0.02)


def _spawn(directory: DataDirectory, servers: Sequence[str], *, owner: int | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", _SUPERVISOR, str(directory.path), "--servers", *servers]
    if owner is not None:
        command += ["--owner", str(owner)]
    # The supervisor must be able to import the same packages as this process.
    search_path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    with open_log(directory.log("supervisor")) as log:
        return subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL if owner is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=directory.path,
            env={**server_environment(os.environ), "PYTHONPATH": search_path},
            start_new_session=True,  # Ctrl-C reaches only this process, which stops the servers when it ends
        )


def _await_report(process: subprocess.Popen[bytes], directory: DataDirectory) -> None:
    """Wait for the line that the supervisor writes when it is ready or has failed, and raise the error it reports."""
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
        log = directory.log("supervisor")
        raise EmbeddedStartError(f"The supervisor ended without a report. The end of {log}:\n{tail(log)}")
    if report["error"] == EmbeddedInUseError.__name__:
        raise EmbeddedInUseError(directory.path, report["pid"])
    raise _ERRORS.get(report["error"], EmbeddedError)(report["message"])
