"""The stream's promise, with real servers: losing Redis loses no message and repeats none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
import pytest
from tests.integration.deployment import TENANTS, Client, Deployment, deployed, eventually, logs_end_at

if TYPE_CHECKING:
    from tests.valkey import Valkey

pytestmark = [pytest.mark.stripe, pytest.mark.redis, pytest.mark.postgres]


@pytest.fixture
async def deployment(database_url: str, valkey: Valkey) -> AsyncIterator[Deployment]:
    async with deployed(database_url, valkey.url) as running:
        yield running


async def test_no_client_misses_or_repeats_a_number_while_valkey_is_flushed_killed_and_brought_back(
    deployment: Deployment, valkey: Valkey
) -> None:
    """Traffic continues throughout; clients reconnect at random to either of two servers."""
    clients = [Client(deployment.urls, tenant_id, seed) for seed, tenant_id in enumerate(TENANTS * 4)]
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        listening = [asyncio.ensure_future(client.run(session)) for client in clients]

        async def traffic(batches: int) -> None:
            for _ in range(batches):
                for tenant_id in TENANTS:
                    await deployment.write(tenant_id, 2)
                await asyncio.sleep(0.01)

        async def reached(number: int) -> None:
            await eventually(lambda: all(client.numbers[-1:] == [number] for client in clients))

        await traffic(25)
        await reached(50)
        writing = asyncio.ensure_future(traffic(50))
        await valkey.call("FLUSHALL")
        await asyncio.sleep(0.1)
        await valkey.call("FLUSHALL")
        await writing
        await reached(150)
        writing = asyncio.ensure_future(traffic(50))
        valkey.kill()
        await writing
        await reached(250)  # from Postgres
        await valkey.start()
        await traffic(25)
        await reached(300)
        # The bus is complete again, too: its logs end where the history does.
        await logs_end_at(deployment.bus, TENANTS, 300)
        for task in listening:
            task.cancel()
        ended = await asyncio.gather(*listening, return_exceptions=True)
    assert {type(end) for end in ended} == {asyncio.CancelledError}
    for client in clients:
        assert client.numbers == list(range(1, 301))
        assert client.resets == 0
