"""Reading `billing.toml` for the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import attrs

from billing_app.settings.faults import SettingsFault
from billing_app.settings.rules.access import ACCESS
from billing_app.settings.rules.document import Document, Node
from billing_app.settings.rules.kinds import refuse_unknown
from billing_app.settings.rules.plans import PLANS
from billing_app.settings.rules.scope import SCOPE
from billing_app.settings.rules.table import Given
from billing_app.settings.rules.tenants import TENANTS
from billing_app.troubleshooting import CatalogTrouble


class _Reader(Protocol):
    def read_fields(self, node: Node) -> Mapping[str, Given]:
        """Return the fields that a table of the file sets, but for those with faults."""
        ...


_SECTIONS: Final[Mapping[str, tuple[str, _Reader]]] = MappingProxyType(
    {
        "tenants": ("tenants", TENANTS),
        "access": ("access", ACCESS),
        "plans": ("catalog", PLANS),
        "scope": ("scope", SCOPE),
    }
)
"""The tables of the file, each with the section of the settings whose fields it sets."""


@attrs.frozen(kw_only=True)
class Rules:
    """The contents of a file, and its faults."""

    path: Path | None = None
    """The file; None if there is none."""
    sections: Mapping[str, Mapping[str, Given]] = attrs.field(factory=dict)
    """The fields that the file sets, by section of the settings."""
    keys: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    """The keys that the file has in each table."""
    faults: Sequence[SettingsFault] = ()

    def __str__(self) -> str:
        """Say what the file sets: its name, and the keys of each table."""
        if self.path is None:
            return "there is none: the environment and the defaults apply"
        tables = "; ".join(f"[{name}] {', '.join(keys)}" for name, keys in self.keys.items())
        return f"{self.path}: {tables or 'nothing is set'}"


def read_rules(path: Path, *, required: bool) -> Rules:
    """Read a file. A missing one is empty, unless it is required."""
    document = Document(path)
    try:
        root = document.read()
    except FileNotFoundError:
        remedy = "Create it, or correct BILLING_CONFIG, for example BILLING_CONFIG=billing.toml."
        missing = SettingsFault(str(path), "does not exist", remedy, CatalogTrouble.TOML_IS_MISSING)
        return Rules(faults=(missing,) if required else ())
    if root is None:
        return Rules(path=path, faults=document.faults)
    refuse_unknown(root, _SECTIONS)
    given = {name: root.child(name) for name in _SECTIONS if name in root.value}
    sections = {_SECTIONS[name][0]: _SECTIONS[name][1].read_fields(node) for name, node in given.items()}
    keys = {name: tuple(node.value) for name, node in given.items() if isinstance(node.value, dict)}
    return Rules(path=path, sections=sections, keys=keys, faults=document.faults)
