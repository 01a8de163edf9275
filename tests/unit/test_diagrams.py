"""The drawings are those of their text, and each is shown somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.diagrams import FOLDER, draw

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / FOLDER).glob("*.d2"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_drawing_is_that_of_its_text(source: Path) -> None:
    """When this fails, run `make docs`."""
    assert source.with_suffix(".svg").read_text(encoding="utf-8") == draw(source)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_drawing_has_the_colors_of_both_schemes(source: Path) -> None:
    """And it brings its font, so that texts fit their boxes everywhere."""
    drawing = draw(source)
    assert "@media screen and (prefers-color-scheme:dark)" in drawing
    assert "data:application/font-woff" in drawing


def test_every_drawing_is_shown() -> None:
    """One that no page shows would be kept up to date for no reader."""
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert SOURCES
    assert not [source for source in SOURCES if f"diagrams/{source.stem}.svg)" not in text]
