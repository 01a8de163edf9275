"""The documentation site: builds it into site/, and checks what its builder does not: `make docs-site`.

The builder refuses links to pages and headings that do not exist. It does not check images, folders, files and links in
HTML, nor that pages load nothing from other hosts.
"""

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

SITE: Final = Path("site")
_LOADS: Final = frozenset({("img", "src"), ("script", "src"), ("source", "srcset"), ("link", "href")})
_FETCHED: Final = frozenset({"stylesheet", "icon", "preload", "modulepreload", "manifest"})
"""Values of `rel` that make a browser load what a `link` names."""


@attrs.define
class Page(HTMLParser):
    """The anchors of an HTML page, and the links and resources that it names."""

    path: Path
    anchors: set[str] = attrs.field(factory=set)
    links: list[str] = attrs.field(factory=list)
    resources: list[str] = attrs.field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Parse a file."""
        page = cls(path)
        page.feed(path.read_text(encoding="utf-8"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note anchors, links and resources of an element."""
        values = {name: value for name, value in attrs if value}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        for name, value in values.items():
            if (tag, name) in _LOADS and (tag != "link" or values.get("rel") in _FETCHED):
                self.resources.append(value)
            elif name == "href" and tag == "a":
                self.links.append(value)


def faults(site: Path) -> Iterator[str]:
    """Yield a line for every target that does not exist, and for every resource of another host."""
    pages = {path.resolve(): Page.read(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site}: no pages"
    for page in pages.values():
        where = page.path.relative_to(site)
        for target in page.resources:
            if urlsplit(target).netloc:
                yield f"{where}: loads {target} from another host"
        for target in [*page.links, *page.resources]:
            if fault := _fault(page, target, pages, site.resolve()):
                yield f"{where}: {target}: {fault}"


def _fault(page: Page, target: str, pages: dict[Path, Page], root: Path) -> str | None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    there = page.path.resolve()
    if parts.path.startswith("/"):
        there = root / unquote(parts.path).lstrip("/")
    elif parts.path:
        there = (there.parent / unquote(parts.path)).resolve()
    if there.is_dir():
        there /= "index.html"
    if not there.is_relative_to(root) or not there.exists():
        return "does not exist"
    anchor = unquote(parts.fragment)
    if anchor and there in pages and anchor not in pages[there].anchors and not anchor.startswith("__"):
        return "has no such heading"
    return None


def main() -> None:
    """Build and check; exit with 1 and a line for every fault if there is one."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - a fixed command
        sys.exit("The site was not built: see above.")
    found = list(faults(SITE))
    if found:
        sys.exit("\n".join([*found, f"Faults in {SITE}/: {len(found)}"]))
    print(f"{SITE}/: {len(list(SITE.rglob('*.html')))} pages; every link, anchor and image exists")


if __name__ == "__main__":
    main()
