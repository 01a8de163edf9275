"""Parts of other objects that a subscription shows: the coming phases of its schedule, and what it is charged to.

Both are copied into the subscription. They are what the events known of all these objects say, in whatever order they
arrive: each of them is copied again when one of the objects changes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from billing_core.model import (
    CustomerSnapshot,
    PaymentMethodSnapshot,
    Phase,
    RecordSnapshot,
    ScheduleSnapshot,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantRecord,
)
from billing_core.state.shelf import Shelf

CopiedSnapshot = ScheduleSnapshot | PaymentMethodSnapshot | CustomerSnapshot
"""An object that subscriptions show a part of."""


class Copies:
    """Looks up what subscriptions show of other objects."""

    def __init__(self, customers: Shelf[TenantCustomer], records: Shelf[TenantRecord]) -> None:
        self._customers = customers
        self._records = records

    def complete(
        self, tenant_id: TenantId, seen: SubscriptionSnapshot, before: SubscriptionSnapshot | None
    ) -> SubscriptionSnapshot:
        """Return a subscription with what other objects' events say of it, as loaded, else as `before` shows it."""
        planned, method = self._planned(tenant_id, seen, before), self._method(tenant_id, seen, before)
        if seen.planned == planned and seen.payment_method == method:
            return seen
        return attrs.evolve(seen, planned=planned, payment_method=method)

    def follow(self, tenant_id: TenantId, held: SubscriptionSnapshot, changed: CopiedSnapshot) -> SubscriptionSnapshot:
        """Return a stored subscription of a tenant once another object changed. What else it shows is not loaded."""
        match changed:
            case ScheduleSnapshot() if changed.object_id == held.schedule_id:
                return attrs.evolve(held, planned=self._planned(tenant_id, held, held))
            case PaymentMethodSnapshot() if changed.object_id == self._charged_id(tenant_id, held, held):
                return attrs.evolve(held, payment_method=self._method(tenant_id, held, held))
            case CustomerSnapshot() if changed.customer_id == held.customer_id:
                return attrs.evolve(held, payment_method=self._method(tenant_id, held, held))
        return held

    def with_method(self, tenant_id: TenantId, answer: SubscriptionSnapshot) -> SubscriptionSnapshot:
        """Return an answer to an operation with what is known of what it is charged to, which it only names."""
        return attrs.evolve(answer, payment_method=self._method(tenant_id, answer, None) or answer.payment_method)

    def _planned(
        self, tenant_id: TenantId, seen: SubscriptionSnapshot, before: SubscriptionSnapshot | None
    ) -> tuple[Phase, ...]:
        schedule = self._record_of(tenant_id, seen.schedule_id)
        if isinstance(schedule, ScheduleSnapshot):
            return schedule.planned
        known = before is not None and seen.schedule_id is not None and before.schedule_id == seen.schedule_id
        return before.planned if before is not None and known else ()

    def _method(
        self, tenant_id: TenantId, seen: SubscriptionSnapshot, before: SubscriptionSnapshot | None
    ) -> PaymentMethodSnapshot | None:
        """Return what a subscription is charged to, if an event showed it; nothing once that was detached."""
        charged_id = self._charged_id(tenant_id, seen, before) if seen.charged else None
        method = self._record_of(tenant_id, charged_id)
        if not isinstance(method, PaymentMethodSnapshot):
            method = None if before is None else before.payment_method
            if method is None or method.payment_method_id != charged_id:
                return None
        return None if method.detached else method

    def _charged_id(
        self, tenant_id: TenantId, seen: SubscriptionSnapshot, before: SubscriptionSnapshot | None
    ) -> str | None:
        """Return the id of its own default payment method, else of its customer's.

        Where a customer pays for several tenants, its default is shown to its own tenant only.
        Source: https://docs.stripe.com/api/subscriptions/object#subscription_object-default_payment_method
        """
        if seen.payment_method_id is not None:
            return seen.payment_method_id
        customer = self._customers.get(seen.customer_id)
        if customer is not None:
            known = customer.snapshot if customer.tenant_id == tenant_id else None
            return None if known is None else known.payment_method_id
        copied = None if before is None or before.payment_method_id is not None else before.payment_method
        return None if copied is None else copied.payment_method_id

    def _record_of(self, tenant_id: TenantId, object_id: str | None) -> RecordSnapshot | None:
        """Return a record of the tenant, if it is loaded."""
        record = None if object_id is None else self._records.get(object_id)
        return None if record is None or record.tenant_id != tenant_id else record.snapshot


_NAMES: Final[Mapping[type, tuple[str, ...]]] = {
    SubscriptionSnapshot: ("schedule_id", "payment_method_id"),
    CustomerSnapshot: ("payment_method_id",),
}


def named_records(seen: object) -> Sequence[str]:
    """Return the ids of the records that a snapshot names and subscriptions show."""
    return [id_ for name in _NAMES.get(type(seen), ()) if (id_ := getattr(seen, name)) is not None]
