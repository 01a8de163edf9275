"""The example in the README does what its last comment says, and every link has a target."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_the_example_prints_what_it_promises() -> None:
    """A reader who runs it sees an event become a tenant's state."""
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    promised = re.search(r"asyncio\.run\(main\(\)\)  # (.+)", example)
    assert promised
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (promised[1], "")


def test_the_readme_points_somewhere() -> None:
    """So that the next test is not empty."""
    assert _links(README)


PAGES = [README, *README.parent.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(README.parent)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every linked page of ours exists, and has the linked heading."""
    for target, heading in _links(page):
        there = page.parent / target if target else page
        assert there.exists(), target
        if heading:
            assert heading in _anchors(there), f"{target}#{heading}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(README.parent)))
def test_addresses_with_a_query_are_quoted_in_commands(page: Path) -> None:
    """A shell takes `?` and `&` for its own: zsh refuses the first, and every shell ends a command at the second."""
    blocks = re.findall(
        r"^```(?:sh|bash|console)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    commands = [line for block in blocks for line in block.splitlines() if re.match(r"\s*(\$ )?(curl|billing)\b", line)]
    assert not [line for line in commands if re.search(r"""(?<!['"])\bhttps?://[^\s'"]*[?&]""", line)]


def _links(page: Path) -> list[tuple[str, str]]:
    """Return page and heading of each link within the repository; either may be empty."""
    return re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
