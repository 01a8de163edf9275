"""Reading `billing.toml` for the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from billing_app.settings.faults import SettingsFault
from billing_app.settings.rules.access import ACCESS
from billing_app.settings.rules.document import Document
from billing_app.settings.rules.table import Given, Table, refuse_unknown
from billing_app.settings.rules.tenants import TENANTS

TABLES: Final[Mapping[str, Table[Any]]] = MappingProxyType({"tenants": TENANTS, "access": ACCESS})
"""The tables of the file, each read to the section of the settings that has its name."""


@attrs.frozen(kw_only=True)
class Rules:
    """The contents of a file, and its faults."""

    path: Path | None = None
    """The file; None if there is none."""
    sections: Mapping[str, Mapping[str, Given]] = MappingProxyType({})
    """The fields that the file sets, by section of the settings."""
    keys: Mapping[str, Sequence[str]] = MappingProxyType({})
    """The keys that the file has in each table."""
    faults: Sequence[SettingsFault] = ()

    def __str__(self) -> str:
        """Say what the file sets: its name, and the keys of each table."""
        if self.path is None:
            return "there is none, so access and tenants have their defaults"
        tables = "; ".join(f"[{name}] {', '.join(keys)}" for name, keys in self.keys.items())
        return f"{self.path}: {tables or 'nothing is set'}"


def read_rules(path: Path, *, required: bool) -> Rules:
    """Read a file. A missing one is empty, unless it is required."""
    document = Document(path)
    try:
        root = document.read()
    except FileNotFoundError:
        missing = SettingsFault(str(path), "does not exist", "Create it, or correct BILLING_CONFIG.")
        return Rules(faults=(missing,) if required else ())
    if root is None:
        return Rules(path=path, faults=document.faults)
    refuse_unknown(root, TABLES)
    given = {name: root.child(name) for name in TABLES if name in root.value}
    return Rules(
        path=path,
        sections={name: TABLES[name].read_fields(node) for name, node in given.items()},
        keys={name: tuple(node.value) for name, node in given.items() if isinstance(node.value, dict)},
        faults=document.faults,
    )
