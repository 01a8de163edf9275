"""The program `billing`, as far as it runs without any extra: what is missing is named, with the way to install it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

EXTRAS: Final[Mapping[str, str]] = {
    "aiohttp": "server",
    "asyncpg": "postgres",
    "click": "cli",
    "dependency_injector": "server",
    "dotenv": "cli",
    "jwt": "server",
    "prometheus_client": "server",
    "redis": "redis",
    "rich": "cli",
    "stamina": "stripe",
    "standardwebhooks": "server",
    "stripe": "stripe",
    "structlog": "server",
}
"""The extra of `billing-core` that brings a package, by the name under which it is imported."""


def main() -> None:
    """Run the command line. A package that is not installed ends it with status 2 and the extra to add."""
    try:
        from billing_app.cli import main as run  # noqa: PLC0415 - it needs an extra

        run()
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        sys.stderr.write(
            f"billing: this needs the package {package}, which is not installed. "
            f"Run: pip install 'billing-core[{extra}]'\n"
        )
        sys.exit(2)
