"""The fenced blocks of README and docs, and the commands in them."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs
import click

from billing_app import cli
from billing_app.http.openapi import document
from billing_app.settings.settings import declared_sections

ROOT: Final = Path(__file__).parents[1]
_FENCE: Final = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n+)?(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
_OPERATORS: Final = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "<<"})
_FOREIGN: Final = frozenset(
    {
        "cp",
        "chmod",
        "grep",
        "export",
        "jq",
        "stripe",
        "psql",
        "redis-cli",
        "docker",
        "promtool",
        "amtool",
        "kubectl",
        "openssl",
        "echo",
    }
)
"""Programs of others, whose options are not checked."""


@attrs.frozen
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None = None
    """Why it is not run, as the page says it in a comment above the block."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[str]:
        """Yield the command lines: behind `$ ` in a console, all of them in a script."""
        prompt = "$ " if self.language == "console" else ""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.strip() and line.startswith(prompt):
                yield line.removeprefix(prompt)


def blocks() -> Sequence[Block]:
    """Return every block, in the order of pages and lines."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [each for page in pages for each in blocks_of(str(page.relative_to(ROOT)), page.read_text("utf-8"))]


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        code = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        yield Block(page, line, found["language"], code, found["reason"])


def check_command_line(line: str) -> None:
    """Raise AssertionError or click.UsageError, unless each command of a line could run as it is printed."""
    for inner in re.findall(r"\$\((.+)\)", line):
        check_command_line(inner)
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] = []
    skip = False
    for word in [*words, ";"]:
        if word not in _OPERATORS:
            command += [] if skip else [word]
            skip = False
            continue
        skip = word in {">", ">>", "<"}
        if not skip:
            _check_command(command)
            command = []


def _check_command(words: Sequence[str]) -> None:
    rest = list(words)
    while rest and re.match(r"[A-Z][A-Z0-9_]*=", rest[0]):
        name = rest.pop(0).partition("=")[0]
        settings = {each.env for section in declared_sections() for each in section.settings.values()}
        assert name in settings or name.startswith("OTEL_"), f"{name} is no setting"
    if not rest:
        return
    program, *arguments = rest
    if program in _FOREIGN:
        return
    assert program in _OURS, f"{program}: neither ours nor known; add it to tests/documented.py"
    _OURS[program](arguments)


def _check_billing(arguments: Sequence[str]) -> None:
    """Parse as `billing` does, without running anything."""
    command: click.Command = cli.cli
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"{rest[0]}: no such command"
        command = found
        rest.pop(0)
    command.make_context(command.name, rest)


def _check_make(arguments: Sequence[str]) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [each for each in arguments if "=" not in each and each not in targets] == []


def _check_pip(arguments: Sequence[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = [name for each in re.findall(r"billing-core\[([\w,]+)\]", " ".join(arguments)) for name in each.split(",")]
    assert named
    assert [name for name in named if name not in extras] == []


def _check_curl(arguments: Sequence[str]) -> None:
    """Look for a route of ours at each address."""
    paths = [urlsplit(each).path for each in arguments if each.startswith("http")]
    routes = [re.sub(r"\{\w+\}", "[^/]+", route) for route in document()["paths"]]
    assets = [f"/assets/{path.name}" for path in (ROOT / "src/entrypoints/billing_app/web").iterdir()]
    assert paths
    assert [path for path in paths if path not in assets and not any(re.fullmatch(each, path) for each in routes)] == []


def _check_script(arguments: Sequence[str]) -> None:
    """Look a script up, unless npm itself does something with a package."""
    if arguments[0] not in ("install", "pack"):
        assert arguments[-1] in json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["scripts"]


def _check_python(arguments: Sequence[str]) -> None:
    """Run what `-c` gives."""
    assert arguments[0] == "-c"
    exec(arguments[1], {})


_OURS: Final = {
    "billing": _check_billing,
    "make": _check_make,
    "pip": _check_pip,
    "curl": _check_curl,
    "npm": _check_script,
    "python": _check_python,
    "pnpm": _check_script,
}
