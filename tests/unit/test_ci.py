"""The ways to run the checks agree: `.ci/run`, the GitHub workflow, the Makefile, nox and package.json."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import noxfile
import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
UNASKED: Final = "PyPI's database of vulnerabilities could not be asked about"


def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    return loaded


def targets_of_ci() -> list[str]:
    """Return the make targets of `.ci/run`, sorted."""
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    (names,) = re.findall(r"^for target in (.+); do$", script, re.MULTILINE)
    return sorted([*str(names).split(), *re.findall(r"^run ([\w-]+)", script, re.MULTILINE)])


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
    assert sorted(["setup", *job["strategy"]["matrix"]["target"]]) == targets_of_ci()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["bash .ci/programs", "make setup", "make ${{ matrix.target }}"]


def test_the_workflow_tests_the_pythons_of_nox() -> None:
    """Both lists name the supported versions."""
    assert workflow()["jobs"]["python"]["strategy"]["matrix"]["python"] == noxfile.PYTHONS


def test_the_supported_versions_are_those_that_are_tested() -> None:
    """A package index shows the classifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [each.rpartition(" ")[2] for each in project["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert named == noxfile.PYTHONS
    assert project["requires-python"] == f">={noxfile.PYTHONS[0]}"


@pytest.mark.parametrize(
    ("packages", "faults"),
    [
        ([{"name": "attrs", "version": "26.1.0", "vulns": []}], []),
        ([], [f"{UNASKED} any package."]),
        (
            [{"name": "attrs", "version": "26.1.0", "vulns": []}, {"name": "stripe", "skip_reason": "not found"}],
            [f"{UNASKED} 1 of 2 packages, first of all stripe (not found)."],
        ),
        (
            [{"name": "attrs", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2", "3"]}]}],
            ["attrs 1: PYSEC-1, fixed in 2, 3"],
        ),
    ],
)
def test_an_audit_fails_for_what_it_found_and_for_what_it_could_not_ask(
    packages: list[dict[str, Any]], faults: list[str]
) -> None:
    """A package that the database does not know, as behind a mirror of PyPI, would otherwise pass for safe."""
    assert list(noxfile.audit_faults(packages)) == faults


@pytest.mark.parametrize("path", noxfile.OF_THE_LOCK)
def test_a_file_that_the_oldest_versions_need_not_pass_exists(path: str) -> None:
    """`--ignore` accepts any path: a renamed file would come back and fail."""
    assert (ROOT / path).is_file()


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
        ("test-stripe", ".venv/bin/python -m pytest --numprocesses 3 --dist loadfile -m stripe --tenant acme"),
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
