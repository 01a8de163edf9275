"""The names that a host application imports from `billing_core`."""

import ast
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

import billing_core


@cache
def declared() -> dict[str, str]:
    """Return the module of each public name as type checkers see it."""
    tree = ast.parse(Path(billing_core.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


@pytest.mark.parametrize("name", [name for name in billing_core.__all__ if name != "__version__"])
def test_a_public_name_is_what_type_checkers_take_it_for(name: str) -> None:
    """It comes from the module that the declaration for type checkers names."""
    assert getattr(billing_core, name) is getattr(sys.modules[declared()[name]], name)


def test_every_declared_name_is_public() -> None:
    """No name resolves that `__all__` does not list, and none is listed twice."""
    assert sorted(billing_core.__all__) == sorted(["__version__", *declared()])
    assert set(billing_core.__all__) <= set(dir(billing_core))


def test_the_version_is_the_installed_one() -> None:
    """It is written down once, in the project's metadata."""
    assert billing_core.__version__ == version("billing-core")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="BillingServise"):
        _ = billing_core.BillingServise  # type: ignore[attr-defined]


def test_importing_the_package_alone_loads_nothing_of_it() -> None:
    """Its modules and dependencies are loaded with the first name."""
    command = [sys.executable, "-c", "import sys, billing_core; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.startswith(("billing", "attr", "cattr"))] == ["billing_core"]
