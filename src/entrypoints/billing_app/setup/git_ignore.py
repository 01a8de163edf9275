"""Files that git would commit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_TIMEOUT: Final = 5.0
_NOT_IGNORED: Final = 1


def unignored(paths: Iterable[Path]) -> Sequence[Path]:
    """Return those of the paths that git would commit; none outside of a repository, or if there is no git."""
    return [path for path in paths if _is_unignored(path)]


def _is_unignored(path: Path) -> bool:
    command = ["git", "check-ignore", "--quiet", "--", path.name]
    try:
        # git itself is asked, since the answer depends on files in several folders and on what is committed already.
        status = subprocess.run(  # noqa: S603 - a fixed command, and a path after `--`
            command,
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return False
    return status == _NOT_IGNORED
