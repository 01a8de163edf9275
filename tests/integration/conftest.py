"""Fixtures of several files: the settings of a deployment, and a Valkey that a test may kill or misconfigure."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.databases import database_url_for
from tests.integration.processes import environment_of
from tests.postgres import server_folder
from tests.valkey import Valkey, ValkeyCluster

from billing_embedded import ServerUrls, embedded_servers_sync
from billing_postgres.migrate import migrate


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings of a small deployment, for a test to change."""
    return environment_of(database_url, redis_url)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Create a data folder for servers of one test's own."""
    with server_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def durable_servers() -> Iterator[ServerUrls]:
    """Start a Postgres that waits for the disk as in production, unlike the one that the other tests share."""
    with server_folder() as folder, embedded_servers_sync(folder) as urls:
        yield urls


@pytest.fixture
async def durable_database_url(durable_servers: ServerUrls) -> str:
    """Create a fresh migrated database on a server that waits for the disk, and return its URL."""
    name = f"billing_test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(durable_servers.database_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    url = database_url_for(durable_servers.database_url, name)
    await migrate(url)
    return url


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    server = Valkey(tmp_path)
    await server.start()
    yield server
    server.kill()


@pytest.fixture
async def valkey_cluster(tmp_path: Path) -> AsyncIterator[ValkeyCluster]:
    cluster = ValkeyCluster(tmp_path)
    await cluster.start()
    yield cluster
    cluster.kill()
