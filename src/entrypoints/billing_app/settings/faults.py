"""Faults of a configuration, in texts that an operator can act on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from billing_app.errors import OperatorError
from billing_app.troubleshooting import Trouble

DOCUMENTATION: Final = "docs/billing/configuration.md"
ENV_FILE: Final = Path(".env.local")
RULES_FILE: Final = Path("billing.toml")


@attrs.frozen
class SettingsFault:
    """One fault, its remedy and its row of the troubleshooting matrix. No text contains a secret."""

    variable: str
    problem: str
    remedy: str
    trouble: Trouble

    def __str__(self) -> str:
        return f"{self.variable} {self.problem}. {self.remedy} See {self.trouble}."


class SettingsError(OperatorError):
    """The configuration is unusable; `faults` holds every fault, not just the first."""

    def __init__(self, faults: Iterable[SettingsFault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} settings need" if len(self.faults) > 1 else "One setting needs"
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        super().__init__(
            f"{count} attention:\n{lines}\n"
            f"Change them in the environment, in {ENV_FILE} or in {RULES_FILE}; "
            f"{DOCUMENTATION} describes every setting."
        )
