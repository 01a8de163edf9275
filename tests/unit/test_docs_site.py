"""The documentation site: every page is in the navigation, every public name in the reference, and faults are found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from scripts.api_reference import FOLDER, pages
from scripts.docs_site import faults
from scripts.docstring_arguments import as_list

import billing_core

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def entries(listed: list[object]) -> Iterator[str]:
    """Yield the pages and folders of a navigation."""
    for each in listed:
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            (below,) = each.values()
            yield from entries(below if isinstance(below, list) else [below])


def test_every_page_is_in_the_navigation_once() -> None:
    """When this fails for a new page, add it to docs/.nav.yml."""
    navigation = yaml.safe_load((DOCS / ".nav.yml").read_text(encoding="utf-8"))["nav"]
    named = [page for entry in entries(navigation) for page in sorted((DOCS / entry).rglob("*.md")) or [DOCS / entry]]
    assert sorted(named) == sorted(DOCS.rglob("*.md"))


def test_links_stay_within_the_site() -> None:
    """The site has the pages and files below docs, and nothing else of the repository."""
    targets = [
        (page, target)
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"\]\(([^)#:\s]+)", page.read_text(encoding="utf-8"))
    ]
    assert targets
    assert [
        f"{page.relative_to(DOCS)}: {target}"
        for page, target in targets
        if not (page.parent / target).resolve().is_relative_to(DOCS)
    ] == []


def test_the_reference_is_generated() -> None:
    """When this fails, run `make docs`."""
    written = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / FOLDER).glob("*.md")}
    assert written == dict(pages())


def test_the_reference_has_every_public_name_of_the_domain() -> None:
    """Each on one page."""
    listed = [
        name for text in pages().values() for name in re.findall(r"^::: billing_core\.(\w+)$", text, re.MULTILINE)
    ]
    assert sorted(listed) == sorted({*billing_core.__all__} - {"__version__"})


@pytest.mark.parametrize(
    ("markup", "fault"),
    [
        ('<a href="none.html">x</a>', "none.html: does not exist"),
        ('<a href="../outside.html">x</a>', "../outside.html: does not exist"),
        ('<a href="folder/">x</a>', "folder/: does not exist"),
        ('<a href="#none">x</a>', "#none: has no such heading"),
        ('<a href="other.html#none">x</a>', "other.html#none: has no such heading"),
        ('<img src="none.png">', "none.png: does not exist"),
        ('<script src="https://example.com/a.js"></script>', "loads https://example.com/a.js from another host"),
        ('<link rel="stylesheet" href="//example.com/a.css">', "loads //example.com/a.css from another host"),
    ],
)
def test_a_fault_of_the_built_site_is_found(tmp_path: Path, markup: str, fault: str) -> None:
    """With the page and the target."""
    (tmp_path / "outside.html").touch()
    site = tmp_path / "site"
    (site / "folder").mkdir(parents=True)
    (site / "other.html").write_text('<h2 id="there">x</h2>', encoding="utf-8")
    good = '<h2 id="here">x</h2><a href="#here"></a><a href="other.html#there"></a><a href="https://example.com"></a>'
    (site / "index.html").write_text(good, encoding="utf-8")
    assert list(faults(site)) == []
    (site / "index.html").write_text(good + markup, encoding="utf-8")
    assert list(faults(site)) == [f"index.html: {fault}"]


def test_a_site_without_pages_is_a_fault(tmp_path: Path) -> None:
    """A check of nothing must not look like one that passed."""
    assert list(faults(tmp_path)) == [f"{tmp_path}: no pages"]


def test_arguments_in_a_docstring_become_a_list() -> None:
    """Also those whose text continues on another line, and the text after them stays."""
    shown = "Do it.\n\nArgs:\n    one: the first,\n        continued.\n    two: the second.\n\nRaises ValueError."
    listed = (
        "Do it.\n\nArguments:\n\n- `one`: the first,\n        continued.\n- `two`: the second.\n\nRaises ValueError."
    )
    assert as_list(shown) == listed
    assert as_list("Return the arguments.") == "Return the arguments."
