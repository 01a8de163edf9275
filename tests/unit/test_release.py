"""The version of the project, of its lock, of its notes and of the image is the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).parents[2]
VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_newest_notes_are_of_this_version() -> None:
    """Later notes are under `Unreleased`, above."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert re.fullmatch(rf"{re.escape(VERSION)} \(\d{{4}}-\d\d-\d\d\)", released[0])


def test_the_lock_has_this_version() -> None:
    """Otherwise `make lock` was forgotten."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    assert [each["version"] for each in packages if each["name"] == "billing-core"] == [VERSION]


def test_the_manifests_name_the_image_of_this_version() -> None:
    """An example that is applied unchanged must not start an older release."""
    file = ROOT / "ops/kubernetes/kustomization.yaml"
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["images"][0]["newTag"] == VERSION
