"""One live subscription per tenant and plan: not enforced, but monitored."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tests.unit.core.conftest import until

from billing_core.errors import StoreUnavailableError
from billing_core.model import DuplicateSubscriptions, SubscriptionId, TenantSubscription, duplicate_subscriptions
from billing_core.oversight.monitors import DuplicateMonitor, DuplicateReport
from billing_core.testing.builders import ACME, GLOBEX, subscription
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.state.repository import MemoryRepository

TWO = DuplicateSubscriptions(
    tenant_id=ACME, plan_code="pro", subscription_ids=(SubscriptionId("sub_1"), SubscriptionId("sub_2"))
)


def found(*subscriptions: TenantSubscription) -> list[DuplicateSubscriptions]:
    """Return the duplicates, which must not depend on the order of the subscriptions."""
    assert duplicate_subscriptions(subscriptions) == duplicate_subscriptions(reversed(subscriptions))
    return list(duplicate_subscriptions(subscriptions))


class TestDuplicates:
    """Tenants that pay for a plan more than once."""

    def test_two_live_subscriptions_of_a_plan_are_found(self) -> None:
        """A trial is live, and so is a subscription that is past due."""
        assert found(subscription("sub_2", status="trialing"), subscription("sub_1", status="past_due")) == [TWO]

    def test_plans_and_tenants_are_distinguished(self) -> None:
        """Several plans of one tenant, or one plan of several tenants, are no duplicates."""
        assert (
            found(subscription("sub_1"), subscription("sub_2", plan_code="addon"), subscription("sub_3", GLOBEX)) == []
        )

    def test_subscriptions_that_are_not_live_do_not_count(self) -> None:
        """Ended ones, ones that never started, and ones whose plan is unknown."""
        others = [subscription("sub_2", status=status) for status in ("canceled", "incomplete_expired", "incomplete")]
        assert found(subscription("sub_1"), *others, subscription("sub_3", plan_code=None)) == []
        assert found(subscription("sub_1", plan_code=None), subscription("sub_2", plan_code=None)) == []

    def test_a_subscription_that_is_set_to_end_does_not_count(self) -> None:
        """So an operator settles a duplicate, in either of the provider's two ways; withdrawn, it counts again."""
        later = datetime(2027, 1, 1, tzinfo=UTC)
        for ending in ({"cancel_at_period_end": True}, {"cancel_at": later}):
            assert found(subscription("sub_1"), subscription("sub_2", **ending)) == []
        third = subscription("sub_3", cancel_at_period_end=True)
        assert found(subscription("sub_1"), subscription("sub_2"), third) == [TWO]


class Faltering(MemoryRepository):
    """A repository that is unavailable for the first query."""

    def __init__(self) -> None:
        super().__init__(MemoryDatabase(), ManualClock())
        self.asked = 0

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """See StateUpkeep."""
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailableError("away")
        return [TWO]


async def test_the_monitor_continues_after_the_store_was_unavailable() -> None:
    """It reports nothing then, and reports what it finds at every later check."""
    reports: list[DuplicateReport] = []
    duplicate_monitor = DuplicateMonitor(upkeep=Faltering(), every=timedelta(milliseconds=1), observe=reports.append)
    running = asyncio.create_task(duplicate_monitor.run())
    await until(lambda: len(reports) >= 2)
    duplicate_monitor.stop()
    await running
    assert reports == [DuplicateReport(duplicates=[TWO])] * len(reports)
