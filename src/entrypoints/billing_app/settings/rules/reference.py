"""The keys of billing.toml as tables of Markdown, for the reference of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from billing_app.settings.rules.access import ACCESS, RULE
from billing_app.settings.rules.plans import FEATURE, MATCH, PLAN, PRICE, SEATS
from billing_app.settings.rules.scope import SCOPE, SCOPE_RULE
from billing_app.settings.rules.table import Key, Table
from billing_app.settings.rules.tenants import TENANTS

_HEAD = "\n| Key | Default | Takes | Meaning |\n|---|---|---|---|\n"


TABLES: Final[Mapping[str, Table[Any]]] = MappingProxyType(
    {
        "[tenants]": TENANTS,
        "[access]": ACCESS,
        "[access.STATUS]": RULE,
        "[plans.CODE]": PLAN,
        "[plans.CODE.seats]": SEATS,
        "[[plans.CODE.prices]]": PRICE,
        "[plans.CODE.match]": MATCH,
        "[plans.CODE.features.KEY]": FEATURE,
        "[scope]": SCOPE,
        "[scope.ignore], [scope.only]": SCOPE_RULE,
    }
)
"""Every table of the file, by its header."""


def render_tables() -> str:
    """Return one section per table of the file."""
    return "".join(f"\n### `{header}`\n{_HEAD}{''.join(_rows(table))}" for header, table in TABLES.items())


def _rows(table: Table[Any]) -> Iterator[str]:
    for key in table.keys:
        cells = (f"`{key.name}`", _default(table, key), key.kind.expects, key.help)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _default(table: Table[Any], key: Key) -> str:
    if key.required:
        return "required"
    if key.default is not None:
        return key.default
    text = key.kind.show(table.default(key.into or key.name))
    return f"`{text}`" if text else "–"
