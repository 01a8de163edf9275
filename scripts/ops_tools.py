"""Programs that check ops/: promtool, Prometheus and amtool. `python -m scripts.ops_tools` prints where they are.

They are taken from PATH. Those that are missing come from Debian's packages, unpacked into a folder of the repository:
nothing is installed, no service is started, and root is not needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

PACKAGES: Final = {"promtool": "prometheus", "prometheus": "prometheus", "amtool": "prometheus-alertmanager"}
"""The package of each program."""
CACHE: Final = Path(__file__).parents[1] / ".ops-tools"
_SECONDS: Final = 300.0
_APT: Final = ("-qq", "-o", "APT::Sandbox::User=root")
"""Quiet, and without a change of user: that one could not write into the folder."""


class ToolUnavailableError(Exception):
    """A program is neither installed nor can its package be downloaded."""


def find_tool(name: str) -> Path:
    """Return the path of a program in `PACKAGES`. Raises ToolUnavailableError."""
    package = PACKAGES[name]
    unpacked = CACHE / package / "usr/bin" / name
    if (installed := shutil.which(name)) is not None:
        return Path(installed)
    if not unpacked.exists():
        _unpack(package)
    return unpacked


def _unpack(package: str) -> None:
    """Download a package and unpack it into the cache, at once: another process may look for it."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        try:
            _download(package, folder)
            (archive,) = folder.glob("*.deb")
            _run("dpkg-deb", "--extract", str(archive), str(folder / package))
        except (OSError, subprocess.SubprocessError, ValueError) as exc:
            raise ToolUnavailableError(
                f"{package} is not installed and its package cannot be downloaded ({_reason(exc)}). Install {package} "
                f"(Debian: apt-get install {package}), or put its programs on PATH."
            ) from exc
        if not (CACHE / package).exists():
            (folder / package).rename(CACHE / package)


def _download(package: str, folder: Path) -> None:
    """Download a package; with a new list of packages if the present one is missing or outdated."""
    download = ("apt-get", *_APT, "download", package)
    try:
        _run(*download, folder=folder)
    except subprocess.CalledProcessError:
        if os.geteuid() != 0:
            raise
        _run("apt-get", *_APT, "update")
        _run(*download, folder=folder)


def _run(*command: str, folder: Path | None = None) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_SECONDS)  # noqa: S603


def _reason(exc: Exception) -> str:
    if isinstance(exc, subprocess.CalledProcessError):
        return (exc.stderr.strip().splitlines() or [str(exc)])[-1]
    return str(exc)


if __name__ == "__main__":
    for tool in PACKAGES:
        print(tool, find_tool(tool))
