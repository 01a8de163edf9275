"""The examples in docs/billing/gateway.md work as printed, and its table names commands that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from billing_core.operations import commands

PAGE = (Path(__file__).parents[2] / "docs/billing/gateway.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES = re.findall(r"async def (test_\w+)", EXAMPLE)


@pytest.mark.parametrize("name", NAMES)
async def test_examples_work(name: str) -> None:
    """Each of the page's tests passes."""
    namespace: dict[str, Any] = {}
    exec(compile(EXAMPLE, "gateway.md", "exec"), namespace)
    await namespace[name]()


def test_the_table_names_commands() -> None:
    """In its first column."""
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in PAGE.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in row} - {"StripeClient", "StripeGateway", "OperationRunner", "FakeGateway"}
    assert named
    assert named <= {command.__name__ for command in commands.COMMANDS.values()}
