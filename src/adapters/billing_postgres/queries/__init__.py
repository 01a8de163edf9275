"""Named SQL. Python picks a statement by its name and passes arguments; lists of columns come from declarations."""

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from billing_postgres.columns import Columns, expand

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
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
    """Return the statements of `<name>.sql`, each by the `-- name:` that introduces it."""
    text = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, statements = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{name}.sql has two statements of one name")
    expanded = (expand(statement.strip(), _DECLARED) for statement in statements)
    return MappingProxyType(dict(zip(names, expanded, strict=True)))
