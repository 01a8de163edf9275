"""An installation with pip equals one with uv."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT = "billing-core"


def pins() -> dict[tuple[str, str], set[str]]:
    """The accepted hashes of each name and version in the file that pip reads."""
    text = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").replace("\\\n", "")
    found = re.findall(r"^([a-z0-9.-]+)==(\S+)(.*)$", text, re.MULTILINE)
    return {(name, version): set(re.findall(r"--hash=(\S+)", rest)) for name, version, rest in found}


def packages() -> dict[str, dict[str, Any]]:
    """The packages in uv's lock by name."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"]: package for package in lock["package"]}


def reachable(locked: dict[str, dict[str, Any]]) -> set[str]:
    """The names that the project needs with all its features and its development tools, on whatever platform."""
    todo = [(PROJECT, "all"), (PROJECT, None)]
    todo += [
        (each["name"], extra)
        for each in locked[PROJECT]["dev-dependencies"]["dev"]
        for extra in (None, *each.get("extra", ()))
    ]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        package = locked[name]
        needed = package.get("dependencies", ()) if extra is None else package["optional-dependencies"][extra]
        steps = {(each["name"], wanted) for each in needed for wanted in (None, *each.get("extra", ()))}
        todo += steps - seen
        seen |= steps
    return {name for name, _ in seen} - {PROJECT}


def test_pip_accepts_exactly_the_files_that_uv_does() -> None:
    """Each pinned package has the version and the hashes of uv's lock."""
    locked = packages()
    for (name, version), hashes in pins().items():
        package = locked[name]
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        assert (version, hashes) == (package["version"], {file["hash"] for file in files}), name


def test_pip_is_told_about_every_package_that_uv_installs() -> None:
    """No package of the lock that the project needs is missing from the pins, and none is there without need."""
    assert {name for name, _ in pins()} == reachable(packages())
