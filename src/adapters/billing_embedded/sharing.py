"""Use the servers of a data directory together with the processes that use them already, or start them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import attrs

from billing_embedded.client import AttachedServers, attach, running_daemon, supervisor_of
from billing_embedded.data_directory import DataDirectory, SupervisorRecord
from billing_embedded.errors import EmbeddedError, EmbeddedInUseError, EmbeddedStartError
from billing_embedded.server_process import START_SECONDS


@attrs.frozen
class SharedServers:
    """A hold on servers that another process has started: they run at least until `release` is called."""

    _lock: int

    def release(self) -> None:
        os.close(self._lock)


def use(directory: DataDirectory, names: Sequence[str]) -> AttachedServers | SharedServers | None:
    """Use the servers that run in a data directory, or start them; None if they run until they are stopped.

    Raises: EmbeddedStartError, EmbeddedUnavailableError, …
    """
    deadline = time.monotonic() + 2 * START_SECONDS
    while time.monotonic() < deadline:
        holder = supervisor_of(directory)
        if holder is None:
            try:
                return attach(directory, names)
            except EmbeddedInUseError:
                continue  # another process has just started them
        elif holder.owner is None:
            if running_daemon(directory) is not None:
                return None
        elif (lock := directory.share()) is not None:
            shared = SharedServers(lock)
            try:
                joined = _await_servers(directory, names)
            except BaseException:
                shared.release()
                raise
            if joined:
                return shared
            shared.release()
        time.sleep(0.02)
    raise EmbeddedStartError(f"The servers in {directory.path} neither start nor stop. See {directory.path / 'logs'}.")


def _await_servers(directory: DataDirectory, names: Sequence[str]) -> bool:
    """Wait until the servers respond, and ask for those that do not run yet; return False if they have stopped."""
    deadline, asked = time.monotonic() + START_SECONDS, False
    while (holder := supervisor_of(directory)) is not None:
        missing = [name for name in names if name not in holder.servers]
        if holder.ready and not missing:
            return True
        for name in missing:
            if name in holder.failed:
                raise EmbeddedStartError(holder.failed[name])
        if holder.ready and not asked:
            _ask_for_all(holder)
            asked = True
        if time.monotonic() > deadline:
            raise EmbeddedStartError(
                f"The servers in {directory.path} did not become ready. See {directory.path / 'logs'}."
            )
        time.sleep(0.02)
    return False


def _ask_for_all(holder: SupervisorRecord) -> None:
    """Ask a supervisor for the servers that its owner had no use for."""
    try:
        os.kill(holder.pid, signal.SIGUSR1)
    except ProcessLookupError:
        return  # it has ended; the next look finds none
    except PermissionError as exc:
        raise EmbeddedError(f"Process {holder.pid} runs the servers for another user.") from exc
