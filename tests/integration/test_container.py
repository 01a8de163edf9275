"""The composition root on real adapters; tests/unit/test_container.py has the rules that it keeps."""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg
import pytest
from tests.wiring import misfits

from billing_app.container import Adapters, Container, open_container
from billing_app.http.services import Services
from billing_app.secret import Secret
from billing_app.settings import DatabaseSettings, RedisSettings, Settings, StripeSettings, Switches, TokenSettings
from billing_app.worker import Worker
from billing_core.inbox.intake import Intake
from billing_memory.stream.bus import NullEventBus
from billing_postgres.statements import Statements
from billing_redis.bus import RedisEventBus

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


def settings(database_url: str, redis_url: str, *, billing: bool = True, stream: bool = True) -> Settings:
    """Settings of a deployment that asks Stripe nothing."""
    return Settings(
        switches=Switches(billing=billing, stream=stream),
        database=DatabaseSettings(url=Secret(database_url)),
        redis=RedisSettings(url=Secret(redis_url)),
        stripe=StripeSettings(
            fetch=False,
            secret_key=Secret("sk_test_container"),
            webhook_secrets=(Secret("whsec_container"),),
        ),
        tokens=TokenSettings(secrets=(Secret("container-tests-only-0123456789abcdef"),)),
    )


def built(container: Container) -> dict[str, object]:
    """Resolve every provider, by name."""
    return {name: provider() for name, provider in container.providers.items()}


async def test_every_object_gets_what_it_asks_for(database_url: str, redis_url: str) -> None:
    """A wrong argument or a missing dependency shows here and not at three in the morning."""
    async with open_container(settings(database_url, redis_url), application_name="test") as container:
        assert misfits(container) == []
        made = built(container)
    assert isinstance(made["bus"], RedisEventBus)
    assert isinstance(made["services"], Services)
    assert isinstance(made["worker"], Worker)
    assert isinstance(made["intake"], Intake)


async def test_without_the_stream_nothing_is_published_and_nothing_asks_for_redis(
    database_url: str, redis_url: str
) -> None:
    """The null bus takes every message, so the outbox stays empty."""
    given = settings(database_url, redis_url, stream=False)
    async with open_container(given, application_name="test") as container:
        made = built(container)
        assert isinstance(made["bus"], NullEventBus)
        assert list(container.probes()) == ["database", "schema"]


async def test_billing_that_is_switched_off_takes_nothing_in(database_url: str, redis_url: str) -> None:
    """Everything else is there, so that health and metrics can be shown."""
    given = settings(database_url, redis_url, billing=False)
    async with open_container(given, application_name="test") as container:
        assert built(container)["intake"] is None


def pools_of(adapter: object) -> set[asyncpg.Pool[asyncpg.Record]]:
    """Return the pools that an adapter holds, itself or in its statements."""
    values = list(getattr(adapter, "__dict__", {}).values())
    values += [value.pool for value in values if isinstance(value, Statements)]
    return {value for value in values if isinstance(value, asyncpg.Pool)}


async def test_connections_for_reading_cannot_write(database_url: str, redis_url: str) -> None:
    """The server itself refuses, whatever statement reaches it: the service stays the only writer of state."""
    async with open_container(settings(database_url, redis_url), application_name="test") as container:
        pools = {name: pools_of(container.providers[name]()) for name in Adapters.__annotations__}
        repository = container.tenant_reader()
        (reading,) = pools["history"]
        only_read = {name for name, used in pools.items() if used == {reading}}
        assert only_read == {"history", "event_log", "timeline", "invariants", "inbox_flow", "state_upkeep"}
        assert repository._statements.pool is repository._readers is reading
        async with reading.acquire() as connection:
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("UPDATE tenant_subscriptions SET status = 'active'")


COMMAND = """
import asyncio, structlog
from billing_app import cli
from billing_app.container import open_token_verifier
from billing_app.settings import Settings

async def command():
    async with open_token_verifier(Settings.load()):
        structlog.get_logger("tests").info("unseen")
        structlog.get_logger("tests").warning("seen")
        print("result")

cli.cli = lambda **_: asyncio.run(command())
cli.main()
"""


async def test_commands_log_warnings_to_standard_error(database_url: str) -> None:
    """Standard output has their results only, which scripts read."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COMMAND,
        env={**os.environ, "DATABASE_URL": database_url, "ENABLE_BILLING": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out == b"result\n"
    assert (b"unseen" in err, b'"event": "seen"' in err) == (False, True)
