"""Planned changes of a subscription."""

from typing import ClassVar

import attrs

from billing_core.model.identifiers import SubscriptionId
from billing_core.model.ordering import Ordered


@attrs.frozen(kw_only=True)
class ScheduleSnapshot(Ordered):
    """A plan of future changes to a subscription. The subscription's own events report the changes themselves."""

    kind: ClassVar[str] = "schedule"

    schedule_id: str
    subscription_id: SubscriptionId | None = None
    status: str

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.schedule_id

    @property
    def precedence(self) -> int:
        """A schedule waits, then runs, then is over for good."""
        if self.status in ("released", "canceled", "completed"):
            return 2
        return 1 if self.status == "active" else 0
