"""Errors of the local servers. Every message says what to do next."""

from __future__ import annotations

from pathlib import Path


class EmbeddedError(Exception):
    """The local Postgres and Valkey cannot be used. The message holds no secret."""


class EmbeddedUnavailableError(EmbeddedError):
    """No server programs for this machine were found, or they cannot be run."""


class EmbeddedStartError(EmbeddedError):
    """A server did not start. The message ends with the last lines of its log."""


class EmbeddedInUseError(EmbeddedError):
    """The servers of the data directory belong to another process, and stop with it."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        self.data_dir = data_dir
        self.pid = pid
        super().__init__(
            f"{data_dir} is in use by process {pid}, and its servers stop with it. "
            "Stop that process first, or choose another folder with BILLING_DATA_DIR."
        )
