"""The contract of UsageMeter."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal

from billing_core.entitlements.ports import UsageMeter
from billing_core.model import Quantity, TenantId
from billing_core.testing.builders import ACME, GLOBEX, month
from billing_core.testing.suite import Suite

RecordUsage = Callable[[TenantId, str, Quantity, datetime], Awaitable[None]]
"""Records that a tenant used so much of a feature at an instant."""

WINDOW = month(1)


class UsageMeterContract(Suite):
    """Measured usage of one tenant within half-open windows.

    A binding provides `usage_meter`, which measures `api_calls` and `exports` and nothing else, and `record_usage` on
    the same data, empty.
    """

    async def test_usage_within_the_window_is_added_up(
        self, usage_meter: UsageMeter, record_usage: RecordUsage
    ) -> None:
        """The start belongs to the window, the end does not; fractions are kept."""
        just_before = timedelta(microseconds=1)
        for at in (WINDOW.start - just_before, WINDOW.start, WINDOW.end - just_before, WINDOW.end):
            await record_usage(ACME, "api_calls", Decimal("1.25"), at)
        assert await usage_meter.used(ACME, {"api_calls": WINDOW}) == {"api_calls": Decimal("2.5")}

    async def test_what_was_not_used_is_zero_and_what_is_not_measured_is_left_out(
        self, usage_meter: UsageMeter
    ) -> None:
        """A caller can tell a feature without usage from one that this meter knows nothing of."""
        windows = {"api_calls": WINDOW, "storage": WINDOW}
        assert await usage_meter.used(ACME, windows) == {"api_calls": 0}
        assert await usage_meter.used(ACME, {}) == {}

    async def test_each_feature_has_its_own_window(self, usage_meter: UsageMeter, record_usage: RecordUsage) -> None:
        """One call answers for several features."""
        await record_usage(ACME, "api_calls", 7, month(1).start)
        await record_usage(ACME, "exports", 3, month(1).start)
        await record_usage(ACME, "exports", 2, month(2).start)
        windows = {"api_calls": month(1), "exports": month(2)}
        assert await usage_meter.used(ACME, windows) == {"api_calls": 7, "exports": 2}

    async def test_another_tenants_usage_does_not_count(
        self, usage_meter: UsageMeter, record_usage: RecordUsage
    ) -> None:
        """One tenant's usage leaves the limits of others alone."""
        await record_usage(GLOBEX, "api_calls", 7, WINDOW.start)
        assert await usage_meter.used(ACME, {"api_calls": WINDOW}) == {"api_calls": 0}
        assert await usage_meter.used(GLOBEX, {"api_calls": WINDOW}) == {"api_calls": 7}
