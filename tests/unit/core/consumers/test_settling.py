"""Storing the positions of many tenants together."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from billing_core.consumers.ports import ConsumerClaim, Progress, Step
from billing_core.consumers.settling import ProgressWriter
from billing_core.errors import StoreUnavailableError
from billing_core.model import TenantId
from billing_core.testing.builders import ACME, GLOBEX
from billing_core.testing.consumers.arrange import MAILS, step
from billing_core.testing.timing import LONG


class Positions:
    """A store that is unavailable for the first call."""

    def __init__(self) -> None:
        self.calls = 0
        self.stored: list[TenantId] = []

    async def settle(self, progress: Sequence[Progress]) -> Sequence[bool]:
        """Store positions."""
        self.calls += 1
        if self.calls == 1:
            raise StoreUnavailableError("settle")
        self.stored += [each.claim.tenant_id for each in progress]
        return [True] * len(progress)


def done(tenant_id: TenantId) -> Progress:
    """Return the position of a tenant whose messages were all handled."""
    claim = ConsumerClaim(consumer=MAILS, tenant_id=tenant_id, position=0, last=1, fence=1, attempt=1)
    return step(claim, Step.DONE, 1)


async def test_a_position_that_nothing_waits_for_any_more_takes_no_other_along() -> None:
    """The work on its tenant was canceled while the store was unavailable; the other tenant's is stored."""
    positions = Positions()
    writer = ProgressWriter(positions, pause=timedelta(0))  # type: ignore[arg-type]
    kept = asyncio.create_task(writer.write(done(ACME), lease=LONG))
    canceled = asyncio.create_task(writer.write(done(GLOBEX), lease=LONG))
    await asyncio.sleep(0)
    canceled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await canceled
    writer.stop()
    await writer.run()
    assert positions.stored == [ACME]
    assert await kept
