"""Commands that only use the database do not pay for what serves, streams and asks Stripe."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence

import pytest
from tests.patience import PATIENCE

pytestmark = pytest.mark.postgres

_NOT_NEEDED = (
    "aiohttp",
    "dependency_injector",
    "jwt",
    "prometheus_client",
    "redis",
    "stamina",
    "stripe",
    "structlog",
    "billing_memory",
    "billing_redis",
    "billing_telemetry",
)
"""Packages for serving, streaming and asking Stripe. Importing them takes a second of processor time."""

_COMMANDS = {
    "events list": 3,
    "events show evt_1": 3,
    "events replays": 3,
    "events prune --dry-run": 0,
    "events ignore --id evt_1 --why test": 3,
    "explain acme": 3,
    "tenants list": 0,
    "tenants decisions": 0,
    "tenants link cus_1 acme --force --yes": 0,
    "entitlements acme": 0,
    "grants list": 0,
    "plans unmapped": 0,
    "plans refresh --dry-run": 0,
    "gateway pending": 0,
    "subscriptions list globex": 3,
    "token revoked": 0,
    "epoch": 0,
    "migrate --check": 0,
}
"""Commands on an empty database, with their exit status."""

_TELL = f"""
import json, sys
from billing_app.cli import main
try:
    main()
finally:
    print(json.dumps([name for name in {_NOT_NEEDED!r} if name in sys.modules]), file=sys.stderr)
"""


async def loaded_by(database_url: str, arguments: Sequence[str]) -> tuple[int, list[str]]:
    """Run a command and return its status and the modules that it had no need of."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "STRIPE_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _TELL, *arguments),
        env={**inherited, "DATABASE_URL": database_url, "ENABLE_BILLING": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(errors.decode().splitlines()[-1])


async def test_a_command_imports_what_it_opens(database_url: str) -> None:
    """A command that uses the database alone loads neither a web framework nor Redis, metrics or the Stripe SDK."""
    seen = {command: await loaded_by(database_url, command.split()) for command in _COMMANDS}
    assert seen == {command: (status, []) for command, status in _COMMANDS.items()}
