"""Planned changes of a subscription."""

from datetime import datetime
from typing import ClassVar, Literal

import attrs

from billing_core.model.identifiers import PriceId, SubscriptionId
from billing_core.model.ordering import Ordered
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class PlannedItem:
    """One price that a subscription is going to bill."""

    price_id: PriceId
    quantity: int | None = None


@attrs.frozen(kw_only=True)
class Phase:
    """The items of a subscription from an instant on; without items it ends."""

    starts_at: datetime | None = attrs.field(default=None, validator=aware)
    """None for a change that takes effect once it is paid."""
    items: tuple[PlannedItem, ...] = ()
    """Ordered by price, so that equal content is equal."""
    plan_code: str | None = None
    price_id: PriceId | None = None
    seat_count: int | None = None
    """The last three are our reading of the items, filled in by the plan catalog."""


@attrs.frozen(kw_only=True)
class ScheduledChange:
    """One thing that is going to happen to a subscription unless it is withdrawn."""

    kind: Literal["plan_change", "pending_update", "cancellation"]
    effective_at: datetime | None
    """None for a pending update: it takes effect once it is paid."""
    plan_code: str | None = None
    price_id: PriceId | None = None
    quantity: int | None = None


@attrs.frozen(kw_only=True)
class ScheduleSnapshot(Ordered):
    """A plan of future changes to a subscription. The subscription's own events report the changes themselves."""

    kind: ClassVar[str] = "schedule"

    schedule_id: str
    subscription_id: SubscriptionId | None = None
    status: str
    phases: tuple[Phase, ...] = ()
    """The phases that had not begun and differ from the one before them, in their order."""

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

    @property
    def planned(self) -> tuple[Phase, ...]:
        """The phases that are still to come; () once the schedule is over."""
        return self.phases if self.precedence < 2 else ()
