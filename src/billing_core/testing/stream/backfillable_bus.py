"""The contract of BackfillableBus, beyond that of EventBus."""

from datetime import timedelta

from billing_core.stream.ports import BackfillableBus, BackfillClaim
from billing_core.testing.suite import Suite


class BackfillableBusContract(Suite):
    """A bus that one of many processes fills, once. A binding provides `event_bus`, empty."""

    async def test_one_process_has_the_turn_until_the_backfill_is_done(self, event_bus: BackfillableBus) -> None:
        """It keeps the turn by claiming again; afterwards no process gets one."""
        lease = timedelta(minutes=1)
        claims = [await event_bus.claim_backfill(name, lease=lease) for name in ("a", "b", "a")]
        assert claims == [BackfillClaim.OURS, BackfillClaim.OTHERS, BackfillClaim.OURS]
        await event_bus.finish_backfill()
        assert [await event_bus.claim_backfill(name, lease=lease) for name in ("a", "b")] == [
            BackfillClaim.DONE,
            BackfillClaim.DONE,
        ]
