"""Named SQL. Python picks a statement by its name and passes arguments; lists of columns come from declarations."""

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from billing_postgres.columns import Columns, expand

_SECTION: Final = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)
_PART: Final = re.compile(r"(?<![:\w]):(\w+)\b(?!\.)")
_FOLDERS: Final = ("inbox", "oversight", "stream", "state", "operations")
"""Folders with declarations. Those that take longest to import come last."""


class _Declarations(dict[str, Columns[Any]]):
    """Declarations by the name that statements use, imported when a statement names one: commands need few of them."""

    def __missing__(self, name: str) -> Columns[Any]:
        for folder in _FOLDERS:
            self.update(import_module(f"billing_postgres.{folder}.rows").DECLARED)
            if name in self:
                return self[name]
        raise KeyError(name)


_DECLARED: Final = _Declarations()


def load(name: str) -> Mapping[str, str]:
    """Return the statements of `<name>.sql`, each by the `-- name:` that introduces it. Raises: as `parse`."""
    return parse(files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8"))


def parse(text: str) -> Mapping[str, str]:
    """Return the statements of a file's text, each by the `-- name:` that introduces it.

    What several of them share is introduced by `-- part:`, and stands where a statement has `:part`.

    Raises: ValueError if two of them have one name.
    """
    _, *sections = _SECTION.split(text)
    cut = list(zip(sections[::3], sections[1::3], sections[2::3], strict=True))
    titles = [title for _, title, _ in cut]
    if repeated := {title for title in titles if titles.count(title) > 1}:
        raise ValueError(f"two statements have one name: {', '.join(sorted(repeated))}")
    parts = {title: body.strip() for kind, title, body in cut if kind == "part"}
    statements = {title: body.strip() for kind, title, body in cut if kind == "name"}
    return MappingProxyType({title: expand(_whole(body, parts), _DECLARED) for title, body in statements.items()})


def _whole(statement: str, parts: Mapping[str, str]) -> str:
    return _PART.sub(lambda found: parts.get(found[1], found[0]), statement)
