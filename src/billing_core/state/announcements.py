"""The event type and the English sentence that announce a change of state. Pure.

Sentences name the subject, say what happened to it, and give amount and date where there is one. `{name}` in a template
stands in mid-sentence ("plan pro", "an invoice"); `Announcement` capitalizes the first letter of the sentence.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from billing_core.events import BillingEventType as Type
from billing_core.events import Notice
from billing_core.frozen import frozen
from billing_core.model import (
    AccessGrant,
    AccessState,
    AccessVerdict,
    ChargeSnapshot,
    CreditNoteSnapshot,
    CustomerSnapshot,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceSnapshot,
    Money,
    RecordSnapshot,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from billing_core.payloads import payment_method_section, subscription_section


def _capitalized(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


@frozen
class Announcement:
    """One thing that became true: the type that a frontend switches on, and a sentence for people."""

    event_type: Type
    summary: str = attrs.field(converter=_capitalized)

    @property
    def is_update(self) -> bool:
        """Whether it says only that something changed: it is left out beside an occasion of the same object."""
        return self.event_type in (Type.SUBSCRIPTION_UPDATED, Type.INVOICE_UPDATED)


_Template = tuple[Type, str]

_SUBSCRIPTION_ENTERED: Final[Mapping[str, _Template]] = {
    "past_due": (Type.SUBSCRIPTION_PAST_DUE, "Payment for {name} is past due."),
    "unpaid": (Type.SUBSCRIPTION_UNPAID, "{name} is unpaid: every payment attempt failed."),
    "paused": (Type.SUBSCRIPTION_PAUSED, "{name} is paused."),
    "canceled": (Type.SUBSCRIPTION_CANCELED, "{name} ended."),
    "incomplete_expired": (Type.SUBSCRIPTION_EXPIRED, "{name} expired because its first payment was not made."),
}
"""By the status that a subscription entered."""

_SUBSCRIPTION_LEFT: Final[Mapping[str, _Template]] = {
    "past_due": (Type.SUBSCRIPTION_RECOVERED, "Payments for {name} are up to date again."),
    "unpaid": (Type.SUBSCRIPTION_RECOVERED, "Payments for {name} are up to date again."),
    "paused": (Type.SUBSCRIPTION_RESUMED, "{name} was resumed."),
}
"""By the status that a subscription left when it became active."""

_INVOICE_ENTERED: Final[Mapping[str, _Template]] = {
    "draft": (Type.INVOICE_CREATED, "{name} is being prepared."),
    "open": (Type.INVOICE_FINALIZED, "{name} for {due} {is_collected}."),
    "paid": (Type.INVOICE_PAID, "{name} for {paid} was paid."),
    "void": (Type.INVOICE_VOIDED, "{name} for {due} was voided and no longer needs to be paid."),
    "uncollectible": (Type.INVOICE_UNCOLLECTIBLE, "{name} was written off; {remaining} remains unpaid."),
    "deleted": (Type.INVOICE_DELETED, "{name} was deleted before it was sent."),
}
"""By the status that an invoice entered. The total of a draft may still change, so its sentences have none.

