"""`billing_app` as an application imports it: light, and with an error that says what to install."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import billing_app

ROOT = Path(__file__).parents[3]
IMPORTED = {"pyjwt": "jwt"}
HEAVY = {"stripe", "asyncpg", "aiohttp", "redis", "structlog", "prometheus_client", "dependency_injector", "attrs"}


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_import_alone_loads_nothing() -> None:
    """A program that never opens billing does not pay for it."""
    done = run_python("import sys, billing_app; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & HEAVY


@pytest.mark.parametrize("name", billing_app.__all__)
def test_every_public_name_can_be_loaded(name: str) -> None:
    """And is listed by the interpreter."""
    assert getattr(billing_app, name) is not None
    assert name in dir(billing_app)


def test_another_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="open_biling"):
        _ = billing_app.open_biling


def test_a_missing_extra_is_named() -> None:
    """With what to install, in place of the name of a package that the reader never heard of."""
    done = run_python("import sys; sys.modules['asyncpg'] = None\nfrom billing_app import open_billing")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the package 'asyncpg', which the extra 'postgres' brings" in last
    assert "pip install 'billing-core[host]'" in last


def test_every_package_of_the_host_has_its_extra() -> None:
    """As declared: a driver that is added to an extra is added to the message as well."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    known = {package for packages in billing_app._EXTRAS.values() for package in packages.split()}
    named = {re.split(r"[\[><=]", each)[0] for extra in billing_app._EXTRAS for each in declared[extra]}
    ours = {"billing-core"}  # an extra that brings others
    assert {IMPORTED.get(name, name.replace("-", "_")) for name in named - ours} == known


def test_a_module_of_ours_that_is_missing_is_no_missing_extra() -> None:
    """A broken installation is shown as it is."""
    done = run_python("import sys; sys.modules['billing_core.events'] = None\nfrom billing_app import open_billing")
    assert "ModuleNotFoundError" in done.stderr.splitlines()[-1]
