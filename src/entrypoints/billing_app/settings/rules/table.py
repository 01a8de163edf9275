"""Tables with declared keys: each key names the field that it sets, so that a new one is a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from billing_app.settings.rules.document import Node, key_text
from billing_app.settings.rules.kinds import Kind, NoDefault, refuse, refuse_unknown
from billing_app.troubleshooting import CatalogTrouble

T = TypeVar("T")


@attrs.frozen
class Key:
    """One key of a table, for the reader and the reference."""

    name: str
    kind: Kind[Any]
    help: str
    into: str = ""
    """The field that it sets, by default the one of its name; `states.active` sets one entry of a mapping."""
    required: bool = attrs.field(default=False, kw_only=True)
    default: str | None = attrs.field(default=None, kw_only=True)
    """The default in words or as TOML, where it is not that of the field."""


@attrs.frozen
class Given:
    """The value that a file gives a field, and its place there."""

    value: Any
    node: Node


@attrs.frozen
class Table(NoDefault, Generic[T]):
    """A table that is read to an object."""

    cls: type[T]
    keys: tuple[Key, ...]
    adjust: Callable[[Node, dict[str, Given]], None] = attrs.field(default=lambda _node, _fields: None, kw_only=True)
    """Checks the fields together, or changes them."""

    @property
    def expects(self) -> str:
        """A description of the accepted values."""
        return "a table"

    @property
    def example(self) -> str:
        """An accepted value, as TOML: its required keys, or the first one."""
        shown = [key for key in self.keys if key.required] or self.keys[:1]
        return f"{{ {', '.join(_example(key) for key in shown)} }}"

    def read(self, node: Node, **more: Any) -> T | None:
        """Return an object of the class, with more fields that are known otherwise. Values with faults are left out."""
        fields = self.read_fields(node)
        if not isinstance(node.value, dict):
            return None
        return self.cls(**{name: given.value for name, given in fields.items()}, **more)

    def read_fields(self, node: Node) -> Mapping[str, Given]:
        """Return the fields that the table sets, but for those with faults."""
        if not isinstance(node.value, dict):
            refuse(node, self)
            return {}
        fields: dict[str, Given] = {}
        for key, given in _read_keys(node, self.keys):
            name, _, entry = (key.into or key.name).partition(".")
            before = fields[name].value if name in fields else self.default(name)
            fields[name] = Given({**before, entry: given.value}, given.node) if entry else given
        self.adjust(node, fields)
        return fields

    def default(self, field: str) -> Any:
        """Return the value that a field has if no key sets it; None if there is none."""
        name, _, entry = field.partition(".")
        default: Any = attrs.fields_dict(self.cls)[name].default  # type: ignore[arg-type]
        value: Any = default.factory() if hasattr(default, "factory") else default
        if value is attrs.NOTHING:
            return None
        return value.get(entry) if entry else value


@attrs.frozen
class TablesOf(NoDefault, Generic[T]):
    """An array of tables."""

    table: Table[T]

    @property
    def expects(self) -> str:
        """A description of the accepted values."""
        return "an array of tables"

    @property
    def example(self) -> str:
        """An accepted value, as TOML."""
        return f"[{self.table.example}]"

    def read(self, node: Node) -> tuple[T, ...] | None:
        """Return the objects, but for those with faults."""
        if not isinstance(node.value, list):
            refuse(node, self)
            return None
        read = [self.table.read(each) for each in node.elements]
        return tuple(each for each in read if each is not None)


def _read_keys(node: Node, keys: tuple[Key, ...]) -> Iterator[tuple[Key, Given]]:
    refuse_unknown(node, [key.name for key in keys])
    for key in keys:
        child = node.child(key.name)
        if key.name not in node.value:
            if key.required:
                child.refuse("is missing", f"Add it, for example {_example(key)}.", CatalogTrouble.TOML_KEY_IS_MISSING)
        elif (value := key.kind.read(child)) is not None:
            yield key, Given(value, child)


def _example(key: Key) -> str:
    return f"{key_text(key.name)} = {key.kind.example}"
