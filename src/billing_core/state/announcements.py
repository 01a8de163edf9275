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
class Announcement:
    """One thing that became true."""

    event_type: Type
    summary: str


_SUBSCRIPTION_ENTERED: Mapping[str, Announcement] = {
    "past_due": Announcement(Type.SUBSCRIPTION_PAST_DUE, "Payment of {name} is past due."),
    "unpaid": Announcement(Type.SUBSCRIPTION_UNPAID, "{name} is unpaid: every payment attempt failed."),
    "paused": Announcement(Type.SUBSCRIPTION_PAUSED, "{name} is paused."),
    "canceled": Announcement(Type.SUBSCRIPTION_CANCELED, "{name} ended."),
    "incomplete_expired": Announcement(Type.SUBSCRIPTION_EXPIRED, "{name} expired: its first payment was never made."),
}

_SUBSCRIPTION_LEFT: Mapping[str, Announcement] = {
    "past_due": Announcement(Type.SUBSCRIPTION_RECOVERED, "{name} is paid up again."),
    "unpaid": Announcement(Type.SUBSCRIPTION_RECOVERED, "{name} is paid up again."),
    "paused": Announcement(Type.SUBSCRIPTION_RESUMED, "{name} is running again."),
}
"""By the status that was left, for a subscription that is active now."""

_INVOICE_ENTERED: Mapping[str, Announcement] = {
    "draft": Announcement(Type.INVOICE_CREATED, "{name} is being prepared."),
    "open": Announcement(Type.INVOICE_FINALIZED, "{name} over {total} is due."),
    "paid": Announcement(Type.INVOICE_PAID, "{name} over {total} is paid."),
    "void": Announcement(Type.INVOICE_VOIDED, "{name} was voided: nothing is owed."),
    "uncollectible": Announcement(Type.INVOICE_UNCOLLECTIBLE, "{name} was written off."),
    "deleted": Announcement(Type.INVOICE_DELETED, "{name} was deleted before it was sent."),
}


