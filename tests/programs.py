"""Programs and packages that a test needs and that do not come with our dependencies."""

import os
import shutil
from typing import NoReturn

import pytest


def find_program(name: str) -> str:
    """Return the path of a program, or call `missing`. Debian installs servers where only root looks."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    return found or missing(f"There is no {name}. Install it (Debian: apt-get install {name}).")


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI: .ci/run installs everything, and a run that tests less must not look green."""
    if "CI" in os.environ:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
