"""The programs of Prometheus: `make ops` runs these tests, `make test` does not.

A program that is missing is a failure here, never a skip: a run that tests nothing must not look green.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from scripts.ops_tools import ToolUnavailableError, find_tool

OPS = Path(__file__).parents[2] / "ops"
Tool: TypeAlias = Callable[..., str]


def tool(name: str) -> Tool:
    """Return a function that runs a program in ops/ and returns its output, or fails the test with it."""
    try:
        path = find_tool(name)
    except ToolUnavailableError as exc:
        pytest.fail(str(exc), pytrace=False)

    def run(*arguments: str) -> str:
        done = subprocess.run([path, *arguments], cwd=OPS, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.fail(f"{name} {' '.join(arguments)}\n{done.stdout}{done.stderr}", pytrace=False)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def promtool() -> Tool:
    return tool("promtool")


@pytest.fixture(scope="session")
def amtool() -> Tool:
    return tool("amtool")
