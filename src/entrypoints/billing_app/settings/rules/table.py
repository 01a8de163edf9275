"""Tables with declared keys: each key names the field that it sets, so that a new one is a line."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from billing_app.settings.rules.document import Node, key_text
from billing_app.settings.rules.kinds import Kind, refuse

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
class Group:
    """A table whose keys set fields of the table around it. A single value stands for its first key."""

    keys: tuple[Key, ...]

    @property
    def expects(self) -> str:
        """A description of the accepted values."""
        return f"{self.keys[0].kind.expects}, or a table of {', '.join(key.name for key in self.keys)}"

    @property
    def example(self) -> str:
        """An accepted value, as TOML."""
        return self.keys[0].kind.example

    def read(self, node: Node) -> tuple[tuple[Key, Given], ...] | None:
        """Return the keys that are given."""
        if isinstance(node.value, dict):
            return tuple(_read_keys(node, self.keys))
        first = self.keys[0]
        if not isinstance(node.value, bool | int | float | str):
            refuse(node, self)
            return None
        value = first.kind.read(node)
        return None if value is None else ((first, Given(value, node)),)

    def show(self, value: Any) -> str:
        """Write nothing: each key has its own default."""
        return ""


@attrs.frozen
class Table(Generic[T]):
    """A table that is read to an object."""

    cls: type[T]
    keys: tuple[Key, ...]

    @property
    def expects(self) -> str:
        """A description of the accepted values."""
        return "a table"

    @property
    def example(self) -> str:
        """An accepted value, as TOML: its required keys, or the first one."""
        shown = [key for key in self.keys if key.required] or self.keys[:1]
        return f"{{ {', '.join(_example(key) for key in shown)} }}"

    def read(self, node: Node) -> T | None:
        """Return an object of the class."""
        before = len(node.document.faults)
        fields = self.read_fields(node)
        if len(node.document.faults) > before:
            return None
        return self.cls(**{name: given.value for name, given in fields.items()})

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
        return fields

    def default(self, field: str) -> Any:
        """Return the value that a field has if no key sets it; None if there is none."""
        name, _, entry = field.partition(".")
        default: Any = attrs.fields_dict(self.cls)[name].default  # type: ignore[arg-type]
        value: Any = default.factory() if hasattr(default, "factory") else default
        if value is attrs.NOTHING:
            return None
        return value.get(entry) if entry else value

    def show(self, value: Any) -> str:
        """Write nothing: defaults of whole tables are described by their keys."""
        return ""


def _read_keys(node: Node, keys: tuple[Key, ...]) -> Iterator[tuple[Key, Given]]:
    refuse_unknown(node, [key.name for key in keys])
    for key in keys:
        child = node.child(key.name)
        if key.name not in node.value:
            if key.required:
                child.refuse("is missing", f"Add it, for example {_example(key)}.")
        elif (value := key.kind.read(child)) is not None:
            if isinstance(key.kind, Group):
                yield from value
            else:
                yield key, Given(value, child)


def refuse_unknown(node: Node, known: Collection[str]) -> None:
    """Report the keys of a table that are not among the known ones."""
    for name in node.value:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean {close[0]}?" if close else "Remove it."
            node.child(name).refuse("is not a known key", f"{remedy} The keys here are {', '.join(known)}.")


def _example(key: Key) -> str:
    return f"{key_text(key.name)} = {key.kind.example}"
