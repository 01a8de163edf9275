"""Postgres over TLS with `verify-full`, and Redis over TLS as a user with few rights.

The servers prove who they are with a certificate. No test covers clients that do so too.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import pytest
from tests.integration.processes import ended, environment_of, post, running, state_at, subscription_event
from tests.patience import PATIENCE
from tests.tls import Authority, encrypted

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.stream_access.ports import QuotaPolicy
from billing_core.testing.builders import ACME, messages
from billing_postgres.pool import Database
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes
from billing_redis.quota import RedisStreamQuota

if TYPE_CHECKING:
    from tests.valkey import Valkey

TIMEOUT = timedelta(seconds=PATIENCE)
DOCUMENTED_IN = Path(__file__).parents[2] / "docs/billing/streaming.md"
PASSWORD = "hunter2hunter2"
USER_RULES = "~billing:* +@read +@write +@scripting +@connection -@dangerous +info +time +cluster|slots"
"""The rights that docs/billing/streaming.md gives a user."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
async def redis_port(valkey: Valkey, authority: Authority) -> AsyncIterator[int]:
    """The TLS port of a server where only the user `billing` may do anything."""
    await valkey.call("ACL", "SETUSER", "billing", "on", f">{PASSWORD}", *USER_RULES.split())
    await valkey.call("ACL", "SETUSER", "default", "off")
    async with encrypted(valkey.url, authority.certify("localhost")) as port:
        yield port


@pytest.fixture
async def postgres_port(database_url: str, authority: Authority) -> AsyncIterator[int]:
    async with encrypted(database_url, authority.certify("localhost")) as port:
        yield port


def redis_over_tls(port: int, trusted: Authority, *, host: str = "localhost", password: str = PASSWORD) -> str:
    return f"rediss://billing:{password}@{host}:{port}/0?ssl_ca_certs={trusted.file}"


def postgres_over_tls(url: str, port: int, trusted: Authority, *, host: str = "localhost") -> str:
    parts = urlsplit(url)
    login, _, _ = parts.netloc.rpartition("@")
    query = f"sslmode=verify-full&sslrootcert={trusted.file}"
    return urlunsplit(parts._replace(netloc=f"{login}@{host}:{port}", query=query))


