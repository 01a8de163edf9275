"""Named SQL. Python picks a statement by its name and passes arguments; lists of columns come from declarations."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from billing_postgres.columns import Columns, expand
from billing_postgres.inbox import rows as inbox
from billing_postgres.operations import rows as operations
from billing_postgres.oversight import rows as oversight
from billing_postgres.state import rows as state
from billing_postgres.stream import rows as stream

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_DECLARED: Final[Mapping[str, Columns[Any]]] = {
    **inbox.DECLARED,
    **state.DECLARED,
    **stream.DECLARED,
    **operations.DECLARED,
    **oversight.DECLARED,
}


def load(name: str) -> Mapping[str, str]:
    """Return the statements of `<name>.sql`, each by the `-- name:` that introduces it."""
    text = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, statements = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{name}.sql has two statements of one name")
    expanded = (expand(statement.strip(), _DECLARED) for statement in statements)
    return MappingProxyType(dict(zip(names, expanded, strict=True)))
