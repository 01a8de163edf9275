"""The ways to run the checks agree: `.ci/run`, the GitHub workflow, the Makefile, nox and package.json."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]


def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    return loaded


def targets_of_ci() -> list[str]:
    """Return the make targets of `.ci/run`, in their order."""
    (names,) = re.findall(r"^for target in (.+); do$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)
    return str(names).split()


def commands_of(target: str, arguments: str) -> str:
    """Return what a make target would run."""
    made = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target, f"ARGS={arguments}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout


def test_the_workflow_runs_the_targets_of_ci() -> None:
    """After `setup`, every target has a job, and no job has another one."""
    job = workflow()["jobs"]["check"]
    assert ["setup", *job["strategy"]["matrix"]["target"]] == targets_of_ci()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["bash .ci/programs", "make setup", "make ${{ matrix.target }}"]


def test_the_workflow_tests_the_pythons_of_nox() -> None:
    """Both lists name the supported versions."""
    (pythons,) = [
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PYTHONS"
    ]
    assert workflow()["jobs"]["python"]["strategy"]["matrix"]["python"] == pythons


def test_actions_are_pinned_and_may_only_read() -> None:
    """A tag can be moved to other code; a commit cannot."""
    assert workflow()["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow()["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each) for each in used)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("stripe-replay", ".venv/bin/billing events replay --tenant acme"),
        ("test-stripe", ".venv/bin/python -m pytest --numprocesses 2 --dist loadfile -m stripe --tenant acme"),
        ("stripe-setup", ".venv/bin/billing stripe setup --tenant acme"),
        ("dev-up", ".venv/bin/billing embedded start --tenant acme"),
    ],
)
def test_a_target_is_its_command(target: str, command: str) -> None:
    """Runbooks and scripts call these targets; ARGS is passed on."""
    assert commands_of(target, "--tenant acme").splitlines()[-1] == command


def test_every_script_of_package_json_is_a_target() -> None:
    """`pnpm stripe:setup` is `make stripe-setup`."""
    scripts = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["scripts"]
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for name, command in scripts.items():
        assert command == f"make {name.replace(':', '-')}"
        assert command.removeprefix("make ") in targets
