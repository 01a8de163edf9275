"""`billing stripe rotate` beside a server that receives webhooks: nothing is lost meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.integration.processes import Ended, ended, environment_of, running, subscription_event
from tests.terminal import terminal

from billing_app.setup.env_local import read_variables, write
from billing_app.troubleshooting import KeyTrouble, StripeCliTrouble
from billing_embedded.loopback import free_port
from billing_stripe.testing import sign
from billing_stripe.testing.fake_stripe import fake_stripe

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

OLD, NEW = "whsec_old" + "a" * 20, "whsec_new" + "b" * 20
OLD_KEY, NEW_KEY = "sk_test_old" + "a" * 20, "sk_test_new" + "b" * 20


def environment_with(database_url: str, redis_url: str, folder: Path, **secrets: str) -> dict[str, str]:
    """Return the settings of a deployment that keeps these secrets in `.env.local`."""
    write(folder / ".env.local", dict(secrets))
    given = environment_of(database_url, redis_url) | {"BILLING_METRICS_PORT": str(free_port())}
    return {name: value for name, value in given.items() if name not in secrets} | {"COLUMNS": "500"}


def metrics_of(environment: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{environment['BILLING_METRICS_PORT']}"


@asynccontextmanager
async def served(environment: Mapping[str, str], folder: Path) -> AsyncIterator[str]:
    """Run the server within the block, and yield its address."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with running("serve", environment=environment, ready=f"{base}/readyz", folder=folder):
        yield base


async def deliver(base: str, number: int, *secrets: str) -> int:
    """Send the n-th event, signed with these secrets as Stripe signs while one replaces another."""
    body = subscription_event(number)
    headers = [sign(body, secret, datetime.now(UTC)) for secret in secrets]
    signature = ",".join([headers[0], *(each.partition(",")[2] for each in headers[1:])])
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base}/webhooks/stripe", data=body, headers={"Stripe-Signature": signature}) as response,
    ):
        return response.status


