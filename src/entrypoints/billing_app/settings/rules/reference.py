"""The keys of billing.toml as tables of Markdown, for the reference of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from billing_app.settings.rules.loading import TABLES
from billing_app.settings.rules.table import Group, Key, Table

_HEAD = "\n| Key | Default | Takes | Meaning |\n|---|---|---|---|\n"


def render_tables() -> str:
    """Return one section per table of the file."""
    return "".join(f"\n### `[{name}]`\n{_HEAD}{''.join(_rows(table))}" for name, table in TABLES.items())


def _rows(table: Table[Any]) -> Iterator[str]:
    for name, key in _flat(table.keys):
        cells = (f"`{name}`", _default(table, key), key.kind.expects, key.help)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _flat(keys: Sequence[Key], prefix: str = "") -> Iterator[tuple[str, Key]]:
    for key in keys:
        if isinstance(key.kind, Group):
            yield from _flat(key.kind.keys, f"{prefix}{key.name}.")
        else:
            yield f"{prefix}{key.name}", key


def _default(table: Table[Any], key: Key) -> str:
    if key.required:
        return "required"
    text = key.kind.show(table.default(key.into or key.name)) if key.default is None else key.default
    return f"`{text}`" if text else "–"
