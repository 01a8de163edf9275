"""`billing stripe setup` as a command, up to an event that is applied in a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.postgres import connected

from billing_app import cli
from billing_app.setup.errors import SetupError
from billing_app.troubleshooting import SetupTrouble
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe

pytestmark = [pytest.mark.postgres, pytest.mark.stripe]

KEY = "sk_test_51AbcdefghijklmnopqrstuvWXYZ"
URL = "http://billing.example.com"
Setup = Callable[..., Awaitable[Result]]


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with fake_stripe(secret_key=KEY) as fake:
        yield fake


@pytest.fixture
def setup(
    stripe: FakeStripe, database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Setup:
    """Return the command, which runs in a thread because it runs an event loop of its own."""
    monkeypatch.chdir(tmp_path)
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STRIPE_API_BASE": stripe.url,
        "STRIPE_CLI_PATH": str(tmp_path / "none"),
        "BILLING_PORT": "0",
    }

    async def run(*arguments: str, key: str | None = None, **more: str) -> Result:
        command = ["stripe", "setup", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, cli.cli, command, env={**environ, **more}, input=key)

    return run


async def test_an_event_of_stripe_is_applied_at_the_end(setup: Setup, database_url: str, tmp_path: Path) -> None:
    """Two commands of a person: this one, and `billing serve`."""
    done = await setup("--webhook-url", URL, "--key-stdin", "--yes", "--json", key=f"{KEY}\n")
    assert done.exit_code == 0, (done.output, done.exception)
    report = json.loads(done.stdout)
    assert (report["done"], report["event"]["outcome"]) == (True, "applied")
    assert KEY not in done.output
    async with connected(database_url) as connection:
        rows = await connection.fetch(
            "SELECT e.event_id, d.status FROM stripe_events e JOIN stripe_event_dispatch d ON d.event = e.id"
        )
    assert [(row["event_id"], row["status"]) for row in rows] == [(report["event"]["event_id"], "applied")]
    assert (tmp_path / "billing.toml").exists()

    again = await setup("--yes")
    assert again.exit_code == 0, (again.output, again.exception)
    assert "Everything is set up already. Nothing changes." in again.stdout
    assert "was signed, received and applied" in again.stdout


async def test_the_exit_status_of_a_check_says_whether_the_account_differs(setup: Setup, stripe: FakeStripe) -> None:
    """1 before set-up and after drift, with the row about it; 0 between."""
    recorded = {"STRIPE_SECRET_KEY": KEY}
    before = await setup("--check", **recorded)
    assert before.exit_code == 1
    assert str(SetupTrouble.CATALOG_HAS_DRIFTED) in before.stderr
    assert (await setup("--yes", **recorded)).exit_code == 1  # done, but for a way for webhooks
    assert (await setup("--check", **recorded)).exit_code == 0
    stripe.remove(next(iter(stripe.account.all(objects.ProductFeature))).product_feature_id)
    assert (await setup("--check", "--json", **recorded)).exit_code == 1


async def test_wrong_usage_is_told_apart_from_failures(setup: Setup) -> None:
    """2 and 1; nothing is asked where no terminal is."""
    assert (await setup("--json", STRIPE_SECRET_KEY=KEY)).exit_code == 2
    pasted = await setup(KEY)
    assert (pasted.exit_code, KEY in pasted.output) == (2, False)
    assert "--key-stdin" in pasted.stderr
    unconfirmed = await setup(STRIPE_SECRET_KEY=KEY)
    assert unconfirmed.exit_code == 2
    assert "Pass --yes to confirm." in unconfirmed.stderr
    wrong = await setup("--yes", STRIPE_SECRET_KEY="sk_test_51OfAnotherAccount0000000000")
    assert isinstance(wrong.exception, SetupError)
    assert wrong.exception.exit_code == 1


async def test_an_interrupted_run_says_how_to_go_on(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C loses nothing."""

    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("billing_app.setup.flow.read_catalog", interrupt)
    stopped = await setup("--yes", STRIPE_SECRET_KEY=KEY)
    assert stopped.exit_code == 1
    assert "Run the command again: it continues" in stopped.stderr


async def test_an_event_that_cannot_be_applied_fails_the_command(setup: Setup) -> None:
    """The account is set up; the message says what to do about the database."""
    done = await setup(
        "--webhook-url", URL, "--yes", STRIPE_SECRET_KEY=KEY, DATABASE_URL="postgresql://billing@127.0.0.1:1/billing"
    )
    assert isinstance(done.exception, SetupError)
    assert str(SetupTrouble.EVENT_WAS_NOT_APPLIED) in str(done.exception)
    assert "Postgres does not answer" in str(done.exception)


async def test_a_running_server_with_other_secrets_has_to_be_restarted(setup: Setup, unused_tcp_port: int) -> None:
    """The event is sent to the server that runs, if one does."""
    refused: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refused.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port):
        done = await setup("--webhook-url", URL, "--yes", STRIPE_SECRET_KEY=KEY, BILLING_PORT=str(unused_tcp_port))
    assert str(SetupTrouble.RUNNING_SERVER_IS_OUTDATED) in str(done.exception)
    assert refused[0].startswith(b"POST /webhooks/stripe")
