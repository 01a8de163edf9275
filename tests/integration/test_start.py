"""`billing serve` and `billing worker` check everything before a port opens, and refuse with all faults at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.integration.processes import Ended, ended, running
from tests.postgres import connected
from tests.valkey import Valkey

from billing_app.container.installation import claim_database
from billing_app.secret import Secret
from billing_app.settings import StripeSettings
from billing_app.troubleshooting import (
    CatalogTrouble,
    KeyTrouble,
    ServerTrouble,
    SettingTrouble,
    Trouble,
    WebhookTrouble,
)
from billing_core.errors import ConfigurationError
from billing_postgres.installation import HeldAccount, find_account, inspect_server, keep_account
from billing_postgres.migrate import migrate
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

BROKEN_RULES = """\
[plans.pro]
trial_days = "seven"
prices = [{ id = "prod_1" }]
[plans.basic]
prices = [{ lookup_key = "pro" }, { lookup_key = "pro" }]
"""


OTHER_ACCOUNT = faults.Answer(status=200, body=b'{"id": "acct_other", "object": "account"}')


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as fake:
        yield fake


@pytest.fixture
def calling(environment: dict[str, str], fake: FakeStripe) -> dict[str, str]:
    """Settings of a deployment that calls the fake."""
    return environment | {"STRIPE_FETCH": "true", "STRIPE_API_BASE": fake.url, "STRIPE_SECRET_KEY": fake.secret_key}


def named(refused: Ended) -> set[str]:
    """Return the rows that the lines of a refusal name."""
    assert refused.status == 78, refused.errors
    lines = [line for line in refused.errors.splitlines() if line.startswith("  - ")]
    return {line.rpartition(" See ")[2].removesuffix(".") for line in lines}


def rows(*troubles: Trouble) -> set[str]:
    return {str(each) for each in troubles}


async def test_all_faults_are_reported_at_once(environment: dict[str, str], valkey: Valkey, tmp_path: Path) -> None:
    """In variables, in billing.toml with their lines, and in servers that answer. No line shows a secret."""
    rules = tmp_path / "billing.toml"
    rules.write_text(BROKEN_RULES, encoding="utf-8")
    await valkey.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    broken = environment | {
        "STRIPE_SECRET_KEY": "pk_live_51AbcdefghijklmnopqrstuvWXYZ",
        "STRIPE_WEBHOOK_SECRET": "whsec_hunter22hunter22,,",
        "BILLING_JWT_SECRET": "hunter22",
        "BILLING_JWT_OPERATOR_ROLES": "owner",
        "BILLING_PORT": "eighty",
        "BILLING_METRICS_TOKEN_FILE": "/nonexistent/token",
        "BILLING_CONFIG": str(rules),
        "BILLING_DB_POOL_SIZE": "900",
        "BILLING_PROT": "1",
        "REDIS_URL": valkey.url,
    }
    refused = await ended("serve", environment=broken)
    assert named(refused) == rows(
        KeyTrouble.KEY_IS_PUBLISHABLE,
        WebhookTrouble.WEBHOOK_SECRET_IS_BLANK,
        SettingTrouble.TOKEN_KEY_IS_WEAK,
        SettingTrouble.OPERATOR_ROLE_OF_TENANTS,
        SettingTrouble.SETTING_IS_INVALID,
        SettingTrouble.SECRET_FILE_IS_UNREADABLE,
        CatalogTrouble.TOML_VALUE_IS_INVALID,
        CatalogTrouble.PRICE_ID_IS_OF_ANOTHER_KIND,
        CatalogTrouble.PRICE_IS_LISTED_TWICE,
        ServerTrouble.POSTGRES_LACKS_CONNECTIONS,
        ServerTrouble.REDIS_EVICTS,
    )
    assert f"{rules}:2 plans.pro.trial_days" in refused.errors
    assert f"did you mean BILLING_PORT?. See {SettingTrouble.SETTING_IS_SUSPICIOUS}." in refused.errors
    assert "hunter22" not in refused.errors
    assert "Traceback" not in refused.errors


async def test_a_key_that_stripe_refuses_is_a_fault_and_no_answer_is_none(
    calling: dict[str, str], fake: FakeStripe
) -> None:
    """Offline must not stop a start: webhooks need no call."""
    refused = await ended("serve", environment=calling | {"STRIPE_SECRET_KEY": "sk_test_revoked"})
    assert named(refused) == rows(KeyTrouble.KEY_IS_REFUSED)
    fake.fail("/v1/account", faults.server_error())
    async with running("serve", environment=calling, ready=f"http://127.0.0.1:{calling['BILLING_PORT']}/readyz"):
        pass


async def test_a_key_of_another_account_is_refused(calling: dict[str, str], fake: FakeStripe) -> None:
    """Once the database holds data. A worker looks as a server does, and the two report alike."""
    await keep_account(calling["DATABASE_URL"], livemode=False, account_id=fake.account.account_id)
    await store_event(calling["DATABASE_URL"], livemode=False)
    fake.fail("/v1/account", OTHER_ACCOUNT)
    assert named(await ended("serve", environment=calling)) == rows(KeyTrouble.KEY_OF_ANOTHER_ACCOUNT)
    live = calling | {"STRIPE_SECRET_KEY": "sk_live_integration", "STRIPE_FETCH": "false"}
    assert named(await ended("worker", environment=live)) == rows(KeyTrouble.LIVE_KEY_BESIDE_TEST_EVENTS)


async def test_a_start_notes_the_account(calling: dict[str, str], fake: FakeStripe) -> None:
    """So that the next one can compare it."""
    ready = f"http://127.0.0.1:{calling['BILLING_PORT']}/readyz"
    async with running("serve", environment=calling, ready=ready):
        held = await find_account(calling["DATABASE_URL"])
    assert held == HeldAccount(livemode=False, account_id=fake.account.account_id, holds_data=False)


class TestHeldAccount:
    """The account that a database belongs to, without a process."""

    ours = StripeSettings(secret_key=Secret("sk_test_1"))

    async def test_the_key_decides_until_there_is_data(self, database_url: str) -> None:
        """A developer may try one sandbox after the other; what is known is kept while Stripe cannot be asked."""
        assert await find_account(database_url) is None
        for account_id, known in ((None, None), ("acct_1", "acct_1"), ("acct_2", "acct_2"), (None, "acct_2")):
            await claim_database(database_url, self.ours, account_id)
            held = HeldAccount(livemode=False, account_id=known, holds_data=False)
            assert await find_account(database_url) == held
        live = StripeSettings(secret_key=Secret("rk_live_1"))
        await claim_database(database_url, live, None)
        assert await find_account(database_url) == HeldAccount(livemode=True, account_id=None, holds_data=False)

    async def test_data_ties_the_database_to_it(self, database_url: str) -> None:
        """An account that was not known before is still noted."""
        await claim_database(database_url, self.ours, None)
        await store_event(database_url, livemode=False)
        await claim_database(database_url, self.ours, "acct_1")
        await claim_database(database_url, self.ours, None)
        with pytest.raises(ConfigurationError, match="holds data of acct_1"):
            await claim_database(database_url, self.ours, "acct_2")
        with pytest.raises(ConfigurationError, match="is a live key, and the database holds test events"):
            await claim_database(database_url, StripeSettings(secret_key=Secret("rk_live_1")), "acct_1")
        assert await find_account(database_url) == HeldAccount(livemode=False, account_id="acct_1", holds_data=True)

    async def test_a_database_of_before_holds_the_mode_of_its_events(self, database_url: str) -> None:
        """The migration notes it, so that the first start with another key is refused, too."""
        await store_event(database_url, livemode=True)
        async with connected(database_url) as connection:
            await connection.execute("UPDATE stripe_event_dispatch SET status = 'applied'")
            await connection.execute("DELETE FROM schema_migrations WHERE name LIKE '%know_the_account'")
            await connection.execute("DROP TABLE billing_provider_account")
        await migrate(database_url)
        assert await find_account(database_url) == HeldAccount(livemode=True, account_id=None, holds_data=True)

    async def test_the_server_is_described(self, database_url: str) -> None:
        """Of one that is reached without a pooler, on this machine."""
        server = await inspect_server(database_url)
        assert server.version >= 14
        assert 0 < server.connections < 10_000
        assert not server.through_pooler
        assert abs(server.ahead).total_seconds() < 30


async def store_event(database_url: str, *, livemode: bool) -> None:
    async with connected(database_url) as connection:
        await connection.execute(
            "INSERT INTO stripe_events (account, livemode, event_id, type, created_at, received_at, secret_slot)"
            " VALUES ('', $1, 'evt_1', 'invoice.paid', now(), now(), 0)",
            livemode,
        )
        await connection.execute("INSERT INTO stripe_event_dispatch (event) SELECT id FROM stripe_events")


async def test_without_billing_a_server_runs_and_says_how_to_switch_it_on(environment: dict[str, str]) -> None:
    """Its billing routes are unknown, and say why; health and metrics are there."""
    off = {name: value for name, value in environment.items() if not name.startswith("STRIPE_")}
    off |= {"ENABLE_BILLING": "false"}
    base = f"http://127.0.0.1:{off['BILLING_PORT']}"
    async with running("serve", environment=off, ready=f"{base}/readyz"), aiohttp.ClientSession() as session:
        for method, path in (
            ("POST", "/webhooks/stripe"),
            ("GET", "/api/v1/billing/plans"),
            ("GET", "/api/v1/billing/stream"),
            ("GET", "/api/v1/billing/tenants/acme/state"),
        ):
            async with session.request(method, f"{base}{path}") as response:
                assert (response.status, response.content_type) == (404, "application/problem+json")
                problem = json.loads(await response.read())
            assert problem["code"] == "billing_disabled"
            assert "ENABLE_BILLING" in problem["detail"]
    refused = await ended("worker", environment=off)
    assert (refused.status, "ENABLE_BILLING is false" in refused.errors) == (78, True)
