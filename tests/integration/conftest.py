"""What several files share: the settings of a deployment, and a Valkey of one test's own to kill or misconfigure."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.processes import environment_of
from tests.valkey import Valkey, ValkeyCluster


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings of a small deployment, for a test to change."""
    return environment_of(database_url, redis_url)


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
