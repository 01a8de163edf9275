"""The browser client as a package for npm: packed, installed beside a compiler, and used as the documentation shows."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Final

import attrs
import pytest
from tests.documented import blocks
from tests.programs import find_program

ROOT: Final = Path(__file__).parents[2]
WEB: Final = ROOT / "src/entrypoints/billing_app/web"
OPTIONS: Final = ("--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom")
RESOLUTIONS: Final = {"bundler": "esnext", "nodenext": "nodenext"}
"""The kind of module that goes with each way to find packages."""


@attrs.frozen
class Project:
    """A folder with the package and the compiler installed."""

    folder: Path

    def compile(self, *programs: str, resolution: str = "bundler") -> list[str]:
        """Check programs, and return what the compiler says about each."""
        sources = [self.folder / f"example-{number}.mts" for number, _ in enumerate(programs)]
        for source, program in zip(sources, programs, strict=True):
            source.write_text(program, encoding="utf-8")
        modules = ("--moduleResolution", resolution, "--module", RESOLUTIONS[resolution])
        compiler = self.folder / "node_modules/typescript/bin/tsc"
        command = [find_program("node"), str(compiler), *OPTIONS, *modules, *(source.name for source in sources)]
        said = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False).stdout.splitlines()
        return ["\n".join(line for line in said if line.startswith(source.name)) for source in sources]


def npm(folder: Path, *arguments: str) -> str:
    """Run npm without scripts, and return its output."""
    command = [find_program("npm"), *arguments, "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Return the package and the names of its files."""
    folder = tmp_path_factory.mktemp("packed")
    (packed,) = json.loads(npm(folder, "pack", "--json", str(WEB)))
    return folder / packed["filename"], {each["path"] for each in packed["files"]}


@pytest.fixture(scope="session")
def project(packed: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Install the package, and the compiler that package.json names."""
    folder = tmp_path_factory.mktemp("project")
    tools = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    npm(folder, "install", str(packed[0]), f"typescript@{tools['typescript']}")
    return Project(folder)


def example() -> str:
    """Return the program that the documentation shows."""
    (found,) = [each.text for each in blocks() if each.page == "docs/billing/frontend.md" and each.language == "ts"]
    return found


def test_the_package_holds_the_client_and_its_types(packed: tuple[Path, set[str]]) -> None:
    """And nothing of our own pages; its version is that of the server."""
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    assert packed[1] == {*package["files"], "package.json"}
    assert package["version"] == importlib.metadata.version("billing-core")


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_the_documented_program_has_no_type_error(project: Project, resolution: str) -> None:
    """For bundlers and for node."""
    assert project.compile(example(), resolution=resolution) == [""]


MISTAKES: Final = {
    ("message.sequence", "message.sequenz"): "'sequenz' does not exist",
    ('grace: "Pay soon", ', ""): "Property 'grace' is missing",
    ("state.access.state as AccessState", "state.access.state"): "Element implicitly has an 'any' type",
    ("message.invoice?.amount_paid", "message.invoice.amount_paid"): "'message.invoice' is possibly 'null'",
}
"""A misspelled field, a state without its label, a word of a later version, a section that may be missing."""


def test_a_mistake_is_a_type_error(project: Project) -> None:
    """Each is reported with its cause."""
    program = example()
    assert all(program.count(written) == 1 for written, _ in MISTAKES)
    said = project.compile(*(program.replace(written, instead) for written, instead in MISTAKES))
    assert [error for error, found in zip(MISTAKES.values(), said, strict=True) if error not in found] == [], said


def test_the_module_can_be_imported(project: Project) -> None:
    """By its name, as its types say."""
    program = 'import { BillingStream } from "@billing-core/stream"; console.log(new BillingStream({}).status);'
    command = [find_program("node"), "--input-type=module", "--eval", program]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert done.stdout == "stopped\n", done.stderr


def test_the_documented_commands_name_the_package(packed: tuple[Path, set[str]]) -> None:
    """The file that `npm pack` writes is the one that is installed."""
    assert f"npm install ./{packed[0].name}" in (ROOT / "docs/billing/frontend.md").read_text(encoding="utf-8")
