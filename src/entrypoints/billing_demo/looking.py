"""The ways to look into a running demo from other terminals: files in its folder, and the commands that use them."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from billing_app.settings import ENV_FILE
from billing_app.setup.next_steps import program
from billing_embedded.data_directory import write_private

_HEADERS: Final = "headers"
_OURS: Final = ("BILLING_", "STRIPE_", "ENABLE_BILLING")
_OF_THE_SERVER_ALONE: Final = ("BILLING_LOG_FORMAT",)


def write_settings(folder: Path, environment: Mapping[str, str]) -> None:
    """Write the settings of a run for commands that are told its folder; they find the local servers by the folder."""
    ours = {
        name: value
        for name, value in environment.items()
        if name.startswith(_OURS) and name not in _OF_THE_SERVER_ALONE
    }
    lines = [f"{name}='{value}'" for name, value in {**ours, "BILLING_DATA_DIR": str(folder)}.items()]
    write_private(folder / ENV_FILE, "\n".join(lines) + "\n")


def command(folder: Path, arguments: str) -> str:
    """Return a command about the data of a run, in a form that works when it is pasted."""
    return f"{billing()} --data-dir {shlex.quote(_short(folder))} {arguments}"


def billing() -> str:
    """Return how the program is called from here."""
    return program("billing", Path(sys.executable).parent)


def stream_command(folder: Path, *, base_url: str, token: str) -> str:
    """Write the headers of a stream request, and return the command that follows the stream from its first message.

    The token is in a file that only its owner reads: other users see command lines, and its length would break them.
    """
    path = folder / _HEADERS
    write_private(path, f"Authorization: Bearer {token}\nLast-Event-ID: 0\n")
    return f"curl -N -H {shlex.quote('@' + _short(path))} {base_url}/api/v1/billing/stream"


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
