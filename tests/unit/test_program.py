"""The program as a process: in a partial installation, what is missing is named; it seldom searches for garbage."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from billing_app.program import EXTRAS

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {"dotenv": "python-dotenv", "jwt": "pyjwt"}
"""Packages that are imported under another name than they are installed by."""

_WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = ["billing", *{arguments!r}]
from billing_app.program import main
main()
"""

_AT_ITS_END = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_threshold()[0] >= 300_000, gc.get_freeze_count() > 0, gc.isenabled()))
sys.argv = ["billing", "--version"]
from billing_app.program import main
main()
"""


def billing(*arguments: str, missing: set[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where packages are missing, as after an installation without their extras."""
    program = _WITHOUT.format(missing=missing, arguments=arguments)
    environment = {"PYTHONPATH": ":".join(sys.path), "DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("cli", "--help"),
        ("cli", "events list"),
        ("postgres", "events list"),
        ("postgres", "migrate"),
        ("redis", "serve"),
        ("server", "serve"),
        ("server", "worker"),
        ("server", "token --tenant acme"),
        ("stripe", "serve"),
        ("stripe", "stripe setup --dry-run"),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, extra: str, command: str) -> None:
    """In one line that says what to install, without a traceback."""
    missing = {package for package, brought_by in EXTRAS.items() if brought_by == extra}
    done = billing(*command.split(), missing=missing, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'billing-core[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_that_use_the_database_need_two_extras(tmp_path: Path) -> None:
    """The refusal of a database that is not there comes from the driver."""
    missing = {package for package, extra in EXTRAS.items() if extra not in ("cli", "postgres")}
    done = billing("events", "list", missing=missing, folder=tmp_path)
    assert (done.returncode, done.stderr.startswith("billing: store_unavailable")) == (1, True), done.stderr


def test_another_missing_module_is_a_bug(tmp_path: Path) -> None:
    """Its traceback is shown."""
    done = billing("migrate", missing={"billing_postgres"}, folder=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)


@pytest.mark.parametrize("package", EXTRAS)
def test_the_named_extra_brings_the_package(package: str) -> None:
    """As pyproject.toml declares it; `server` brings what a server needs, from other extras as well."""
    named = [re.split(r"[\[<>=~; ]", each)[0] for each in DECLARED[EXTRAS[package]]]
    assert DISTRIBUTIONS.get(package, package.replace("_", "-")) in named


def test_the_program_seldom_searches_for_garbage(tmp_path: Path) -> None:
    """Not among all that it has imported, as it ends; but it does search."""
    done = subprocess.run([sys.executable, "-c", _AT_ITS_END], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "True True True"