Where a credit balance covers a part, what is due and paid is less than the total.
"""

_NOTHING_DUE: Final[Mapping[str, _Template]] = {
    "open": (Type.INVOICE_FINALIZED, "{name} was issued; nothing is due."),
    "paid": (Type.INVOICE_PAID, "{name} was settled without a payment."),
    "void": (Type.INVOICE_VOIDED, "{name} was voided; nothing was due."),
}
"""The same for an invoice that a credit balance covers, or that charges nothing."""

_BY_INVOICE: Final = {"send_invoice": "paid by invoice"}
_COLLECTED: Final = {"charge_automatically": "charged automatically", **_BY_INVOICE}
"""By collection method."""
_INTERVALS: Final[Mapping[str, str]] = {"day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}

_ACCESS: Final[Mapping[AccessState, str]] = {
    AccessState.FULL: "full",
    AccessState.GRACE: "full, in a grace period",
    AccessState.READ_ONLY: "read-only",
    AccessState.BLOCKED: "blocked",
}

LINKED: Final = Announcement(Type.CUSTOMER_LINKED, "The billing account was connected.")
UNLINKED: Final = Announcement(Type.CUSTOMER_UNLINKED, "The billing account was disconnected.")
SUBSCRIPTION_UNLINKED: Final = Announcement(Type.SUBSCRIPTION_UNLINKED, "A subscription was disconnected.")
WITHDRAWN: Final = Announcement(Type.WITHDRAWN, "This message was withdrawn.")

_NOTICES: Final[Mapping[Notice, str]] = {
    Notice.TRIAL_ENDING: "The trial ends soon.",
    Notice.ACTION_REQUIRED: "A payment requires the customer's confirmation.",
    Notice.OVERDUE: "An invoice is overdue.",
    Notice.UPCOMING: "An invoice will be created soon.",
    Notice.USAGE_THRESHOLD_REACHED: "Usage reached an alert threshold.",
}


def access_announcement(verdict: AccessVerdict) -> Announcement:
    """Announce access that is another one although nothing else happened."""
    reason = verdict.reason.value.replace("_", " ")
    until = f" until {verdict.until:%Y-%m-%d}" if verdict.until else ""
    return Announcement(Type.ACCESS_CHANGED, f"Access is {_ACCESS[verdict.state]}{until} ({reason}).")


def grant_announcement(grant: AccessGrant) -> Announcement:
    """Announce a grant that was made or revoked."""
    if grant.revoked_at is not None:
        return Announcement(Type.GRANT_REVOKED, f"The grant of plan {grant.plan_code} was revoked.")
    until = f" until {grant.until:%Y-%m-%d}" if grant.until else ""
    return Announcement(Type.GRANT_ADDED, f"Plan {grant.plan_code} was granted{until}.")


def _filled_in(template: _Template, **values: str) -> Announcement:
    event_type, sentence = template
    return Announcement(event_type, sentence.format(**values))


def notice_announcement(notice: Notice, seen: SubscriptionSnapshot | InvoiceSnapshot | None = None) -> Announcement:
    """Announce a notice, by the object as its event shows it, if it shows one."""
    match notice, seen:
        case Notice.TRIAL_ENDING, SubscriptionSnapshot(trial_ends_at=end) if end is not None:
            sentence = f"The trial of {_plan(seen)} ends on {end:%Y-%m-%d}."
        case Notice.ACTION_REQUIRED, InvoiceSnapshot():
            amount = _amount(seen.amount_remaining, seen.currency)
            sentence = f"The {amount} payment for {_named(seen)} requires the customer's confirmation."
        case Notice.OVERDUE, InvoiceSnapshot():
            since = f" since {seen.due_at:%Y-%m-%d}" if seen.due_at else ""
            owed = _amount(seen.amount_remaining, seen.currency)
            sentence = f"{_named(seen)} is overdue{since}; {owed} is still owed."
        case _:
            sentence = _NOTICES[notice]
    return Announcement(notice.value, sentence)


# --- Subscriptions ------------------------------------------------------------------------------------------------


def departure_announcement(before: SubscriptionSnapshot) -> Announcement:
    """Return the news that a subscription was moved to another product of the account, which is not ours."""
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"{_plan(before)} was replaced by another product.")


def subscription_announcement(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> Announcement | None:
    """Announce the most important difference between two snapshots of a subscription; None if no message shows one."""
    if before == after:
        return None
    if before is None or before.status != after.status:
        return _subscription_status_announcement(before, after)
    for announce in _SUBSCRIPTION_CHANGES:
        if (change := announce(before, after)) is not None:
            return change
    # Compared last: building two sections costs more than everything before.
    if subscription_section(before) == subscription_section(after):
        return None
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"{_plan(after)} was updated.")


def visible_announcement(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> Announcement | None:
    """Announce the same to a tenant that does not see what is out of scope."""
    seen = None if before is None or before.out_of_scope else before
    if after.out_of_scope:
        return None if seen is None or seen.ended else departure_announcement(seen)
    return subscription_announcement(seen, after)


def renewal(seen: SubscriptionSnapshot, start: datetime, end: datetime | None) -> Announcement:
    """Announce that a new period of a subscription began."""
    span = f"from {start:%Y-%m-%d}" + (f" until {end:%Y-%m-%d}" if end else "")
    return Announcement(Type.SUBSCRIPTION_RENEWED, f"{_plan(seen)} was renewed {span}.")


def subscription_linked(seen: SubscriptionSnapshot) -> Announcement:
    """Announce that a subscription came from another tenant."""
    return Announcement(Type.SUBSCRIPTION_LINKED, f"{_plan(seen)} was connected.")


def rated_announcement(seen: SubscriptionSnapshot) -> Announcement:
    """Announce that invoice lines turned out to bill usage of a subscription, when nothing else changed."""
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"Usage billed for {_plan(seen)} was identified.")


def _plan(seen: SubscriptionSnapshot) -> str:
    return f"plan {seen.plan_code}" if seen.plan_code else "the subscription"


def _subscription_status_announcement(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> Announcement:
    terms = [after.status, *filter(None, (_interval(after), _BY_INVOICE.get(after.collection_method or "")))]
    return _filled_in(
        _subscription_template(before, after), name=_plan(after), status=after.status, terms=", ".join(terms)
    )


def _subscription_template(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> _Template:
    if after.status in _SUBSCRIPTION_ENTERED:
        return _SUBSCRIPTION_ENTERED[after.status]
    if before is None:
        return (Type.SUBSCRIPTION_CREATED, "{name} started ({terms}).")
    if after.status == "active":
        return _SUBSCRIPTION_LEFT.get(before.status, (Type.SUBSCRIPTION_ACTIVATED, "{name} is active."))
    return (Type.SUBSCRIPTION_UPDATED, "The status of {name} changed to {status}.")


def _plan_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.plan_code == after.plan_code and before.price_id == after.price_id:
        return None
    former, current = _interval(before), _interval(after)
    if before.plan_code != after.plan_code or (former and current and former != current):
        differ = former != current
        origin = f" from {_with_interval(before.plan_code, former if differ else '')}" if before.plan_code else ""
        target = _with_interval(after.plan_code or "one that is not in the catalog", current if differ else "")
        return Announcement(Type.SUBSCRIPTION_PLAN_CHANGED, f"The plan changed{origin} to {target}.")
    return Announcement(
        Type.SUBSCRIPTION_PLAN_CHANGED, f"The price of {_plan(after)} changed{_amounts(before, after)}."
    )


def _with_interval(plan_code: str, interval: str) -> str:
    return f"{plan_code} ({interval})" if interval else plan_code


def _interval(seen: SubscriptionSnapshot) -> str:
    """Return how often the plan is billed, such as `monthly` or `every 3 months`; empty if that is unknown."""
    plan = seen.plan_item
    if plan is None or plan.interval is None:
        return ""
    if plan.interval_count in (None, 1):
        return _INTERVALS.get(plan.interval, f"every {plan.interval}")
    return f"every {plan.interval_count} {plan.interval}s"


def _amounts(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> str:
    """Say from which unit amount to which a price changed, if both have one."""
    known = [
        _amount(plan.unit_amount, seen.currency)
        for seen in (before, after)
        if (plan := seen.plan_item) is not None and plan.unit_amount is not None and seen.currency is not None
    ]
    return f" from {known[0]} to {known[1]}" if len(known) == 2 else ""


def _seat_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.seat_count == after.seat_count:
        return None
    former, current = before.seat_count or "none", after.seat_count or "none"
    seats = f"The seat count of {_plan(after)} changed from {former} to {current}."
    return Announcement(Type.SUBSCRIPTION_SEATS_CHANGED, seats)


def _cancellation_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.cancellation_scheduled == after.cancellation_scheduled:
        return None
    if not after.cancellation_scheduled:
        return Announcement(Type.SUBSCRIPTION_CANCELLATION_WITHDRAWN, f"{_plan(after)} will continue.")
    end = after.cancel_at or after.current_period_end
    on_date = f" on {end:%Y-%m-%d}" if end else ""
    return Announcement(Type.SUBSCRIPTION_CANCELLATION_SCHEDULED, f"{_plan(after)} will end{on_date}.")


def _scheduled_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    known, planned = (
        [change for change in seen.scheduled_changes if change.kind != "cancellation"] for seen in (before, after)
    )
    new = next((change for change in planned if change not in known), None)
    if new is None:
        if known == planned:
            return None
        return Announcement(Type.SUBSCRIPTION_UPDATED, f"A scheduled change of {_plan(after)} was withdrawn.")
    when = f"on {new.effective_at:%Y-%m-%d}" if new.effective_at else "once the change is paid"
    if new.plan_code is not None and new.plan_code != after.plan_code:
        planned_change = f"{_plan(after)} will change to {new.plan_code} {when}."
    elif new.quantity is not None and new.quantity != after.seat_count and new.price_id == after.price_id:
        planned_change = f"The seat count of {_plan(after)} will change to {new.quantity} {when}."
    else:
        planned_change = f"The price of {_plan(after)} will change {when}."
    return Announcement(Type.SUBSCRIPTION_PLAN_CHANGE_SCHEDULED, planned_change)


def _collection_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.collection_paused == after.collection_paused:
        return None
    if after.collection_paused:
        return Announcement(Type.SUBSCRIPTION_PAUSED, f"Payment collection for {_plan(after)} is paused.")
    return Announcement(Type.SUBSCRIPTION_RESUMED, f"Payment collection for {_plan(after)} was resumed.")


def _payment_method_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    seen = after.payment_method
    if seen is None or not seen.last4:
        return None
    # A card that is entered again is another payment method, with all that is shown of it the same.
    if payment_method_section(before.payment_method) == payment_method_section(seen):
        return None
    expires = f", which expires in {seen.exp_month:02}/{seen.exp_year}" if seen.exp_month and seen.exp_year else ""
    method = f"the {seen.brand or seen.type or 'account'} ending in {seen.last4}{expires}"
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"{_plan(after)} is charged to {method}.")


def _collection_method_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.collection_method == after.collection_method or after.collection_method not in _COLLECTED:
        return None
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"{_plan(after)} is now {_COLLECTED[after.collection_method]}.")


def _period_change(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    old, new = before.current_period_end, after.current_period_end
    if new is None or old == new:
        return None
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"The current period of {_plan(after)} ends on {new:%Y-%m-%d}.")


_SubscriptionChange = Callable[[SubscriptionSnapshot, SubscriptionSnapshot], Announcement | None]
_SUBSCRIPTION_CHANGES: Final[tuple[_SubscriptionChange, ...]] = (
    _plan_change,
    _seat_change,
    _cancellation_change,
    _scheduled_change,
    _collection_change,
    _collection_method_change,
    _payment_method_change,
    _period_change,
)
"""The most important one first."""


# --- Invoices -----------------------------------------------------------------------------------------------------


def invoice_announcement(before: InvoiceSnapshot | None, after: InvoiceSnapshot) -> Announcement | None:
    """Announce the most important difference between two snapshots of an invoice; None if they are equal."""
    if before == after:
        return None
    if before is None or before.status != after.status:
        return _invoice_status_announcement(after)
    if before.amount_paid < after.amount_paid and after.outstanding:
        paid, owed = after.amount_paid - before.amount_paid, after.amount_remaining
        remains = f"{_amount(owed, after.currency)} remains to be paid"
        part = f"{_amount(paid, after.currency)} of {_named(after)} was paid; {remains}."
        return Announcement(Type.INVOICE_UPDATED, part)
    return Announcement(Type.INVOICE_UPDATED, f"{_named(after)} was updated.")


def usage_announcement(seen: InvoiceSnapshot) -> Announcement:
    """Announce that an invoice's stored usage was corrected to what its lines say, when nothing else changed."""
    return Announcement(Type.INVOICE_UPDATED, f"The billed usage of {_named(seen)} was corrected.")


