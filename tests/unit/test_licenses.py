"""Every locked package that is installed has a license that allows use in closed products."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest

LOCK: Final = tomllib.loads((Path(__file__).parents[2] / "uv.lock").read_text(encoding="utf-8"))
ALLOWED: Final = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",  # of files: a change to one of theirs would have to be published, and none is changed
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
NAMES: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "DFSG approved": "MIT",  # of pytest-timeout, beside its license
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""The names of licenses from before packages wrote SPDX expressions."""
STATED_ELSEWHERE: Final = {"axe-playwright-python": "MIT"}
"""Packages whose metadata has no license, with that of the license file in their source."""
PACKAGES: Final = sorted(
    package["name"] for package in LOCK["package"] if "editable" not in package["source"] and package["source"]
)


def installed(name: str) -> metadata.PackageMetadata | None:
    """Return the metadata of a package, or None if it is for other platforms or older versions of Python."""
    try:
        return metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None


def licenses(name: str, found: metadata.PackageMetadata) -> set[str]:
    """Return the licenses that a package names: all of an expression, since each may apply."""
    if name in STATED_ELSEWHERE:
        return {STATED_ELSEWHERE[name]}
    if expression := found.get("License-Expression"):
        return {*re.findall(r"[\w.-]+", expression)} - {"AND", "OR", "WITH"}
    classifiers = [each.rpartition(" :: ")[2] for each in found.get_all("Classifier") or () if "License ::" in each]
    return {NAMES.get(each, each) for each in classifiers or [found.get("License") or "none"]}


@pytest.mark.parametrize("name", PACKAGES)
def test_the_license_is_one_of_those_that_are_allowed(name: str) -> None:
    """A package with another license is not taken in by accident."""
    found = installed(name)
    if found is not None:
        assert licenses(name, found) <= ALLOWED


def test_nearly_every_package_was_looked_at() -> None:
    """So that the test above does not pass because nothing is installed."""
    assert sum(installed(name) is not None for name in PACKAGES) >= 0.9 * len(PACKAGES)
