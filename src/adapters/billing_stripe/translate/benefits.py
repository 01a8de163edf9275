"""Entitlements, subscription schedules, usage alerts and credit."""

from collections.abc import Iterable

from billing_core.events import Translation
from billing_core.model import EntitlementsSnapshot, Phase, PlannedItem, PriceId, ScheduleSnapshot, SubscriptionId
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import NO_CUSTOMER, UNREADABLE_OBJECT


def read_entitlements(seen: Reader) -> Translation:
    """Read all current features of a customer, which replace the earlier ones. The object is a list and has no id."""
    customer_id = seen.required("customer", seen.customer())
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    listed = seen.child("entitlements")
    if "data" not in listed:
        seen.note("entitlements")
    features = {key for row in listed.children("data") if (key := row.required("lookup_key", row.word("lookup_key")))}
    snapshot = EntitlementsSnapshot(
        customer_id=customer_id,
        features=tuple(sorted(features)),
        complete="data" in listed and not listed.flag("has_more"),
    )
    return Translation(customer_id=customer_id, snapshots=(snapshot,))


def read_schedule(seen: Reader) -> Translation:
    """Read planned changes of a subscription. The changes themselves arrive with the subscription's own events."""
    schedule_id = seen.required("id", seen.word("id"))
    status = seen.required("status", seen.word("status"))
    customer_id = seen.required("customer", seen.customer())
    if schedule_id is None or status is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    subscription_id = seen.reference("subscription") or seen.reference("released_subscription")
    snapshot = ScheduleSnapshot(
        schedule_id=schedule_id,
        subscription_id=None if subscription_id is None else SubscriptionId(subscription_id),
        status=status,
        phases=_coming_phases(seen),
    )
    return Translation(customer_id=customer_id, snapshots=(snapshot,))


def planned_items(rows: Iterable[Reader]) -> tuple[PlannedItem, ...]:
    """Read the prices that a subscription is going to bill; before 2020-08 as plans."""
    read = [
        PlannedItem(price_id=PriceId(price_id), quantity=row.integer("quantity"))
        for row in rows
        if (price_id := row.reference("price") or row.reference("plan")) is not None
    ]
    return tuple(sorted(read, key=lambda item: item.price_id))


def _coming_phases(seen: Reader) -> tuple[Phase, ...]:
    """Read the phases after the current one that bill something else than the phase before, and the end."""
    begun = seen.child("current_phase").instant("start_date")
    phases: list[Phase] = []
    before: tuple[PlannedItem, ...] | None = None
    last = None
    for row in seen.children("phases"):
        starts_at, last = row.instant("start_date"), row.instant("end_date")
        items = planned_items(row.children("items" if "items" in row else "plans"))
        if starts_at is not None and items and items != before and (begun is None or starts_at > begun):
            phases.append(Phase(starts_at=starts_at, items=items))
        before = items
    if last is not None and seen.word("end_behavior") == "cancel":
        phases.append(Phase(starts_at=last))
    return tuple(phases)


def read_customers_own(seen: Reader) -> Translation:
    """Read only the customer of an object."""
    customer_id = seen.required("customer", seen.customer())
    return Translation(ignored=NO_CUSTOMER) if customer_id is None else Translation(customer_id=customer_id)