async def test_a_signing_secret_is_replaced_in_one_run_and_nothing_is_refused(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """The operator types the new secret, restarts the server twice, and consents once it is proven."""
    environment = environment_with(database_url, redis_url, tmp_path, STRIPE_WEBHOOK_SECRET=OLD)
    statuses: list[int] = []
    command = ("stripe", "rotate", "webhook-secret", "--wait", "--quiet", "1s")
    async with AsyncExitStack() as stack:
        async with served(environment, tmp_path) as base:
            shown = await stack.enter_async_context(terminal(*command, environment=environment, folder=tmp_path))
            await shown.shows("New value for STRIPE_WEBHOOK_SECRET")
            statuses.append(await deliver(base, 1, OLD))
            shown.types(f"{NEW}\n")
            await shown.shows("+ STRIPE_WEBHOOK_SECRET=")
            assert read_variables(tmp_path / ".env.local")["STRIPE_WEBHOOK_SECRET"] == f"{OLD},{NEW}"
            statuses.append(await deliver(base, 2, OLD, NEW))
        async with served(environment, tmp_path) as base:
            statuses.append(await deliver(base, 3, OLD, NEW))
            await shown.shows("matched 1 webhooks")
            await asyncio.sleep(1.1)  # longer than --quiet
            statuses.append(await deliver(base, 4, NEW))
            await shown.shows("Remove whsec_…aaaa?")
            shown.types("y\n")
            await shown.shows("+ STRIPE_WEBHOOK_SECRET=")
            assert read_variables(tmp_path / ".env.local")["STRIPE_WEBHOOK_SECRET"] == NEW
        async with served(environment, tmp_path) as base:
            await shown.shows("Done.")
            assert await shown.ends() == 0
            statuses.append(await deliver(base, 5, NEW))
            assert await deliver(base, 6, OLD) == 400
    assert statuses == [202] * 5
    assert not any(secret in shown.screen for secret in (OLD, NEW))


async def test_a_script_rotates_step_by_step(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Each run takes the step that can be taken, and says in JSON what it waits for; no run shows a secret."""
    environment = environment_with(database_url, redis_url, tmp_path, STRIPE_WEBHOOK_SECRET=OLD)
    outputs: list[str] = []

    async def run(*options: str, given: str = "") -> dict[str, Any]:
        command = ("stripe", "rotate", "webhook-secret", "--json", "--quiet", "1s", "--yes", *options)
        done = await ended(*command, environment=environment, given=given, folder=tmp_path)
        assert done.status == 0, done.errors
        outputs.append(done.output + done.errors)
        answer: dict[str, Any] = json.loads(done.output)
        return answer

    async with served(environment, tmp_path):
        assert (await run("--status"))["step"] == "begin"
        added = await run(given=f"{NEW}\n")
        assert (added["step"], added["waiting_for"]) == ("restart", [metrics_of(environment)])
    async with served(environment, tmp_path) as base:
        assert (await run())["step"] == "await_new"
        assert await deliver(base, 1, OLD, NEW) == 202
        assert (await run())["step"] == "await_old"
        await asyncio.sleep(1.1)  # longer than --quiet
        assert await deliver(base, 2, NEW) == 202
        removed = await run()
        assert (removed["step"], len(removed["secrets"])) == ("restart", 1)
    async with served(environment, tmp_path):
        assert (await run("--status"))["step"] == "begin"
    assert not any(secret in output for secret in (OLD, NEW) for output in outputs)


async def test_an_api_key_is_replaced_once_stripe_knows_the_new_one(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A key that Stripe refuses is not written; a good one is, even if the old one is not valid any more."""
    async with fake_stripe(secret_key=OLD_KEY) as fake:
        environment = environment_with(
            database_url, redis_url, tmp_path, STRIPE_SECRET_KEY=OLD_KEY, STRIPE_API_BASE=fake.url
        )

        async def run(given: str = "") -> Ended:
            command = ("stripe", "rotate", "api-key", "--json")
            return await ended(*command, environment=environment, given=given, folder=tmp_path)

        async with served(environment, tmp_path):
            refused = await run(f"{NEW_KEY}\n")
            assert (refused.status, str(KeyTrouble.KEY_IS_REFUSED) in refused.errors) == (1, True)
            assert NEW_KEY not in refused.errors
            assert read_variables(tmp_path / ".env.local")["STRIPE_SECRET_KEY"] == OLD_KEY
            fake.secret_keys.add(NEW_KEY)
            fake.secret_keys.remove(OLD_KEY)  # as after a leak, when there is no time to overlap
            written = json.loads((await run(f"{NEW_KEY}\n")).output)
            assert (written["step"], written["waiting_for"]) == ("restart", [metrics_of(environment)])
        async with served(environment, tmp_path):
            assert read_variables(tmp_path / ".env.local")["STRIPE_SECRET_KEY"] == NEW_KEY
            live = await run("sk_live_" + "c" * 24 + "\n")
            assert (live.status, str(StripeCliTrouble.NEW_KEY_IS_OF_ANOTHER_ACCOUNT) in live.errors) == (2, True)
            assert read_variables(tmp_path / ".env.local")["STRIPE_SECRET_KEY"] == NEW_KEY


async def test_a_server_that_does_not_answer_is_named(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Nothing is said, or changed, about a server that cannot be asked."""
    environment = environment_with(database_url, redis_url, tmp_path, STRIPE_WEBHOOK_SECRET=OLD)
    done = await ended("stripe", "rotate", "webhook-secret", environment=environment, folder=tmp_path)
    assert (done.status, str(StripeCliTrouble.SERVER_IS_NOT_READABLE) in done.errors) == (1, True)
    assert read_variables(tmp_path / ".env.local")["STRIPE_WEBHOOK_SECRET"] == OLD