def billed_announcement(seen: InvoiceSnapshot) -> Announcement:
    """Announce that an invoice turned out to bill usage, when nothing else changed."""
    return Announcement(Type.INVOICE_UPDATED, f"Usage billed by {_named(seen)} was identified.")


def _named(seen: InvoiceSnapshot) -> str:
    return f"invoice {seen.number}" if seen.number else "an invoice"


def payment_failure(seen: InvoiceSnapshot) -> Announcement:
    """Announce that a payment failed, by the invoice as the event of the failure shows it."""
    amount, retry = _amount(seen.amount_remaining, seen.currency), seen.next_payment_attempt_at
    next_attempt = f" The next attempt is on {retry:%Y-%m-%d}." if retry else ""
    failed = f"The {amount} payment for {_named(seen)} failed.{next_attempt}"
    return Announcement(Type.INVOICE_PAYMENT_FAILED, failed)


def _invoice_status_announcement(seen: InvoiceSnapshot) -> Announcement:
    paid = seen.amount_paid or seen.amount_due
    templates = _INVOICE_ENTERED if paid or seen.amount_remaining else {**_INVOICE_ENTERED, **_NOTHING_DUE}
    return _filled_in(
        templates.get(seen.status, (Type.INVOICE_UPDATED, "The status of {name} changed to {status}.")),
        name=_named(seen),
        status=seen.status,
        due=_amount(seen.amount_due, seen.currency),
        paid=_amount(paid, seen.currency),
        remaining=_amount(seen.amount_remaining, seen.currency),
        is_collected=_is_collected(seen),
    )


