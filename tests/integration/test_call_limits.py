"""The limits of calls to Stripe as a process uses them: on Redis with all others, and without it by its share."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.patience import PATIENCE

from billing_app.container.gateway import call_limiter
from billing_app.secret import Secret
from billing_app.settings import GatewaySettings, Settings, StripeSettings
from billing_core.operations.ports import CallLimiter
from billing_redis.nodes import RedisNodes

if TYPE_CHECKING:
    from tests.valkey import Valkey

pytestmark = pytest.mark.redis

TIMEOUT = timedelta(seconds=PATIENCE)
FETCH = "GET /v1/subscriptions/{subscription}"
LIST = "GET /v1/subscriptions"


def settings(key: str = "sk_test_limits") -> Settings:
    """Eight calls in flight for four processes, at any rate."""
    return Settings(
        stripe=StripeSettings(secret_key=Secret(key)),
        gateway=GatewaySettings(sandbox_rate=10_000, live_rate=10_000, endpoint_rate=10_000, in_flight=8, processes=4),
    )


async def admitted(limiter: CallLimiter, endpoint: str, prefix: str) -> int:
    """Enter until refused; return the number of calls."""
    number = 0
    while await limiter.enter(f"{prefix}-{number}", endpoint, "interactive") is None:
        number += 1
    return number


async def test_processes_with_one_key_count_together(valkey: Valkey) -> None:
    """Others count apart; Redis learns no key."""
    async with RedisNodes.open(valkey.url, timeout=TIMEOUT) as nodes:
        here, there = call_limiter(settings(), nodes), call_limiter(settings(), nodes)
        other = call_limiter(settings("sk_live_other"), nodes)
        for number in range(5):
            assert await here.enter(f"here-{number}", FETCH, "interactive") is None
        assert await admitted(there, FETCH, "there") == 3
        assert await admitted(other, FETCH, "other") == 8
        kept = json.dumps(await valkey.call("KEYS", "*"))
    assert "calls-" in kept
    assert "sk_" not in kept
    assert "limits" not in kept


async def test_a_process_keeps_to_its_share_while_redis_is_away(valkey: Valkey) -> None:
    """Calls that were counted on Redis may end meanwhile."""
    async with RedisNodes.open(valkey.url, timeout=TIMEOUT) as nodes:
        limiter = call_limiter(settings(), nodes)
        assert await limiter.enter("before", LIST, "interactive") is None
        valkey.kill()
        assert await admitted(limiter, FETCH, "away") == 2
        await limiter.leave("before", LIST)
        await limiter.slow_down(LIST)
        assert await admitted(limiter, LIST, "slowed") == 1


async def test_a_redis_that_hangs_delays_a_call_a_little_and_once(valkey: Valkey) -> None:
    """The next ones are not sent there for some seconds."""
    async with RedisNodes.open(valkey.url, timeout=timedelta(minutes=10)) as nodes:
        limiter = call_limiter(settings(), nodes)
        assert await limiter.enter("before", FETCH, "interactive") is None
        valkey.freeze()
        assert await admitted(limiter, FETCH, "away") == 2
        valkey.thaw()


async def test_without_redis_a_process_always_keeps_to_its_share() -> None:
    """Others may use the key as well."""
    assert await admitted(call_limiter(settings(), None), FETCH, "alone") == 2
