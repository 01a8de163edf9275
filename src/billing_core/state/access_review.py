"""Tell tenants of access that changed without news, at an interval.

Any number of processes may do this at once: each tenant is locked while it is decided on, and its message is numbered
in the transaction that notes what the tenant was told.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import attrs

from billing_core.events import BillingEvent
from billing_core.model import AccessState
from billing_core.periodic import Periodic
from billing_core.state.service import BillingService


@attrs.frozen(kw_only=True)
class AccessReport:
    """The result of one review of all tenants that were due; also reported when none was."""

    reviewed: int = 0
    changed: Mapping[AccessState, int] = attrs.field(factory=dict)
    """Tenants that were told of another access, by the state that it is now."""


class AccessReviewer(Periodic[AccessReport]):
    """Reviews the access of tenants as they fall due, and publishes the messages."""

    def __init__(
        self,
        *,
        service: BillingService,
        every: timedelta,
        publish: Callable[[Sequence[BillingEvent]], None],
        observe: Callable[[AccessReport], None],
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._service = service
        self._publish = publish

    async def run_once(self) -> AccessReport:
        """Review all tenants that are due now."""
        reviewed, changed = 0, Counter[AccessState]()
        while not self._stopping.is_set() and (found := await self._service.review_access()).count:
            self._publish(found.events)
            reviewed += found.count
            changed.update(found.states)
        return AccessReport(reviewed=reviewed, changed=changed)
