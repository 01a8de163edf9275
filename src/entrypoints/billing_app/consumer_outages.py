"""Outages of consumers as this process finds them: how many failures a log line stands for."""

import time
from collections.abc import Callable
from typing import Final

import attrs

from billing_core.consumers.delivery import DeliveryReport
from billing_core.consumers.values import ConsumerName
from billing_core.model import TenantId

_REPEATED: Final = 60.0
"""Seconds between two lines about a consumer that still fails."""
_LATE: Final = 60.0
"""Seconds after which a message that was to be tried again here no longer counts: another process has its tenant."""


@attrs.frozen(kw_only=True)
class Failing:
    """A consumer that fails, as of one failed attempt."""

    due: bool
    """Whether a line is due: for the first failure, and once a minute after that."""
    failures: int
    """Failed attempts since it worked."""
    tenants: int
    """Tenants whose message failed last."""
    seconds: float
    """Time since the first failure."""


@attrs.define
class _Outage:
    began_at: float
    logged_at: float | None = None
    failures: int = 0
    expected: dict[TenantId, float] = attrs.field(factory=dict)
    """By tenant whose message failed last: until when the next attempt is expected."""

    def forget(self, now: float) -> None:
        self.expected = {tenant_id: until for tenant_id, until in self.expected.items() if until > now}

    def goes_on(self, now: float) -> bool:
        """Return whether an attempt is still expected; as a rule, a look at the oldest one shows that."""
        while self.expected:
            tenant_id, until = next(iter(self.expected.items()))
            if until > now:
                return True
            del self.expected[tenant_id]
        return False


class ConsumerOutages:
    """The outages of this process's consumers. One ends when a message is handled and no failed one is left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds of a monotonic clock."""
        self._clock = clock
        self._outages: dict[ConsumerName, _Outage] = {}

    def failed(self, report: DeliveryReport) -> Failing:
        """Add a failed attempt at a message that is tried again."""
        now = self._clock()
        outage = self._outages.get(report.consumer.name)
        if outage is None or not outage.goes_on(now):  # one may end unseen, such as with a message that is given up
            outage = self._outages[report.consumer.name] = _Outage(now)
        pause = 0.0 if report.retry_after is None else report.retry_after.total_seconds()
        outage.failures += 1
        outage.expected.pop(report.message.tenant_id, None)  # the latest one comes last
        outage.expected[report.message.tenant_id] = now + pause + _LATE
        due = outage.logged_at is None or now - outage.logged_at >= _REPEATED
        if due:
            outage.logged_at = now
            outage.forget(now)
        return Failing(
            due=due, failures=outage.failures, tenants=len(outage.expected), seconds=round(now - outage.began_at, 1)
        )

    def settled(self, report: DeliveryReport) -> Failing | None:
        """Take note of any other end of an attempt; return the outage that it ends. Cheap while there is none."""
        outage = self._outages.get(report.consumer.name)
        if outage is None:
            return None
        now = self._clock()
        outage.expected.pop(report.message.tenant_id, None)
        if report.result != "handled" or outage.goes_on(now):
            return None
        del self._outages[report.consumer.name]
        return Failing(due=True, failures=outage.failures, tenants=0, seconds=round(now - outage.began_at, 1))
