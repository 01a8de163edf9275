"""The search for the program of Stripe's command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def find_program(configured: Path | None, path: str, folder: Path) -> Path | None:
    """Return the configured program, the one in PATH, or the one that npm installed in a folder or above it.

    Args:
        configured: the program that a setting names; it alone is looked at.
        path: the folders of PATH.
        folder: the folder of the project.
    """
    if configured is not None:
        return configured if os.access(configured, os.X_OK) and configured.is_file() else None
    found = shutil.which("stripe", path=path)
    return Path(found) if found else _of_npm(folder)


def _of_npm(folder: Path) -> Path | None:
    for parent in (folder, *folder.parents):
        # Rather than node_modules/.bin/stripe, a script that needs node and does not pass on signals.
        candidates = [*parent.glob("node_modules/@stripe/cli-*/bin/stripe"), parent / "node_modules/.bin/stripe"]
        program = next((each for each in candidates if os.access(each, os.X_OK)), None)
        if program is not None:
            return program
    return None
