"""Renewals: a new period of a subscription that is paid for, or by mail, that has begun."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from billing_core.events import BillingEventType as Type
from billing_core.events import Translation
from billing_core.model import BY_MAIL, InvoiceLine, InvoiceSnapshot, ItemSnapshot, PlanCatalog, SubscriptionSnapshot
from billing_core.state.announcements import renewal
from billing_core.state.occasions import Occasion, key_of

_FIRST: Final = frozenset({"subscription_create", "quote_accept"})
"""Why an invoice of a subscription's first period was created."""


def renewals_by_mail(translation: Translation) -> Sequence[Occasion]:
    """Return the renewals of shown subscriptions whose invoices are paid by the customer.

    The money comes weeks later; Stripe moves the period without waiting for it.
    """
    shown = (seen for seen in translation.snapshots if isinstance(seen, SubscriptionSnapshot))
    return [found for seen in shown if (found := _by_mail(seen, translation.began_at)) is not None]


def _by_mail(seen: SubscriptionSnapshot, began_at: datetime | None) -> Occasion | None:
    if seen.collection_method != BY_MAIL or seen.status != "active" or began_at is None:
        return None
    base = _base_item(seen)
    if base is None or base.period is None or base.period.start <= began_at:
        return None
    return _renewed(seen, base.period.start, base.period.end)


def renewal_by_payment(known: SubscriptionSnapshot, invoice: InvoiceSnapshot, catalog: PlanCatalog) -> Occasion | None:
    """Return the renewal that a paid invoice of a subscription stands for, where payments are collected.

    It is the period of the regular line that bills the plan: a proration, an add-on or a meter is no renewal. Stripe
    finalizes the invoice about an hour after the period began.
    """
    if invoice.status != "paid" or invoice.collection_method == BY_MAIL or invoice.billing_reason in _FIRST:
        return None
    base = _base_item(known)
    if base is None:
        return None
    lines = [line for line in invoice.lines if not line.proration and _bills_plan(line, base, catalog)]
    periods = [line.period for line in lines if line.period is not None]
    if not periods:
        return None
    latest = max(periods, key=lambda period: period.start)
    if base.usage_type == "licensed":
        return _renewed(known, latest.start, latest.end)
    # Usage is billed for the period that ended: the next one began there.
    shown = base.period if base.period is not None and base.period.start == latest.end else None
    return _renewed(known, latest.end, None if shown is None else shown.end)


def has_new_items(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> bool:
    """Tell whether a subscription shows items that were not known, which invoices that came earlier may bill."""
    known = set() if before is None else {item.item_id for item in before.items}
    return not known.issuperset([item.item_id for item in after.items])


def _renewed(known: SubscriptionSnapshot, start: datetime, end: datetime | None) -> Occasion | None:
    """Return a renewal, unless the period is a trial or the first one after it."""
    if known.trial_ends_at is not None and start <= known.trial_ends_at:
        return None
    return Occasion(
        key=key_of(Type.SUBSCRIPTION_RENEWED, known.subscription_id, start),
        announcement=renewal(known, start, end),
        object_id=known.subscription_id,
        at=start,
        until=end,
    )


def _base_item(seen: SubscriptionSnapshot) -> ItemSnapshot | None:
    return next((item for item in seen.items if item.price_id == seen.price_id), None)


def _bills_plan(line: InvoiceLine, base: ItemSnapshot, catalog: PlanCatalog) -> bool:
    """Tell whether a line bills the plan: by its price, and where that is not mapped, by the subscription's item."""
    names_plan = catalog.names_plan(line)
    if names_plan is not None:
        return names_plan
    if line.subscription_item_id is not None:
        return line.subscription_item_id == base.item_id
    return line.price_id == base.price_id


def keys_of_payment(invoice: InvoiceSnapshot) -> set[str]:
    """Return the keys of all renewals that an invoice may stand for."""
    if invoice.status != "paid" or invoice.subscription_id is None:
        return set()
    periods = [line.period for line in invoice.lines if line.period is not None and not line.proration]
    starts = {instant for period in periods for instant in (period.start, period.end)}
    return {key_of(Type.SUBSCRIPTION_RENEWED, invoice.subscription_id, start) for start in starts}