def _is_collected(seen: InvoiceSnapshot) -> str:
    """Say when an invoice has to be paid, or that nothing has to be done for it."""
    if seen.due_at is not None:
        return f"is due on {seen.due_at:%Y-%m-%d}"
    return "will be charged automatically" if seen.collection_method == "charge_automatically" else "is due"


# --- Customers and records ----------------------------------------------------------------------------------------


def customer_announcement(before: CustomerSnapshot | None, after: CustomerSnapshot) -> Announcement | None:
    """Announce that a customer was deleted. Its other changes, names and addresses, were made by the tenant itself."""
    if after.deleted and not (before and before.deleted):
        return Announcement(Type.CUSTOMER_DELETED, "The billing account was deleted at the payment provider.")
    return None


def record_announcement(before: RecordSnapshot | None, after: RecordSnapshot) -> Announcement | None:
    """Announce a record's change to its tenant; None if the change is no news.

    A refund is announced once, by its charge: the refund's own events repeat that, unless it fails.
    """
    announce = _ANNOUNCED_RECORDS.get(type(after))
    return None if announce is None else announce(before if type(before) is type(after) else None, after)


def _charge_announcement(before: ChargeSnapshot | None, after: ChargeSnapshot) -> Announcement | None:
    if after.amount_refunded <= (before.amount_refunded if before else 0):
        return None
    refunded, paid = _amount(after.amount_refunded, after.currency), _amount(after.amount, after.currency)
    return Announcement(Type.INVOICE_REFUNDED, f"{refunded} of the {paid} payment was refunded.")


