"""The drawings and tables of docs/architecture.md and docs/ports.md, compared with the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import grimp
import pytest

import billing_core

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "src", ROOT / "src" / "adapters", ROOT / "src" / "entrypoints"]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PORTS = (ROOT / "docs" / "ports.md").read_text(encoding="utf-8")

PACKAGES = sorted(path.parent.name for source in SOURCES for path in source.glob("billing_*/__init__.py"))
UNDRAWN = frozenset({"errors", "events", "converters", "periodic", "cooperate", "frozen", "tracing", "waiting"})
"""Modules that every folder of the domain may use."""
ROOMS = sorted(path.parent.name for path in Path(inspect.getfile(billing_core)).parent.glob("*/ports.py"))

Edges = set[tuple[str, str]]


# --- docs/architecture.md -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def drawn(name: str) -> Edges:
    """Return the arrows of a drawing of that page."""
    assert f"(diagrams/{name}.svg)" in ARCHITECTURE
    text = (ROOT / "docs" / "diagrams" / f"{name}.d2").read_text(encoding="utf-8")
    return set(re.findall(r"^(\w+) -> (\w+)$", text, re.MULTILINE))


def real(graph: grimp.ImportGraph, depth: int) -> Edges:
    """Return who imports whom, as paths cut to so many names."""

    def cut(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    pairs = (
        (cut(importer), cut(imported))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    )
    return {(importer, imported) for importer, imported in pairs if importer != imported}


def test_the_drawing_of_packages_shows_the_imports(imports: grimp.ImportGraph) -> None:
    """No arrow is missing, and none is left from earlier."""
    assert drawn("packages") == real(imports, 1)


def test_the_drawing_of_folders_shows_the_imports(imports: grimp.ImportGraph) -> None:
    """Within the domain, without the small modules that all may use."""
    prefix = "billing_core."
    edges = {
        (importer.removeprefix(prefix), imported.removeprefix(prefix))
        for importer, imported in real(imports, 2)
        if importer.startswith(prefix) and imported.startswith(prefix)
    }
    assert drawn("folders") == {edge for edge in edges if not UNDRAWN & {*edge}}


def test_the_tables_list_every_package_and_folder() -> None:
    """With a line about its contents."""
    listed = set(re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE))
    assert listed == {*PACKAGES, *{name for edge in drawn("folders") for name in edge}}


def test_every_file_that_is_named_exists() -> None:
    """This covers every page that points to a file of the source."""
    named = set(re.findall(r"`(\w+(?:/\w+)+\.py)`", ARCHITECTURE))
    assert named
    assert not [path for path in named if not any((source / path).exists() for source in [*SOURCES, ROOT])]


def test_the_way_of_a_webhook_counts_its_files() -> None:
    """The numbers in the text are those of the table, which names no file twice."""
    (text,) = re.findall(r"^## The way of a webhook$(.*?)^## ", ARCHITECTURE, re.DOTALL | re.MULTILINE)
    table = "".join(re.findall(r"^\|.*\n", text, re.MULTILINE))
    files = re.findall(r"`(\S+\.py)`", table)
    assert len(set(files)) == len(files)
    (to_the_answer, to_the_client) = map(int, re.findall(r"(\d+) (?:files )?to the", text))
    before, _, _ = table.partition("Answer `202`")
    assert (len(re.findall(r"`\S+\.py`", before)), len(files)) == (to_the_answer, to_the_client)


# --- docs/ports.md ------------------------------------------------------------------------------------------------


def rows() -> Iterator[tuple[str, str, Sequence[str], Sequence[str], Sequence[str]]]:
    """Yield the rows of the table: folder, port, and the names in its other columns."""
    for room, table in re.findall(r"^### (\w+):[^\n]*\n(.*?)(?=^#|\Z)", PORTS, re.DOTALL | re.MULTILINE):
        for cells in re.findall(r"^\| (`.*) \|$", table, re.MULTILINE):
            port, *columns = [re.findall(r"`([\w.]+)`", cell) for cell in cells.split(" | ")]
            yield (room, port[0], *columns)


ROWS = list(rows())
by_port = pytest.mark.parametrize(
    ("room", "port", "callers", "suites", "adapters"), ROWS, ids=[port for _, port, *_ in ROWS]
)


def methods(room: str, port: str) -> set[str]:
    """Return the names of a port's methods, inherited ones too."""
    protocol = getattr(importlib.import_module(f"billing_core.{room}.ports"), port)
    return {name for name in dir(protocol) if not name.startswith("_")}


@cache
def classes(package: str) -> Mapping[str, str]:
    """Return the module of every public class below a package."""
    return {
        node.name: ".".join(path.relative_to(source).with_suffix("").parts)
        for source in SOURCES
        for path in (source / Path(*package.split("."))).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }


def test_the_table_lists_every_port() -> None:
    """In the section of its folder."""
    protocols = {
        (room, name)
        for room in ROOMS
        for module in [importlib.import_module(f"billing_core.{room}.ports")]
        for name, member in vars(module).items()
        if getattr(member, "_is_protocol", False) and member.__module__ == module.__name__
    }
    assert {(room, port) for room, port, *_ in ROWS} == protocols


def test_the_table_names_every_suite() -> None:
    """A suite that is not named would be bound by no one."""
    suites = {name for name in classes("billing_core.testing") if name.endswith("Contract")}
    assert {suite for _, _, _, suites, _ in ROWS for suite in suites} == suites


@by_port
def test_callers_call_the_port(
    room: str, port: str, callers: Sequence[str], suites: Sequence[str], adapters: Sequence[str]
) -> None:
    """Each module named as a caller calls one of the port's methods."""
    called = re.compile(rf"\.({'|'.join(methods(room, port))})\(")
    assert callers
    for caller in callers:
        assert called.search(inspect.getsource(importlib.import_module(caller))), caller


@by_port
def test_suites_stand_where_the_page_says(
    room: str, port: str, callers: Sequence[str], suites: Sequence[str], adapters: Sequence[str]
) -> None:
    """The port's own suite is in the module of its name; a port without one is covered by a suite that exists."""
    known = classes("billing_core.testing")
    assert suites
    assert set(suites) <= known.keys()
    own = f"{port}Contract"
    module = re.sub(r"(?<!^)(?=[A-Z])", "_", port).lower()
    assert known.get(own) in (None, f"billing_core.testing.{room}.{module}")
    assert own not in known or own in suites


@by_port
def test_adapters_have_the_ports_methods(
    room: str, port: str, callers: Sequence[str], suites: Sequence[str], adapters: Sequence[str]
) -> None:
    """Each class named as an adapter exists, outside the domain."""
    known = {
        name: module for package in PACKAGES if package != "billing_core" for name, module in classes(package).items()
    }
    assert adapters
    for adapter in adapters:
        members = dir(getattr(importlib.import_module(known[adapter]), adapter))
        assert not methods(room, port) - set(members), adapter


# --- decisions --------------------------------------------------------------------------------------------------------


def test_decisions_are_numbered_without_a_hole() -> None:
    """In the names of their files and in their titles, so that a number names one decision."""
    files = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    titles = [path.read_text(encoding="utf-8").partition("\n")[0] for path in files]
    assert [int(path.name.partition("-")[0]) for path in files] == list(range(1, len(files) + 1))
    assert [int(title.removeprefix("# ").partition(".")[0]) for title in titles] == list(range(1, len(files) + 1))
