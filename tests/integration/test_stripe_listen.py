"""`billing stripe listen` in a terminal, with Stripe's own program, against the fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from pathlib import Path

import aiohttp
import pytest
from tests.developer import command_lines_with, developer_environment
from tests.integration.deployment import eventually
from tests.integration.processes import environment_of, running, state_at
from tests.stripe_cli import create_subscription, home_with_login
from tests.terminal import INTERRUPT, terminal

from billing_app.setup.env_local import read_variables
from billing_app.troubleshooting import StripeCliTrouble
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe
from billing_stripe.testing.fake_stripe.resources.stripe_cli import send_thin
from billing_stripe.testing.thin import ThinEvent

KEY = "rk_test_fake0123456789abcdefWXYZ"
TOMORROW = date(2999, 1, 1)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe without objects."""
    async with fake_stripe(secret_key=KEY) as running_fake:
        yield running_fake


@pytest.fixture
def person(fake: FakeStripe, stripe_program: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a person who has Stripe's program and is not logged in."""
    return developer_environment(tmp_path, stripe_program, fake.url)


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_person_listens_and_the_server_applies_what_happens(
    fake: FakeStripe, person: dict[str, str], tmp_path: Path, database_url: str, redis_url: str
) -> None:
    """The missing secret is added after a question; snapshots and thin events arrive; Ctrl-C ends it cleanly."""
    home_with_login(tmp_path / "home", key=KEY, expires_on=TOMORROW)
    settings = environment_of(database_url, redis_url)
    del settings["STRIPE_WEBHOOK_SECRET"]
    port = {"BILLING_PORT": settings["BILLING_PORT"]}
    async with terminal("stripe", "listen", environment=person | port, folder=tmp_path) as shown:
        await shown.shows("Add it to .env.local?")
        shown.types("y\n")
        await shown.shows("Restart the server")
        secret = read_variables(tmp_path / ".env.local")["STRIPE_WEBHOOK_SECRET"]
        await shown.shows("Ready!")
        await shown.shows("Ready!")
        base = f"http://127.0.0.1:{settings['BILLING_PORT']}"
        async with (
            running("serve", environment=settings, ready=f"{base}/readyz", folder=tmp_path),
            aiohttp.ClientSession() as session,
        ):
            create_subscription(fake)
            send_thin(fake.account, thin_event())
            state = await state_at(session, base, 2)
            await eventually(lambda: len(fake.webhooks.attempts) >= 3)
        shown.types(INTERRUPT)
        await shown.shows("Stopped.")
        assert await shown.ends() == 0
    assert [each["subscription_id"] for each in state["subscriptions"]] == ["sub_1"]
    assert {(each.event_type, each.status) for each in fake.webhooks.attempts} == {
        ("customer.created", 202),
        ("customer.subscription.created", 202),
        ("v1.billing.meter.no_meter_found", 202),
    }
    assert secret not in shown.screen
    assert KEY not in shown.screen
    assert command_lines_with(KEY, secret) == []


def thin_event() -> ThinEvent:
    """Return a thin event of a type that is handled."""
    return ThinEvent(event_id="evt_test_1", type="v1.billing.meter.no_meter_found", created_at=datetime.now(UTC))


async def test_nothing_is_written_without_consent(person: dict[str, str], tmp_path: Path) -> None:
    """A person who declines finds the folder as it was."""
    home_with_login(tmp_path / "home", key=KEY, expires_on=TOMORROW)
    async with terminal("stripe", "listen", environment=person, folder=tmp_path) as shown:
        await shown.shows("Add it to .env.local?")
        shown.types("n\n")
        assert await shown.ends() == 1
    assert not (tmp_path / ".env.local").exists()


def log_in(home: Path) -> None:
    home_with_login(home, key=KEY, expires_on=TOMORROW)


def log_in_long_ago(home: Path) -> None:
    home_with_login(home, key=KEY, expires_on=date(2026, 1, 20))


def stay_logged_out(home: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "changes", "row", "status"),
    [
        (stay_logged_out, {}, StripeCliTrouble.CLI_IS_LOGGED_OUT, 1),
        (log_in_long_ago, {}, StripeCliTrouble.CLI_KEY_IS_EXPIRED, 1),
        (log_in, {"STRIPE_SECRET_KEY": "sk_live_" + "a" * 24}, StripeCliTrouble.CLI_NEEDS_A_TEST_KEY, 2),
        (log_in, {"STRIPE_WEBHOOK_SECRET": "whsec_" + "b" * 24}, StripeCliTrouble.SECRET_IS_NOT_IN_THE_FILE, 2),
        (log_in, {"STRIPE_CLI_PATH": "/nonexistent/stripe"}, StripeCliTrouble.CLI_IS_MISSING, 2),
        (log_in, {"STRIPE_CLI_PATH": "/bin/echo"}, StripeCliTrouble.CLI_IS_ANOTHER_PROGRAM, 2),
        (log_in, {"STRIPE_API_BASE": "http://127.0.0.1:9"}, StripeCliTrouble.CLI_FAILED, 1),
    ],
    ids=lambda value: value.anchor if isinstance(value, StripeCliTrouble) else "",
)
async def test_a_fault_names_its_row(
    before: Callable[[Path], None],
    changes: dict[str, str],
    row: StripeCliTrouble,
    status: int,
    person: dict[str, str],
    tmp_path: Path,
) -> None:
    """The command ends with a message that says what to do, and shows no secret."""
    before(tmp_path / "home")
    environment = person | changes
    async with terminal("stripe", "listen", "--yes", environment=environment, folder=tmp_path) as shown:
        assert await shown.ends() == status, shown.screen
    assert str(row) in shown.screen
    assert not any(secret in shown.screen for secret in (KEY, "a" * 24, "b" * 24))
