"""Revoked tokens as one process knows them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from billing_core.errors import StoreUnavailableError
from billing_core.model import TenantId
from billing_core.stream_access.ports import Principal, Revocation
from billing_core.stream_access.revocation_list import RevocationList
from billing_core.testing.builders import ACME, AT, GLOBEX
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.stream_access.revocations import MemoryRevocations

SECOND = timedelta(seconds=1)
LATER = AT + timedelta(hours=1)


def principal(token_id: str | None, issued_at: datetime | None, tenant_id: TenantId = ACME) -> Principal:
    return Principal(tenant_id=tenant_id, role="viewer", expires_at=LATER, token_id=token_id, issued_at=issued_at)


async def loaded(*revocations: Revocation) -> RevocationList:
    """Return a list with the given revocations loaded."""
    store = MemoryRevocations(MemoryDatabase(), ManualClock(AT))
    for each in revocations:
        await store.revoke(each)
    known = RevocationList(revocations=store, every=SECOND)
    await known.load()
    return known


async def test_a_revoked_token_is_covered_by_its_id() -> None:
    """Any tenant's token with that id; no other token."""
    known = await loaded(Revocation(subject="token", name="t1", revoked_at=AT, kept_until=LATER))
    assert known.covers(principal("t1", AT + SECOND))
    assert not known.covers(principal("t2", AT - SECOND))
    assert not known.covers(principal(None, None))


@pytest.mark.parametrize(
    ("issued_at", "covered"), [(AT - SECOND, True), (AT, True), (AT + SECOND, False), (None, True)]
)
async def test_a_tenants_tokens_are_covered_up_to_an_instant(issued_at: datetime | None, covered: bool) -> None:
    """Tokens issued later are valid; a token without an issue time counts as old."""
    known = await loaded(Revocation(subject="tenant", name=ACME, revoked_at=AT, kept_until=LATER))
    assert known.covers(principal("t1", issued_at)) is covered
    assert not known.covers(principal("t1", issued_at, GLOBEX))


async def test_a_token_is_not_a_tenant() -> None:
    """A token id may equal a tenant id."""
    known = await loaded(Revocation(subject="token", name=ACME, revoked_at=AT, kept_until=LATER))
    assert not known.covers(principal("t1", AT))


async def test_known_revocations_apply_while_the_store_is_unavailable() -> None:
    """An unavailable database lets no revoked token back in."""

    class Flaky(MemoryRevocations):
        away = False

        async def current(self) -> Sequence[Revocation]:
            if self.away:
                raise StoreUnavailableError("away")
            return await super().current()

    store = Flaky(MemoryDatabase(), ManualClock(AT))
    await store.revoke(Revocation(subject="token", name="t1", revoked_at=AT, kept_until=LATER))
    known = RevocationList(revocations=store, every=timedelta(milliseconds=1))
    await known.load()
    store.away = True
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(known.run(), 0.02)
    assert known.covers(principal("t1", AT))
