"""docs/embedding.md is made from the examples, and what it shows beside them works."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from scripts.embedding_page import DOCUMENT, EXAMPLES, render
from tests.unit.host.conftest import subscription_event

PLANS = re.compile(r"^```toml\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_page_is_made_from_the_examples() -> None:
    """When this fails, run `python -m scripts.embedding_page`."""
    assert DOCUMENT.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(example: Path) -> None:
    """A whole application fits on a screen."""
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60


async def test_the_test_of_an_application_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it is printed, with the plans that the page shows."""
    page = DOCUMENT.read_text(encoding="utf-8")
    (plans,) = PLANS.findall(page)
    (tmp_path / "billing.toml").write_text(plans, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (shown,) = (code for code in CODE.findall(page) if "Settings.for_tests" in code)
    names: dict[str, object] = {}
    exec(compile(shown, "docs/embedding.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    (test,) = (each for name, each in names.items() if name.startswith("test_"))
    assert inspect.iscoroutinefunction(test)
    await test(subscription_event(1))
