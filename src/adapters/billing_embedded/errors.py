"""What can go wrong with the local servers; every message says what to do next."""

from __future__ import annotations

from pathlib import Path


class EmbeddedError(Exception):
    """The local Postgres and Valkey cannot be used. The message holds no secret."""


class EmbeddedUnavailableError(EmbeddedError):
    """There are no server programs for this machine, or none that can be run here."""


class EmbeddedStartError(EmbeddedError):
    """A server did not come up; the message ends with the last lines of its log."""


class EmbeddedInUseError(EmbeddedError):
    """Another process uses the data directory and will take the servers with it when it ends."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        self.data_dir = data_dir
        self.pid = pid
        super().__init__(
            f"{data_dir} is in use by process {pid}. "
            "Stop that one first, or choose another folder with BILLING_DATA_DIR. "
            "Several commands at a time share what `billing embedded start` runs."
        )