def root_of(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def test_the_documented_rights_are_the_tested_ones() -> None:
    """Users copy the command from there."""
    assert f"ACL SETUSER billing on >PASSWORD {USER_RULES}\n" in DOCUMENTED_IN.read_text(encoding="utf-8")


@pytest.mark.redis
async def test_the_bus_and_the_quota_work_over_tls_as_a_user_with_few_rights(
    redis_port: int, authority: Authority
) -> None:
    """All their commands are among the documented ones, inside scripts too."""
    async with RedisNodes.open(redis_over_tls(redis_port, authority), timeout=TIMEOUT) as nodes:
        bus = RedisEventBus(nodes)
        await bus.ping()
        await bus.check()
        follower = bus.follow()
        await anext(follower)
        assert await bus.append(messages(ACME, 1, 3)) == {ACME: 3}
        assert list(await anext(follower)) == messages(ACME, 1, 3)
        assert list(await bus.read(ACME, after=1, limit=9)) == messages(ACME, 2, 3)
        await follower.aclose()
        await bus.claim_backfill("this process", lease=TIMEOUT)
        await bus.finish_backfill()
        policy = QuotaPolicy(rate_per_minute=10, concurrent=1, lease=timedelta(minutes=1))
        quota = RedisStreamQuota(nodes, policy)
        assert await quota.enter(ACME, "one") is None
        assert await quota.enter(ACME, "two") is not None
        await quota.keep({ACME: ["one"]})
        await quota.leave({ACME: ["one"]})
        assert await quota.enter(ACME, "two") is None


@pytest.mark.redis
async def test_a_user_may_touch_no_key_of_another_namespace(redis_port: int, authority: Authority) -> None:
    """Two deployments on one server cannot read each other's messages, whatever their settings say."""
    async with RedisNodes.open(redis_over_tls(redis_port, authority), timeout=TIMEOUT) as nodes:
        with pytest.raises(EventBusUnavailableError, match="NoPermissionError"):
            await RedisEventBus(nodes, namespace="payroll").read(ACME, after=0, limit=1)


@pytest.mark.redis
@pytest.mark.parametrize("mistake", ["authority", "host", "password", "plain"])
async def test_a_redis_that_is_not_the_named_one_gets_no_message(
    redis_port: int, authority: Authority, tmp_path: Path, mistake: str
) -> None:
    """Nor does one get in with another password, or without encryption; the password shows in no error."""
    url = {
        "authority": redis_over_tls(redis_port, Authority(tmp_path, "another")),
        "host": redis_over_tls(redis_port, authority, host="127.0.0.1"),
        "password": redis_over_tls(redis_port, authority, password="hunter2wrong"),
        "plain": redis_over_tls(redis_port, authority).replace("rediss:", "redis:").partition("?")[0],
    }[mistake]
    async with RedisNodes.open(url, timeout=TIMEOUT) as nodes:
        with pytest.raises(EventBusUnavailableError) as caught:
            await RedisEventBus(nodes).append(messages(ACME, 1, 1))
    assert "hunter2" not in f"{caught.value!r} {root_of(caught.value)!r}"
    if mistake in ("authority", "host"):
        assert "CERTIFICATE_VERIFY_FAILED" in str(root_of(caught.value))


@pytest.mark.postgres
async def test_the_database_is_reached_over_tls_with_a_verified_name(
    database_url: str, postgres_port: int, authority: Authority
) -> None:
    """In the pool and on connections that are kept."""
    database = Database(url=postgres_over_tls(database_url, postgres_port, authority))
    async with await database.open_pool(size=1) as pool:
        assert await pool.fetchval("SELECT 1") == 1
    connection = await database.connect()
    try:
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


@pytest.mark.postgres
@pytest.mark.parametrize("mistake", ["authority", "host"])
async def test_a_database_that_is_not_the_named_one_gets_no_statement(
    database_url: str, postgres_port: int, authority: Authority, tmp_path: Path, mistake: str
) -> None:
    """The store is unavailable, as with any server that cannot be reached, and the cause says why."""
    url = {
        "authority": postgres_over_tls(database_url, postgres_port, Authority(tmp_path, "another")),
        "host": postgres_over_tls(database_url, postgres_port, authority, host="127.0.0.1"),
    }[mistake]
    database = Database(url=url)
    with pytest.raises(StoreUnavailableError) as caught:
        await database.connect()
    assert isinstance(root_of(caught.value), ssl.SSLCertVerificationError)
    with pytest.raises(StoreUnavailableError):
        async with await database.open_pool(size=1, min_size=1):
            pass


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_whole_deployment_runs_over_tls(
    database_url: str, postgres_port: int, redis_port: int, authority: Authority, tmp_path: Path
) -> None:
    """A webhook becomes state and doctor reaches both; a database that is not trusted is reported with a remedy."""
    environment = environment_of(
        postgres_over_tls(database_url, postgres_port, authority), redis_over_tls(redis_port, authority)
    )
    # On a busy machine, the first handshake takes seconds.
    environment |= {"BILLING_REDIS_TIMEOUT_SECONDS": "30", "BILLING_DB_ACQUIRE_TIMEOUT_SECONDS": "30"}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with running("serve", environment=environment, ready=f"{base}/readyz"), aiohttp.ClientSession() as session:
        status, _ = await post(session, base, subscription_event(1))
        assert status == 202
        assert (await state_at(session, base, 1))["sequence"] == 1
        end = await ended("doctor", "--json", environment=environment)
        verdicts = {each["check"]: each["verdict"] for each in json.loads(end.output)["findings"]}
        assert (verdicts["database"], verdicts["redis"]) == ("ok", "ok")
    environment["DATABASE_URL"] = postgres_over_tls(database_url, postgres_port, Authority(tmp_path, "another"))
    end = await ended("doctor", environment=environment)
    assert end.status == 1
    assert "DATABASE_URL" in end.output
    assert "Traceback" not in end.errors
