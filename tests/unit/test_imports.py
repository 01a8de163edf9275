"""Importing the domain stays cheap and loads no third-party code beyond its two dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROBE = ROOT / "scripts" / "import_core_alone.py"
SERVER_PACKAGES = {"stripe", "asyncpg", "aiohttp", "redis", "structlog", "prometheus_client", "click"}


def run_python(*arguments: str, first_on_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PYTHONPATH": str(first_on_path)} if first_on_path else {})
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_import_billing_core_loads_no_server_package() -> None:
    """A service that embeds the domain pays for no driver, SDK or web framework, even where they are installed."""
    result = run_python("-c", "import sys, billing_core; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert "billing_core" in loaded
    assert not loaded & SERVER_PACKAGES


def test_the_whole_domain_needs_only_attrs_and_cattrs() -> None:
    """No module of the domain, its test kit aside, reaches beyond its two dependencies and the standard library."""
    result = run_python(str(PROBE))
    assert result.returncode == 0, result.stderr


def test_the_probe_names_a_package_that_was_loaded(tmp_path: Path) -> None:
    """The probe reports a foreign import, even in a submodule."""
    package = tmp_path / "billing_core" / "model"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "money.py").write_text("import click\n", encoding="utf-8")
    result = run_python(str(PROBE), first_on_path=tmp_path)
    assert (result.returncode, result.stderr) == (1, "import billing_core also loads: click\n")


def test_import_of_the_container_loads_nothing_of_it() -> None:
    """A command imports the one name that it needs; every name can be imported."""
    probe = "import sys, billing_app.container as c; print(*sys.modules); [getattr(c, name) for name in c.__all__]"
    result = run_python("-c", probe)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert not loaded & (SERVER_PACKAGES | {"billing_app.container.wiring", "billing_core.model"})
