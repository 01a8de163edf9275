"""An installation with pip equals one with uv."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = "billing-core"
FILES = {"requirements.txt": (), "requirements-dev.txt": ("dev",)}
"""The groups of development tools that each file holds beside what the program needs."""

every_file = pytest.mark.parametrize("file", FILES)


def pins(file: str) -> dict[tuple[str, str], set[str]]:
    """The accepted hashes of each name and version in a file that pip reads."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", "")
    found = re.findall(r"^([a-z0-9.-]+)==(\S+)(.*)$", text, re.MULTILINE)
    return {(name, version): set(re.findall(r"--hash=(\S+)", rest)) for name, version, rest in found}


def packages() -> dict[str, list[dict[str, Any]]]:
    """The packages in uv's lock by name: several versions of one, where versions of Python need different ones."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    found: dict[str, list[dict[str, Any]]] = {}
    for package in lock["package"]:
        found.setdefault(package["name"], []).append(package)
    return found


def reachable(locked: dict[str, list[dict[str, Any]]], groups: Iterable[str]) -> set[str]:
    """The names that the project needs with all its features and some groups of tools, on whatever platform."""
    todo = [(PROJECT, "all"), (PROJECT, None)]
    todo += [
        (each["name"], extra)
        for group in groups
        for each in locked[PROJECT][0]["dev-dependencies"][group]
        for extra in (None, *each.get("extra", ()))
    ]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        needed = [each for package in locked[name] for each in _needed(package, extra)]
        steps = {(each["name"], wanted) for each in needed for wanted in (None, *each.get("extra", ()))}
        todo += steps - seen
        seen |= steps
    return {name for name, _ in seen} - {PROJECT}


def _needed(package: dict[str, Any], extra: str | None) -> Iterable[dict[str, Any]]:
    found: Iterable[dict[str, Any]] = (
        package.get("dependencies", ()) if extra is None else package["optional-dependencies"][extra]
    )
    return found


@every_file
def test_pip_accepts_exactly_the_files_that_uv_does(file: str) -> None:
    """Each pinned package has the version and the hashes of uv's lock."""
    locked = packages()
    for (name, version), hashes in pins(file).items():
        package = next((each for each in locked[name] if each["version"] == version), {})
        accepted = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        assert (version, hashes) == (package.get("version"), {each["hash"] for each in accepted}), name


@every_file
def test_pip_installs_every_package_that_uv_does(file: str) -> None:
    """No package of the lock that the project needs is missing from the pins, and none is there without need."""
    assert {name for name, _ in pins(file)} == reachable(packages(), FILES[file])
