"""Subscriptions. Until 2025-02-24 the subscription has the period, from 2025-03-31 on each item has its own."""

from collections.abc import Sequence

from billing_core.events import Translation
from billing_core.model import (
    CustomerId,
    ItemId,
    ItemSnapshot,
    Period,
    Phase,
    PriceId,
    SubscriptionId,
    SubscriptionSnapshot,
)
from billing_core.model.subscription import ENDED, UsageType
from billing_stripe.translate.benefits import planned_items
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import NO_CUSTOMER, UNREADABLE_OBJECT


def read_subscription(seen: Reader) -> Translation:
    """Read a subscription."""
    return _translation(seen, seen.required("status", seen.word("status")))


def read_deleted_subscription(seen: Reader) -> Translation:
    """Read a subscription that has ended: the type of the event says so, whatever the status of its object."""
    status = seen.word("status")
    return _translation(seen, status if status in ENDED else "canceled")


def usage_type_of(price: Reader) -> UsageType:
    """Return the usage type of a price or plan."""
    return _usage_type(_recurrence(price))


def _recurrence(price: Reader) -> Reader:
    """Return the object that says how a price recurs: `recurring` of it, a plan itself."""
    return price.child("recurring") if "recurring" in price else price


def _usage_type(place: Reader) -> UsageType:
    usage_type = place.word("usage_type")
    if usage_type == "metered":
        return "metered"
    if usage_type not in (None, "licensed"):
        place.note("usage_type")
    return "licensed"


def _translation(seen: Reader, status: str | None) -> Translation:
    subscription_id = seen.required("id", seen.word("id"))
    customer_id = seen.required("customer", seen.customer())
    if subscription_id is None or status is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    return Translation(
        customer_id=customer_id,
        tenant_hint=seen.tenant_in_metadata(),
        snapshots=(_snapshot(seen, SubscriptionId(subscription_id), customer_id, status),),
        began_at=seen.instant("created"),
    )


def _snapshot(
    seen: Reader, subscription_id: SubscriptionId, customer_id: CustomerId, status: str
) -> SubscriptionSnapshot:
    listed = seen.child("items")
    rows = listed.children("data")
    paused = "pause_collection" in seen
    cancellation = seen.child("cancellation_details")
    return SubscriptionSnapshot(
        subscription_id=subscription_id,
        customer_id=customer_id,
        status=status,
        items=_items(rows, seen),
        items_complete=_items_complete(seen, listed),
        currency=seen.required("currency", _currency(seen, rows)),
        cancel_at_period_end=seen.required("cancel_at_period_end", seen.flag("cancel_at_period_end")) or False,
        cancel_at=seen.instant("cancel_at"),
        canceled_at=seen.instant("canceled_at"),
        ended_at=seen.instant("ended_at"),
        trial_ends_at=seen.instant("trial_end"),
        collection_paused=paused,
        pause_behavior=seen.child("pause_collection").word("behavior") if paused else None,
        collection_method=seen.word("collection_method"),
        cancellation_reason=cancellation.word("reason"),
        cancellation_feedback=cancellation.word("feedback"),
        schedule_id=seen.reference("schedule"),
        test_clock=None if seen.flag("livemode") else seen.reference("test_clock"),
        payment_method_id=seen.reference("default_payment_method") or seen.reference("default_source"),
        pending_change=_pending_change(seen),
    )


def _pending_change(seen: Reader) -> Phase | None:
    """Read the items that an update sets once it is paid; one that changes no items is none."""
    if "pending_update" not in seen:
        return None
    items = planned_items(seen.child("pending_update").children("subscription_items"))
    return Phase(items=items) if items else None


def _items_complete(seen: Reader, listed: Reader) -> bool:
    """Tell whether the payload has all items; it shows the first ten."""
    if "data" not in listed:
        seen.note("items")
        return False
    return not listed.flag("has_more")


def _items(rows: Sequence[Reader], owner: Reader) -> tuple[ItemSnapshot, ...]:
    read = [item for row in rows if (item := _item(row, owner)) is not None]
    return tuple(sorted(read, key=_by_id)) if len(read) > 1 else tuple(read)


def _by_id(item: ItemSnapshot) -> str:
    return item.item_id


def _item(seen: Reader, owner: Reader) -> ItemSnapshot | None:
    item_id = seen.required("id", seen.word("id"))
    price = _price(seen)
    price_id = seen.required("price", price.word("id"))
    if item_id is None or price_id is None:
        return None
    recurrence = _recurrence(price)
    usage_type = _usage_type(recurrence)
    is_plan = "price" not in seen
    return ItemSnapshot(
        item_id=ItemId(item_id),
        price_id=PriceId(price_id),
        product_id=price.reference("product"),
        lookup_key=price.word("lookup_key"),
        usage_type=usage_type,
        quantity=None if usage_type == "metered" else seen.integer("quantity"),
        interval=recurrence.word("interval"),
        interval_count=recurrence.integer("interval_count"),
        unit_amount=price.integer("amount" if is_plan else "unit_amount"),
        unit_amount_decimal=price.fraction("amount_decimal" if is_plan else "unit_amount_decimal"),
        price_metadata=price.metadata(),
        period=_period(seen, owner),
    )


def _price(item: Reader) -> Reader:
    """Return the price of an item; before 2020-05 its plan, which later versions still show beside the price."""
    return item.child("price") if "price" in item else item.child("plan")


def _period(item: Reader, owner: Reader) -> Period | None:
    place = item if "current_period_end" in item else owner
    period = place.period("current_period_start", "current_period_end")
    return owner.required("current_period", period)


def _currency(seen: Reader, rows: Sequence[Reader]) -> str | None:
    """Return the currency: the subscription's own since 2022-08, before that the one of all its prices."""
    own = seen.currency("currency")
    if own is not None:
        return own
    return next((currency for row in rows if (currency := _price(row).currency("currency")) is not None), None)