def subscription_announcement(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> Announcement | None:
    """The most telling difference between two snapshots of a subscription; None when there is none."""
    if before == after:
        return None
    announcement = _subscription_announcement(before, after)
    return Announcement(announcement.event_type, announcement.summary.replace("{name}", _name(after)))


def _name(seen: SubscriptionSnapshot) -> str:
    return f"Plan {seen.plan_code}" if seen.plan_code else "The subscription"


def _subscription_announcement(before: SubscriptionSnapshot | None, after: SubscriptionSnapshot) -> Announcement:
    if before is None:
        started = Announcement(Type.SUBSCRIPTION_CREATED, f"{{name}} started, {after.status}.")
        return _SUBSCRIPTION_ENTERED.get(after.status, started)
    if before.status != after.status:
        return _subscription_status_announcement(before, after)
    for difference in (_plan_announcement, _cancellation_announcement, _collection_announcement, _renewal_announcement):
        announcement = difference(before, after)
        if announcement is not None:
            return announcement
    return Announcement(Type.SUBSCRIPTION_UPDATED, "{name} was updated.")


def _plan_announcement(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.plan_code != after.plan_code or before.price_id != after.price_id:
        return Announcement(
            Type.SUBSCRIPTION_PLAN_CHANGED, f"{{name}} replaces {before.plan_code or 'the former plan'}."
        )
    if before.seat_count != after.seat_count:
        seats = f"{{name}} has {after.seat_count} seats instead of {before.seat_count}."
        return Announcement(Type.SUBSCRIPTION_SEATS_CHANGED, seats)
    return None


def _cancellation_announcement(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.cancellation_scheduled == after.cancellation_scheduled:
        return None
    if not after.cancellation_scheduled:
        return Announcement(Type.SUBSCRIPTION_CANCELLATION_WITHDRAWN, "{name} will go on.")
    end = after.cancel_at or after.current_period_end
    return Announcement(
        Type.SUBSCRIPTION_CANCELLATION_SCHEDULED, f"{{name}} will end{f' on {end:%Y-%m-%d}' if end else ''}."
    )


def _collection_announcement(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    if before.collection_paused == after.collection_paused:
        return None
    if after.collection_paused:
        return Announcement(Type.SUBSCRIPTION_PAUSED, "{name} goes on without collecting payment.")
    return Announcement(Type.SUBSCRIPTION_RESUMED, "{name} collects payment again.")


def _renewal_announcement(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement | None:
    old, new = before.current_period_end, after.current_period_end
    if old is None or new is None or new <= old:
        return None
    return Announcement(Type.SUBSCRIPTION_RENEWED, f"{{name}} renewed until {new:%Y-%m-%d}.")


def _subscription_status_announcement(before: SubscriptionSnapshot, after: SubscriptionSnapshot) -> Announcement:
    entered = _SUBSCRIPTION_ENTERED.get(after.status)
    if entered is not None:
        return entered
    if after.status == "active":
        return _SUBSCRIPTION_LEFT.get(before.status) or Announcement(Type.SUBSCRIPTION_ACTIVATED, "{name} is active.")
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"{{name}} is {after.status}.")


def rated_announcement(seen: SubscriptionSnapshot) -> Announcement:
    """What is said when it becomes known that invoices have billed usage, and nothing else changed."""
    return Announcement(Type.SUBSCRIPTION_UPDATED, f"{_name(seen)} has billed usage that is known now.")


def usage_announcement(seen: InvoiceSnapshot) -> Announcement:
    """What is said when the billed usage of an invoice was not what its lines say, and nothing else changed."""
    name = f"Invoice {seen.number}" if seen.number else "an invoice"
    return Announcement(Type.INVOICE_UPDATED, f"The billed usage of {name} was put right.")


def invoice_announcement(before: InvoiceSnapshot | None, after: InvoiceSnapshot) -> Announcement | None:
    """The most telling difference between two snapshots of an invoice; None when there is none."""
    if before == after:
        return None
    announcement = _invoice_announcement(before, after)
    name = f"Invoice {after.number}" if after.number else "An invoice"
    total = str(Money(amount=after.total, currency=after.currency))
    return Announcement(announcement.event_type, announcement.summary.replace("{name}", name).replace("{total}", total))


def _invoice_announcement(before: InvoiceSnapshot | None, after: InvoiceSnapshot) -> Announcement:
    failed = after.precedence == 1 and after.attempt_count > (before.attempt_count if before else 0)
    if failed and after.amount_remaining > 0:
        retry = after.next_payment_attempt_at
        again = f" The next attempt is on {retry:%Y-%m-%d}." if retry else ""
        return Announcement(Type.INVOICE_PAYMENT_FAILED, f"Payment of {{name}} over {{total}} failed.{again}")
    if before is None or before.status != after.status:
        return _INVOICE_ENTERED.get(after.status) or Announcement(Type.INVOICE_UPDATED, f"{{name}} is {after.status}.")
    return Announcement(Type.INVOICE_UPDATED, "{name} was updated.")


def customer_announcement(before: CustomerSnapshot | None, after: CustomerSnapshot) -> Announcement | None:
    """Only the end of a customer concerns its tenant; names and addresses are the tenant's own doing."""
    if after.deleted and not (before and before.deleted):
        return Announcement(Type.CUSTOMER_DELETED, "The billing account was deleted at the payment provider.")
    return None


def record_announcement(before: RecordSnapshot | None, after: RecordSnapshot) -> Announcement | None:
    """What the tenant should hear of a record's change; None where it learns nothing new.

    A refund is told once, by its charge: the refund's own events say the same, except when it falls through.
    """
    match after:
        case ChargeSnapshot():
            return _charge_announcement(before if isinstance(before, ChargeSnapshot) else None, after)
        case RefundSnapshot():
            return _refund_announcement(before if isinstance(before, RefundSnapshot) else None, after)
        case DisputeSnapshot():
            return _dispute_announcement(before if isinstance(before, DisputeSnapshot) else None, after)
        case CreditNoteSnapshot():
            return _credit_note_announcement(before if isinstance(before, CreditNoteSnapshot) else None, after)
        case EntitlementsSnapshot():
            known = before.features if isinstance(before, EntitlementsSnapshot) else ()
            return None if known == after.features else Announcement(Type.ENTITLEMENTS_UPDATED, _features(after))
        case _:
            return None


def _charge_announcement(before: ChargeSnapshot | None, after: ChargeSnapshot) -> Announcement | None:
    if after.amount_refunded <= (before.amount_refunded if before else 0):
        return None
    given, paid = _amount(after.amount_refunded, after.currency), _amount(after.amount, after.currency)
    return Announcement(Type.INVOICE_REFUNDED, f"{given} of {paid} was refunded.")


def _refund_announcement(before: RefundSnapshot | None, after: RefundSnapshot) -> Announcement | None:
    if not after.fell_through or (before is not None and before.fell_through):
        return None
    return Announcement(
        Type.INVOICE_REFUNDED, f"The refund of {_amount(after.amount, after.currency)} did not go through."
    )


def _dispute_announcement(before: DisputeSnapshot | None, after: DisputeSnapshot) -> Announcement | None:
    amount = _amount(after.amount, after.currency)
    if after.closed and (before is None or before.status != after.status):
        return Announcement(Type.INVOICE_DISPUTE_CLOSED, f"The dispute over {amount} was closed: {after.status}.")
    return Announcement(Type.INVOICE_DISPUTED, f"A payment of {amount} is disputed.") if before is None else None


def _credit_note_announcement(before: CreditNoteSnapshot | None, after: CreditNoteSnapshot) -> Announcement | None:
    amount = _amount(after.amount, after.currency)
    if after.voided:
        notified = before is not None and before.voided
        return None if notified else Announcement(Type.INVOICE_CREDITED, f"The credit note over {amount} was voided.")
    if before is not None and before.amount == after.amount:
        return None
    return Announcement(Type.INVOICE_CREDITED, f"{amount} was credited.")


def _features(seen: EntitlementsSnapshot) -> str:
    return f"Included features: {', '.join(seen.features)}." if seen.features else "No features are included any more."


def _amount(amount: int, currency: str) -> str:
    return str(Money(amount=amount, currency=currency))


LINKED = Announcement(Type.CUSTOMER_LINKED, "The billing account was connected.")

_NOTICES: Mapping[Notice, str] = {
    Notice.TRIAL_ENDING: "The trial ends soon.",
    Notice.ACTION_REQUIRED: "A payment needs the customer's confirmation.",
    Notice.OVERDUE: "An invoice is overdue.",
    Notice.UPCOMING: "An invoice will be made soon.",
    Notice.USAGE_THRESHOLD_REACHED: "Usage reached a threshold that is watched.",
}


def notice_announcement(notice: Notice) -> Announcement:
    """What a notice says when no state changed with it."""
    return Announcement(notice.value, _NOTICES[notice])
