"""What a change of state means: the event type a frontend switches on, and one sentence for a human. Pure."""

from collections.abc import Mapping

import attrs

from billing_core.events import BillingEventType as Type
from billing_core.events import Notice
from billing_core.model import (
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


@attrs.frozen
class Fact:
    """One thing that became true."""

    event_type: Type
    summary: str


_SUBSCRIPTION_ENTERED: Mapping[str, Fact] = {
    "past_due": Fact(Type.SUBSCRIPTION_PAST_DUE, "Payment of {name} is past due."),
    "unpaid": Fact(Type.SUBSCRIPTION_UNPAID, "{name} is unpaid: every payment attempt failed."),
    "paused": Fact(Type.SUBSCRIPTION_PAUSED, "{name} is paused."),
    "canceled": Fact(Type.SUBSCRIPTION_CANCELED, "{name} ended."),
    "incomplete_expired": Fact(Type.SUBSCRIPTION_EXPIRED, "{name} expired: its first payment was never made."),
}

_SUBSCRIPTION_LEFT: Mapping[str, Fact] = {
    "past_due": Fact(Type.SUBSCRIPTION_RECOVERED, "{name} is paid up again."),
    "unpaid": Fact(Type.SUBSCRIPTION_RECOVERED, "{name} is paid up again."),
    "paused": Fact(Type.SUBSCRIPTION_RESUMED, "{name} is running again."),
}
"""By the status that was left, for a subscription that is active now."""

_INVOICE_ENTERED: Mapping[str, Fact] = {
    "draft": Fact(Type.INVOICE_CREATED, "{name} is being prepared."),
    "open": Fact(Type.INVOICE_FINALIZED, "{name} over {total} is due."),
    "paid": Fact(Type.INVOICE_PAID, "{name} over {total} is paid."),
    "void": Fact(Type.INVOICE_VOIDED, "{name} was voided: nothing is owed."),
    "uncollectible": Fact(Type.INVOICE_UNCOLLECTIBLE, "{name} was written off."),
    "deleted": Fact(Type.INVOICE_DELETED, "{name} was deleted before it was sent."),
}


def subscription_fact(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> Fact | None:
    """The most telling difference between two snapshots of a subscription; None when there is none."""
    if before == after:
        return None
    fact = _subscription_fact(before, after)
    return Fact(fact.event_type, fact.summary.replace("{name}", _name(after)))


def _name(seen: SubscriptionSnapshot) -> str:
    return f"Plan {seen.plan_code}" if seen.plan_code else "The subscription"


def _subscription_fact(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> Fact:
    if before is None:
        started = Fact(Type.SUBSCRIPTION_CREATED, f"{{name}} started, {after.status}.")
        return _SUBSCRIPTION_ENTERED.get(after.status, started)
    if before.status != after.status:
        return _subscription_status_fact(before, after)
    for difference in (_plan_fact, _cancellation_fact, _collection_fact, _renewal_fact):
        fact = difference(before, after)
        if fact is not None:
            return fact
    return Fact(Type.SUBSCRIPTION_UPDATED, "{name} was updated.")


def _plan_fact(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Fact | None:
    if before.plan_code != after.plan_code or before.price_id != after.price_id:
        return Fact(Type.SUBSCRIPTION_PLAN_CHANGED, f"{{name}} replaces {before.plan_code or 'the former plan'}.")
    if before.seat_count != after.seat_count:
        seats = f"{{name}} has {after.seat_count} seats instead of {before.seat_count}."
        return Fact(Type.SUBSCRIPTION_SEATS_CHANGED, seats)
    return None


def _cancellation_fact(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Fact | None:
    if before.cancellation_scheduled == after.cancellation_scheduled:
        return None
    if not after.cancellation_scheduled:
        return Fact(Type.SUBSCRIPTION_CANCELLATION_WITHDRAWN, "{name} will go on.")
    end = after.cancel_at or after.current_period_end
    return Fact(Type.SUBSCRIPTION_CANCELLATION_SCHEDULED, f"{{name}} will end{f' on {end:%Y-%m-%d}' if end else ''}.")


def _collection_fact(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Fact | None:
    if before.collection_paused == after.collection_paused:
        return None
    if after.collection_paused:
        return Fact(Type.SUBSCRIPTION_PAUSED, "{name} goes on without collecting payment.")
    return Fact(Type.SUBSCRIPTION_RESUMED, "{name} collects payment again.")


def _renewal_fact(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Fact | None:
    old, new = before.current_period_end, after.current_period_end
    if old is None or new is None or new <= old:
        return None
    return Fact(Type.SUBSCRIPTION_RENEWED, f"{{name}} renewed until {new:%Y-%m-%d}.")


def _subscription_status_fact(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Fact:
    entered = _SUBSCRIPTION_ENTERED.get(after.status)
    if entered is not None:
        return entered
    if after.status == "active":
        return _SUBSCRIPTION_LEFT.get(before.status) or Fact(Type.SUBSCRIPTION_ACTIVATED, "{name} is active.")
    return Fact(Type.SUBSCRIPTION_UPDATED, f"{{name}} is {after.status}.")


def rated_fact(seen: SubscriptionSnapshot) -> Fact:
    """What is said when it becomes known that invoices have billed usage, and nothing else changed."""
    return Fact(Type.SUBSCRIPTION_UPDATED, f"{_name(seen)} has billed usage that is known now.")


def usage_fact(seen: InvoiceSnapshot) -> Fact:
    """What is said when the billed usage of an invoice was not what its lines say, and nothing else changed."""
    name = f"Invoice {seen.number}" if seen.number else "an invoice"
    return Fact(Type.INVOICE_UPDATED, f"The billed usage of {name} was put right.")


def invoice_fact(before: InvoiceSnapshot | None, after: InvoiceSnapshot) -> Fact | None:
    """The most telling difference between two snapshots of an invoice; None when there is none."""
    if before == after:
        return None
    fact = _invoice_fact(before, after)
    name = f"Invoice {after.number}" if after.number else "An invoice"
    total = str(Money(amount=after.total, currency=after.currency))
    return Fact(fact.event_type, fact.summary.replace("{name}", name).replace("{total}", total))


def _invoice_fact(before: InvoiceSnapshot | None, after: InvoiceSnapshot) -> Fact:
    failed = after.precedence == 1 and after.attempt_count > (before.attempt_count if before else 0)
    if failed and after.amount_remaining > 0:
        retry = after.next_payment_attempt_at
        again = f" The next attempt is on {retry:%Y-%m-%d}." if retry else ""
        return Fact(Type.INVOICE_PAYMENT_FAILED, f"Payment of {{name}} over {{total}} failed.{again}")
    if before is None or before.status != after.status:
        return _INVOICE_ENTERED.get(after.status) or Fact(Type.INVOICE_UPDATED, f"{{name}} is {after.status}.")
    return Fact(Type.INVOICE_UPDATED, "{name} was updated.")


def customer_fact(before: CustomerSnapshot | None, after: CustomerSnapshot) -> Fact | None:
    """Only the end of a customer concerns its tenant; names and addresses are the tenant's own doing."""
    if after.deleted and not (before and before.deleted):
        return Fact(Type.CUSTOMER_DELETED, "The billing account was deleted at the payment provider.")
    return None


def record_fact(before: RecordSnapshot | None, after: RecordSnapshot) -> Fact | None:
    """What the tenant should hear of a record's change; None where it learns nothing new.

    A refund is told once, by its charge: the refund's own events say the same, except when it falls through.
    """
    match after:
        case ChargeSnapshot():
            return _charge_fact(before if isinstance(before, ChargeSnapshot) else None, after)
        case RefundSnapshot():
            return _refund_fact(before if isinstance(before, RefundSnapshot) else None, after)
        case DisputeSnapshot():
            return _dispute_fact(before if isinstance(before, DisputeSnapshot) else None, after)
        case CreditNoteSnapshot():
            return _credit_note_fact(before if isinstance(before, CreditNoteSnapshot) else None, after)
        case EntitlementsSnapshot():
            known = before.features if isinstance(before, EntitlementsSnapshot) else ()
            return None if known == after.features else Fact(Type.ENTITLEMENTS_UPDATED, _features(after))
        case _:
            return None


def _charge_fact(before: ChargeSnapshot | None, after: ChargeSnapshot) -> Fact | None:
    if after.amount_refunded <= (before.amount_refunded if before else 0):
        return None
    given, paid = _amount(after.amount_refunded, after.currency), _amount(after.amount, after.currency)
    return Fact(Type.INVOICE_REFUNDED, f"{given} of {paid} was refunded.")


def _refund_fact(before: RefundSnapshot | None, after: RefundSnapshot) -> Fact | None:
    if not after.fell_through or (before is not None and before.fell_through):
        return None
    return Fact(Type.INVOICE_REFUNDED, f"The refund of {_amount(after.amount, after.currency)} did not go through.")


def _dispute_fact(before: DisputeSnapshot | None, after: DisputeSnapshot) -> Fact | None:
    amount = _amount(after.amount, after.currency)
    if after.closed and (before is None or before.status != after.status):
        return Fact(Type.INVOICE_DISPUTE_CLOSED, f"The dispute over {amount} was closed: {after.status}.")
    return Fact(Type.INVOICE_DISPUTED, f"A payment of {amount} is disputed.") if before is None else None


def _credit_note_fact(before: CreditNoteSnapshot | None, after: CreditNoteSnapshot) -> Fact | None:
    amount = _amount(after.amount, after.currency)
    if after.voided:
        told = before is not None and before.voided
        return None if told else Fact(Type.INVOICE_CREDITED, f"The credit note over {amount} was voided.")
    if before is not None and before.amount == after.amount:
        return None
    return Fact(Type.INVOICE_CREDITED, f"{amount} was credited.")


def _features(seen: EntitlementsSnapshot) -> str:
    return f"Included features: {', '.join(seen.features)}." if seen.features else "No features are included any more."


def _amount(amount: int, currency: str) -> str:
    return str(Money(amount=amount, currency=currency))


LINKED = Fact(Type.CUSTOMER_LINKED, "The billing account was connected.")

_NOTICES: Mapping[Notice, str] = {
    Notice.TRIAL_ENDING: "The trial ends soon.",
    Notice.ACTION_REQUIRED: "A payment needs the customer's confirmation.",
    Notice.OVERDUE: "An invoice is overdue.",
    Notice.UPCOMING: "An invoice will be made soon.",
    Notice.USAGE_THRESHOLD_REACHED: "Usage reached a threshold that is watched.",
}


def notice_fact(notice: Notice) -> Fact:
    """What a notice says when no state changed with it."""
    return Fact(notice.value, _NOTICES[notice])
