"""The fixtures every integration test rests on give what they promise."""

from __future__ import annotations

import asyncpg
import pytest
import redis.asyncio


@pytest.mark.postgres
@pytest.mark.parametrize("turn", ["first", "second"])
async def test_every_test_gets_a_database_of_its_own(database_url: str, turn: str) -> None:
    """A table that one test creates does not exist in the next, whichever of the two runs first."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TABLE left_behind ()")
    finally:
        await connection.close()


@pytest.mark.postgres
async def test_commits_are_as_durable_as_in_production(durable_database_url: str) -> None:
    """Numbers measured and crashes tested against the local server would mean nothing with fsync off."""
    connection = await asyncpg.connect(durable_database_url)
    try:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert await connection.fetchval("SELECT current_setting($1)", setting) == "on"
    finally:
        await connection.close()


@pytest.mark.redis
@pytest.mark.parametrize("turn", ["first", "second"])
async def test_every_test_finds_redis_empty(redis_url: str, turn: str) -> None:
    """A key that one test sets is gone in the next, whichever of the two runs first."""
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        assert await client.dbsize() == 0
        await client.set("left-behind", turn)
    finally:
        await client.aclose()
