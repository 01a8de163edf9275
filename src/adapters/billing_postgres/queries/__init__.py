"""Named SQL. Python never builds SQL text; it picks a statement by name and passes arguments."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(name: str) -> Mapping[str, str]:
    """The statements of `<name>.sql`, each under the `-- name:` that introduces it."""
    text = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, statements = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{name}.sql has two statements of one name")
    return MappingProxyType(dict(zip(names, (statement.strip() for statement in statements), strict=True)))
