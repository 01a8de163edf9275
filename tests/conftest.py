"""Profiles of hypothesis, and real servers: one Postgres and one Valkey per session, a fresh database per test."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis.core
import hypothesis.vendor.pretty
import pytest
import redis.asyncio
import structlog
from aiohttp import web_app
from hypothesis import HealthCheck, Phase, settings
from tests.databases import Databases, database_url_for
from tests.postgres import server_folder
from tests.stripe_cli import install_stripe_cli
from tests.stripe_openapi.specification import is_installed, specification_file
from tests.stripe_openapi.traffic import TRAFFIC
from tests.valkey import ValkeyCluster

from billing_embedded import ServerUrls, embedded_servers_sync
from billing_embedded.system_user import PUBLIC_FOLDER, reachable_folder, server_user
from billing_postgres.migrate import migrate
from billing_stripe.testing.fake_stripe import FakeStripe

_PROFILE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No limits on time: on a busy machine they fail tests that prove what they should."""
settings.register_profile("ci", _PROFILE, max_examples=100, derandomize=True, database=None, print_blob=True)
settings.register_profile("laptop", _PROFILE, max_examples=30)
# Of a mutant only the fact counts that a test fails: shrinking would take longer than all its tests.
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
# In CI a change fails by what it changes, not by chance; other runs try other examples, and remember failures.
settings.load_profile("ci" if os.environ.get("CI") else "laptop")

# schemathesis, a plugin for tests/api, has every failure of hypothesis printed without the values that caused it.
hypothesis.core.RepresentationPrinter = hypothesis.vendor.pretty.RepresentationPrinter  # type: ignore[misc]

gc.disable()  # until everything is imported and collected: only code and tests are made until then
pytest.register_assert_rewrite("billing_core.testing")  # so that a broken contract shows what it compared

REDIS_DATABASE = 15 - int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""The tests empty it, so it is neither the one that a development server uses nor another worker's."""


@pytest.fixture(scope="session", autouse=True)
def _public_folders_are_removed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Root's local servers keep the files of a private folder elsewhere, where nothing else would remove them."""
    yield
    for mark in tmp_path_factory.getbasetemp().rglob(PUBLIC_FOLDER):
        data_dir = mark.parent
        shutil.rmtree(reachable_folder(data_dir, server_user(data_dir)), ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _loggers_follow_every_configuration() -> Iterator[None]:
    """A logger that was used before a test would otherwise keep the configuration of then."""
    configure = structlog.configure

    def configure_for_now(**options: Any) -> None:
        configure(**options | {"cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(structlog, "configure", configure_for_now)
        yield


@pytest.fixture(autouse=True)
def _log_is_not_configured() -> Iterator[None]:
    """Each test begins with the defaults, whatever commands ran before it in the same process."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _applications_end_with_their_test() -> Iterator[None]:
    """aiohttp's cache of middlewares would keep hundreds of them: gigabytes, which garbage collections search."""
    yield
    web_app._cached_build_middleware.cache_clear()


def pytest_configure() -> None:
    """Check what fake Stripes receive, answer and send against Stripe's own specification, where it is installed."""
    if is_installed() or os.environ.get("CI"):
        specification_file()  # now: the first call of a test, which has a limit, would wait for it
        FakeStripe.observers.append(TRAFFIC)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Exempt modules and tests from garbage collections, and collect less often: a quarter of the time went there."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Let Python end without a search for garbage."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Fail a test whose traffic Stripe's specification does not describe."""
    result = yield
    _fail_for_traffic()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """Count traffic that ends after the test among the test's own."""
    result = yield
    _fail_for_traffic()
    return result


def _fail_for_traffic() -> None:
    found = TRAFFIC.take()
    if found:
        pytest.fail("Stripe's specification does not describe this:\n" + "\n".join(found), pytrace=False)


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerUrls]:
    """Use the servers that DATABASE_URL and REDIS_URL name, and start local ones for those that are not set."""
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if database_url and redis_url:
        yield ServerUrls(database_url=database_url, redis_url=redis_url)
        return
    with server_folder() as folder, embedded_servers_sync(folder) as local:
        yield ServerUrls(database_url=database_url or local.database_url, redis_url=redis_url or local.redis_url)


@pytest.fixture(scope="session")
async def admin(servers: ServerUrls) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Open a connection for creating and dropping databases.

    The local server does not wait for the disk: on a busy machine, creating and dropping hundreds of databases would
    take longer than the tests. A test about crashes of the machine takes `durable_database_url`. Nor does it analyze
    tables by itself, after which a database would be no longer as a new one.
    """
    connection = await asyncpg.connect(servers.database_url)
    if "DATABASE_URL" not in os.environ:
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
        await connection.execute("SELECT pg_reload_conf()")
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def databases(servers: ServerUrls, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Databases]:
    """Create the migrated database that others are copied from, and lend out copies."""
    name = f"billing_template_{secrets.token_hex(4)}"
    await admin.execute(f'CREATE DATABASE "{name}"')
    await migrate(database_url_for(servers.database_url, name))
    databases = await Databases.open(admin, servers.database_url, name)
    yield databases
    if "DATABASE_URL" in os.environ:  # a local server is deleted as a whole
        await databases.close()
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """Return the URL of a migrated database without rows. A test that needs several takes `databases`."""
    async with databases.fresh() as url:
        yield url


@pytest.fixture
async def redis_url(servers: ServerUrls) -> str:
    """Empty a Redis database and return its URL."""
    assert servers.redis_url is not None
    url = urlunsplit(urlsplit(servers.redis_url)._replace(path=f"/{REDIS_DATABASE}"))
    client = redis.asyncio.Redis.from_url(url)
    await client.flushdb()
    await client.aclose()
    return url


@pytest.fixture(scope="session")
async def redis_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Start a cluster of three masters on loopback and return its URL; each test uses keys of its own."""
    cluster = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    try:
        await cluster.start()
        yield cluster.url
    finally:
        cluster.kill()


@pytest.fixture(scope="session")
def stripe_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install Stripe's command line."""
    return install_stripe_cli(tmp_path_factory.mktemp("stripe-cli"))