def _refund_announcement(before: RefundSnapshot | None, after: RefundSnapshot) -> Announcement | None:
    if not after.fell_through or (before is not None and before.fell_through):
        return None
    amount = _amount(after.amount, after.currency)
    return Announcement(Type.INVOICE_REFUNDED, f"The {amount} refund did not go through.")


def _dispute_announcement(before: DisputeSnapshot | None, after: DisputeSnapshot) -> Announcement | None:
    amount = _amount(after.amount, after.currency)
    if after.closed and (before is None or before.status != after.status):
        return Announcement(Type.INVOICE_DISPUTE_CLOSED, f"The {amount} dispute was closed ({after.status}).")
    return Announcement(Type.INVOICE_DISPUTED, f"A {amount} payment was disputed.") if before is None else None


def _credit_note_announcement(before: CreditNoteSnapshot | None, after: CreditNoteSnapshot) -> Announcement | None:
    amount = _amount(after.amount, after.currency)
    if after.voided:
        announced = before is not None and before.voided
        return None if announced else Announcement(Type.INVOICE_CREDITED, f"The credit note for {amount} was voided.")
    if before is not None and before.amount == after.amount:
        return None
    return Announcement(Type.INVOICE_CREDITED, f"{amount} was credited.")


def _entitlements_announcement(before: EntitlementsSnapshot | None, after: EntitlementsSnapshot) -> Announcement | None:
    known = before.features if before else ()
    return None if known == after.features else Announcement(Type.ENTITLEMENTS_UPDATED, _features(after))


_ANNOUNCED_RECORDS: Final[Mapping[type, Callable[[Any, Any], Announcement | None]]] = {
    ChargeSnapshot: _charge_announcement,
    RefundSnapshot: _refund_announcement,
    DisputeSnapshot: _dispute_announcement,
    CreditNoteSnapshot: _credit_note_announcement,
    EntitlementsSnapshot: _entitlements_announcement,
}
"""By kind of record; the other kinds are no news for a tenant."""


def _features(seen: EntitlementsSnapshot) -> str:
    if not seen.features:
        return "The billing account no longer includes any features."
    return f"The billing account includes these features: {', '.join(seen.features)}."


def _amount(amount: int, currency: str) -> str:
    return str(Money(amount=amount, currency=currency))
