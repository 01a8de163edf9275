"""The helper around Stripe's command line, with Stripe's program as npm distributes it, against the fake."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from tests.stripe_cli import home_with_login

from billing_app.secret import Secret
from billing_app.setup.stripe_cli import (
    StripeCli,
    StripeCliKeyExpiredError,
    StripeCliLoggedOutError,
)
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

KEY = "rk_test_fake0123456789"
EXPIRED = faults.Answer(status=401, body=b'{"error": {"code": "api_key_expired", "type": "invalid_request_error"}}')


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe without objects."""
    async with fake_stripe(secret_key=KEY) as running_fake:
        yield running_fake


def cli_of(program: Path, home: Path, api_base: str) -> StripeCli:
    """Return the helper with a home of its own, so that the tester's log-in is not used."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STRIPE_")}
    home.mkdir(exist_ok=True)
    environ = inherited | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "HTTPS_PROXY": "http://127.0.0.1:9"}
    return StripeCli(program, api_base, environ)


async def test_without_a_log_in(stripe_program: Path, fake: FakeStripe, tmp_path: Path) -> None:
    """It has no session and no key, and what needs one says how to log in."""
    cli = cli_of(stripe_program, tmp_path / "home", fake.url)
    assert (await cli.whoami(), await cli.session_key()) == (None, None)
    with pytest.raises(StripeCliLoggedOutError, match="stripe login"):
        await cli.webhook_secret()
    with pytest.raises(StripeCliLoggedOutError, match="stripe login"):
        await cli.trigger("customer.created")


async def test_with_a_log_in(stripe_program: Path, fake: FakeStripe, tmp_path: Path) -> None:
    """It knows the account, the key and its last day; its key makes events and gives the signing secret."""
    home = home_with_login(tmp_path / "home", key=KEY, expires_on=date(2027, 1, 20))
    cli = cli_of(stripe_program, home, fake.url)
    session = await cli.whoami()
    assert session is not None
    assert (session.account_id, session.test_key_expires_on) == ("acct_1FakeStripe", date(2027, 1, 20))
    assert await cli.session_key() == Secret(KEY)
    assert (await cli.webhook_secret()).reveal().startswith("whsec_")
    await cli.trigger("customer.created", overrides=["customer:metadata.tenant_id=acme"])
    (created,) = [entry for entry in fake.account.journal.entries if entry.type == "customer.created"]
    assert created.render(fake.account.api_version)["data"]["object"]["metadata"] == {"tenant_id": "acme"}


async def test_a_key_is_used_in_place_of_a_log_in(stripe_program: Path, fake: FakeStripe, tmp_path: Path) -> None:
    """The key of the settings makes the signing secret of their account."""
    cli = cli_of(stripe_program, tmp_path / "home", fake.url)
    assert (await cli.webhook_secret(Secret(KEY))).reveal().startswith("whsec_")


async def test_an_expired_key(stripe_program: Path, fake: FakeStripe, tmp_path: Path) -> None:
    """The session names its last day, and a call that Stripe refuses for it says to log in again."""
    home = home_with_login(tmp_path / "home", key=KEY, expires_on=date(2026, 1, 20))
    cli = cli_of(stripe_program, home, fake.url)
    session = await cli.whoami()
    assert session is not None
    with pytest.raises(StripeCliKeyExpiredError, match="2026-01-20"):
        session.require_usable(date(2026, 1, 20))
    fake.fail("/v1/stripecli/sessions", EXPIRED, times=9)
    with pytest.raises(StripeCliKeyExpiredError, match="stripe login"):
        await cli.webhook_secret()
