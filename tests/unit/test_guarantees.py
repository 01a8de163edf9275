"""docs/billing/guarantees.md: every promise names code and tests that exist, and says what it does not cover."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT, ROOT / "src", ROOT / "src/adapters", ROOT / "src/entrypoints")
PAGE = (ROOT / "docs/billing/guarantees.md").read_text(encoding="utf-8")

Node: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen(kw_only=True)
class Promise:
    """One section of the page."""

    title: str
    code: Sequence[str]
    tests: Sequence[str]
    not_covered: str


def promises() -> Iterator[Promise]:
    """Read the sections of the third level; one without its three lists has empty ones."""
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = re.split(r"^#+ ", section, flags=re.MULTILINE)[0].partition("\n")
        yield Promise(
            title=title,
            code=re.findall(r"^  - `(.+)`$", listed(text, "Code"), re.MULTILINE),
            tests=re.findall(r"^  - `(.+)`$", listed(text, "Tests"), re.MULTILINE),
            not_covered=listed(text, "Not covered").strip(),
        )


def listed(text: str, name: str) -> str:
    """Return what follows a name in bold, up to the next item of the list."""
    found = re.findall(rf"^- \*\*{name}:\*\*(.*?)(?=^- |^$|\Z)", text, re.DOTALL | re.MULTILINE)
    return found[0] if len(found) == 1 else ""


PROMISES = list(promises())
REFERENCES = sorted({name for promise in PROMISES for name in (*promise.code, *promise.tests)})


# --- names in files -----------------------------------------------------------------------------------------------


def exists(reference: str) -> bool:
    """Tell whether a file exists and defines the name that the reference gives, if any.

    Args:
        reference: `path`, `path::name`, `path::Class.name` or `path::Class::name`.
    """
    path, _, name = reference.partition("::")
    file = ROOT / path
    if not file.is_file() or not name:
        return file.is_file() and not name
    if file.suffix == ".sql":
        pattern = rf"^(?:-- name: |CREATE FUNCTION ){name}\b"
        return re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE) is not None
    return found(file, tuple(re.split(r"::|\.", name)))


def found(file: Path, names: Sequence[str]) -> bool:
    """Follow names through a module and its classes, their bases included."""
    node: Node = parsed(file)
    for position, name in enumerate(names):
        inner = definitions(node).get(name)
        if inner is None:
            return isinstance(node, ast.ClassDef) and any(
                found(base, (base_name, *names[position:])) for base, base_name in bases(file, node)
            )
        node = inner
    return True


def definitions(node: Node) -> Mapping[str, Node]:
    """Return the classes and functions that a module or a class defines."""
    return {
        each.name: each for each in node.body if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }


def bases(file: Path, node: ast.ClassDef) -> Iterator[tuple[Path, str]]:
    """Yield the file and the name of each base of ours."""
    imported = {
        alias.asname or alias.name: (module, alias.name)
        for each in ast.walk(parsed(file))
        if isinstance(each, ast.ImportFrom) and each.module and (module := module_file(each.module)) is not None
        for alias in each.names
    }
    for base in node.bases:
        if isinstance(base, ast.Name):
            yield imported.get(base.id, (file, base.id))


def module_file(name: str) -> Path | None:
    """Return the file of a module of ours, or None."""
    path = name.replace(".", "/")
    candidates = (source / each for source in SOURCES for each in (f"{path}.py", f"{path}/__init__.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def parsed(file: Path) -> ast.Module:
    """Parse a file, once."""
    return ast.parse(file.read_text(encoding="utf-8"))


# --- the page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.title)
def test_a_promise_names_code_and_tests_and_what_it_does_not_cover(promise: Promise) -> None:
    """In three lists: a promise without a test is a wish, and one without a limit is not true."""
    assert promise.code
    assert all(name.startswith("src/") for name in promise.code)
    assert promise.tests
    assert all(re.fullmatch(r"tests/\S+\.py::(\w+::)?test_\w+", name) for name in promise.tests)
    assert len(promise.not_covered.split()) > 3


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_a_promise_names_exists(reference: str) -> None:
    """Also a method that a test class gets from a contract suite."""
    assert exists(reference)


def test_every_chapter_of_promises_has_one() -> None:
    """Chapters of promises are numbered."""
    chapters = re.findall(r"^## (\d)\. .*?(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    with_promises = re.findall(r"^## (\d)\. [^\n]*\n(?:(?!^##? ).)*?^### ", PAGE, re.DOTALL | re.MULTILINE)
    assert len(chapters) >= 8
    assert chapters == with_promises == [str(number) for number in range(1, len(chapters) + 1)]


def test_other_paths_on_the_page_exist() -> None:
    """In its prose."""
    named = re.findall(r"`((?:src|tests|benchmarks)/[\w/.]+(?:::[\w:.]+)?)`", PAGE)
    assert [name for name in named if not exists(name)] == []


@pytest.mark.parametrize(
    "reference",
    [
        "tests/unit/test_nowhere.py::test_a",
        "tests/unit/test_guarantees.py::test_nothing",
        "tests/contract/test_inbox.py::TestPostgresEventInbox::test_nothing",
        "tests/contract/test_inbox.py::TestNothing::test_an_event_is_accepted_once",
        "src/adapters/billing_postgres/queries/write_state.sql::save",
        "src/billing_core/inbox/intake.py::Intake.nothing",
    ],
)
def test_a_name_that_is_gone_is_noticed(reference: str) -> None:
    """In each kind of file, and at each level."""
    assert not exists(reference)
