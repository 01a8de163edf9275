"""The README works as it is written, in terminals of different widths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.processes import WEBHOOK_SECRET
from tests.newcomer import README, commands_of, follow

from billing_embedded.loopback import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

SECRETS = {
    "ENABLE_BILLING": "true",
    "STRIPE_SECRET_KEY": "sk_test_newcomer",
    "STRIPE_FETCH": "false",  # there is no Stripe here
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "BILLING_JWT_SECRET": "newcomers-only-0123456789abcdef0123",
}


@pytest.fixture
def newcomer(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with the settings of .env.example, filled in, and an environment that holds none."""
    lines = (README.parent / ".env.example").read_text(encoding="utf-8").splitlines()
    settings = SECRETS | {"BILLING_PORT": str(free_port())}
    kept = [line for line in lines if line.split("=", 1)[0] not in settings]
    file = tmp_path / ".env.local"
    file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in settings.items()), ""]), encoding="utf-8")
    file.chmod(0o600)
    ours = ("BILLING_", "STRIPE_", "ENABLE_BILLING", "DATABASE_URL", "REDIS_URL")
    return tmp_path, {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.mark.parametrize("columns", [80, 140])
async def test_the_readme_runs_as_written(newcomer: tuple[Path, dict[str, str]], columns: int) -> None:
    """With the local servers that the first command starts and the others join; no command ends in a traceback."""
    folder, environment = newcomer
    shown = await follow("Run it", environment=environment, folder=folder, columns=columns)
    assert len(shown) == len(commands_of("Run it"))
    assert not [each for each in shown if "Traceback" in each]
    assert any("message 1 on the stream of billing-test" in each for each in shown)
    assert any("subscription.created" in each for each in shown)
