"""A Valkey of one test's own, for tests that flush, kill or misconfigure it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.valkey import Valkey, ValkeyCluster


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
