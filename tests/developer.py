"""A developer with a folder, a home and Stripe's own program, and what may be found out about their secrets."""

from __future__ import annotations

import os
from pathlib import Path

DUMB = {"COLUMNS": "500", "TERM": "dumb"}
"""A terminal that is wide enough, so that no line is broken where a test looks for it."""


def developer_environment(folder: Path, program: Path | None, api_base: str) -> dict[str, str]:
    """Return the environment of a person who is not logged in and has no settings; the home is `folder / "home"`.

    Args:
        folder: of the project.
        program: of Stripe's command line; None if it is not installed.
        api_base: the address of the fake.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "STRIPE_"))}
    return (
        inherited
        | DUMB
        | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "HTTPS_PROXY": "http://127.0.0.1:9",  # neither telemetry nor a look for newer versions leaves the computer
            "STRIPE_CLI_PATH": str(program or folder / "missing"),
            "STRIPE_API_BASE": api_base,
        }
    )


def command_lines_with(*secrets: str) -> list[str]:
    """Return the command lines of all processes of this machine that hold one of the secrets, as `ps` shows them."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended
        if any(secret in line for secret in secrets):
            found.append(line)
    return found


def files_with(folder: Path, *secrets: str) -> list[str]:
    """Return the files below a folder that hold one of the secrets."""
    return sorted(
        str(each.relative_to(folder))
        for each in folder.rglob("*")
        if each.is_file() and any(secret.encode() in each.read_bytes() for secret in secrets)
    )
