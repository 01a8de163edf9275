"""Quotas: how many streams a tenant gets, and that their failure shuts nobody out."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp

from billing_core.errors import EventBusUnavailableError
from billing_core.model import TenantId
from billing_core.stream_access.ports import Leases, QuotaRefusal, StreamQuota
from billing_core.testing.builders import ACME, GLOBEX

if TYPE_CHECKING:
    from tests.unit.http.conftest import Eventually, Listen, MakeWorld, World

STREAM = "/api/v1/billing/stream"
ADMISSIONS = "stripe_billing_stream_admissions_total"


class Quota:
    """A quota that can be away, and notes what it was told."""

    def __init__(self) -> None:
        self.away = False
        self.entered: list[str] = []
        self.kept: list[Leases] = []
        self.left: set[str] = set()

    async def enter(self, tenant_id: TenantId, lease: str) -> QuotaRefusal | None:
        """See StreamQuota: everybody gets in."""
        self._answer()
        self.entered.append(lease)
        return None

    async def keep(self, leases: Leases) -> None:
        """See StreamQuota."""
        self._answer()
        self.kept.append(leases)

    async def leave(self, leases: Leases) -> None:
        """See StreamQuota."""
        self._answer()
        self.left.update(name for names in leases.values() for name in names)

    def _answer(self) -> None:
        if self.away:
            raise EventBusUnavailableError("quota")


async def refused(world: World, http: aiohttp.ClientSession, tenant_id: TenantId = ACME) -> tuple[int, str, int]:
    """How a stream is refused: status, code, and seconds to wait."""
    async with http.get(world.url + STREAM, headers=world.bearer(tenant_id)) as answer:
        return answer.status, (await answer.json())["error"]["code"], int(answer.headers["Retry-After"])


async def test_one_stream_too_many_is_answered_429(
    make_world: MakeWorld, listen: Listen, http: aiohttp.ClientSession, eventually: Eventually
) -> None:
    """Of one tenant; another is not concerned, and a place that is left is free again."""
    async with make_world(stream_concurrent_limit=2).serving() as world:
        async with AsyncExitStack() as streams:
            for _ in range(2):
                await streams.enter_async_context(listen(world))
            status, code, wait = await refused(world, http)
            assert (status, code) == (429, "too_many_tenant_streams")
            assert 1 <= wait <= 45
            async with listen(world, GLOBEX):
                pass
        await eventually(lambda: world.sample("stripe_billing_stream_connections") == 0)
        while (await world.services.quota.enter(ACME, "probe")) is not None:  # it leaves a moment after its stream
            pass
        assert world.sample(ADMISSIONS, result="admitted") == 3
        assert world.sample(ADMISSIONS, result="concurrent") == 1


async def test_streams_that_are_opened_too_often_are_answered_429(
    make_world: MakeWorld, listen: Listen, http: aiohttp.ClientSession
) -> None:
    """However short each of them is; the answer says when the next may be opened."""
    async with make_world(stream_rate_limit=3).serving() as world:
        for _ in range(3):
            async with listen(world):
                pass
        status, code, wait = await refused(world, http)
        assert (status, code) == (429, "stream_rate_limited")
        assert 1 <= wait <= 20
        assert world.sample(ADMISSIONS, result="rate") == 1


async def test_a_quota_that_is_away_shuts_nobody_out(make_world: MakeWorld, listen: Listen) -> None:
    """It is counted, and streams are served."""
    world, quota = make_world(), Quota()
    quota.away = True
    world.replace(quota=quota)
    async with world.serving(), listen(world) as stream:
        await stream.event()
        await world.publish(ACME)
        assert (await stream.event()).id == "1"
    assert world.sample(ADMISSIONS, result="unavailable") == 1


async def test_open_streams_keep_their_places(make_world: MakeWorld, listen: Listen, eventually: Eventually) -> None:
    """Time and again, also those that got in unasked; the last ones are left when the server ends."""
    world, quota = make_world(stream_lease=timedelta(milliseconds=30)), Quota()
    world.replace(quota=quota)
    async with world.serving():
        quota.away = True
        async with listen(world), listen(world), listen(world, GLOBEX):
            quota.away = False
            await eventually(lambda: bool(quota.kept))
            kept = quota.kept[-1]
            assert (len(kept[ACME]), len(kept[GLOBEX])) == (2, 1)
            names = {name for each in kept.values() for name in each}
        await eventually(lambda: quota.left == names)
        await eventually(lambda: quota.kept[-1] == {})
        async with listen(world):
            pass
    assert quota.left == names | set(quota.entered)


def test_a_double_is_a_quota() -> None:
    """What the tests use has the methods of the real ones."""
    quota: StreamQuota = Quota()
    assert quota
