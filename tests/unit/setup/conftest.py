"""An empty directory for set-up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.setup.directory import KEY, Directory

from billing_stripe.testing.fake_stripe import fake_stripe


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Directory]:
    """An empty directory on a machine without the Stripe CLI, and a fake Stripe whose key is in the environment."""
    async with fake_stripe(secret_key=KEY) as fake:
        yield Directory(
            tmp_path,
            fake,
            environ={
                "STRIPE_API_BASE": fake.url,
                "STRIPE_SECRET_KEY": KEY,
                "STRIPE_CLI_PATH": str(tmp_path / "no-such-program"),
                "BILLING_DATA_DIR": str(tmp_path / ".billing"),
            },
        )
