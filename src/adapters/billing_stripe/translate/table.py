"""What every event type of Stripe's means here: one row each, with its reason. Other types are stored and ignored.

Source: https://docs.stripe.com/api/events/types
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from billing_core.events import Notice, Translation
from billing_stripe.translate.benefits import read_customers_own, read_entitlements, read_schedule
from billing_stripe.translate.catalog import (
    read_deleted_price,
    read_deleted_product,
    read_plan,
    read_price,
    read_product,
)
from billing_stripe.translate.checkout import read_checkout, read_completed_checkout, read_failed_checkout
from billing_stripe.translate.customer import read_customer, read_deleted_customer
from billing_stripe.translate.invoice import (
    read_deleted_invoice,
    read_invoice,
    read_paid_invoice,
    read_upcoming_invoice,
)
from billing_stripe.translate.meters import METER_REPORTS
from billing_stripe.translate.payment import (
    read_charge,
    read_credit_note,
    read_dispute,
    read_invoice_payment,
    read_refund,
)
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.subscription import read_deleted_subscription, read_subscription

Read = Callable[[Reader], Translation]


@attrs.frozen
class Translator:
    """One row: the kind of object an event type carries, how it is read, and what the type itself says of it."""

    object_kind: str
    read: Read
    does: str = ""
    """What such an event does here, in one sentence."""
    notify: str = ""
    """Which messages may follow from it; none where this is empty."""
    notice: Notice | None = None
    creation: bool = False


_BY_CHANGE = "`subscription.*`, by what changed"
_DIFFERENT = "`invoice.*`, by what changed"
_REFUND = "`invoice.refunded`, when it falls through; what was given back, the charge tells"
_TWIN = "Nothing: the price with the same id has an event of its own, which says more."


def _subscription(does: str, notify: str = _BY_CHANGE, *, read: Read = read_subscription) -> Translator:
    return Translator("subscription", read, does, notify)


def _invoice(does: str, notify: str = _DIFFERENT, *, read: Read = read_invoice) -> Translator:
    return Translator("invoice", read, does, notify)


def _customer(does: str, notify: str = "", *, read: Read = read_customer) -> Translator:
    return Translator("customer", read, does, notify or "`customer.linked`, when it names the tenant first")


def _checkout(does: str, notify: str = "", *, read: Read = read_failed_checkout) -> Translator:
    return Translator("checkout.session", read, does, notify)


def _dispute(does: str, notify: str = "`invoice.disputed`, once") -> Translator:
    return Translator("dispute", read_dispute, does, notify)


def _schedule(does: str) -> Translator:
    return Translator("subscription_schedule", read_schedule, does)


_SUBSCRIPTIONS = {
    "customer.subscription.created": attrs.evolve(_subscription("It begins, often incomplete."), creation=True),
    "customer.subscription.updated": _subscription("Plan, seats, status, renewal or scheduled end changed."),
    "customer.subscription.deleted": _subscription(
        "It ended, and with it the access.", "`subscription.canceled`", read=read_deleted_subscription
    ),
    "customer.subscription.paused": _subscription("Twin of an update.", "`subscription.paused`, once for both"),
    "customer.subscription.resumed": _subscription("Twin of an update.", "`subscription.resumed`, once for both"),
    "customer.subscription.trial_will_end": attrs.evolve(
        _subscription("No state changes; three days are left.", "`subscription.trial_ending`"),
        notice=Notice.TRIAL_ENDING,
    ),
    "customer.subscription.pending_update_applied": _subscription("The change was paid and counts from now on."),
    "customer.subscription.pending_update_expired": _subscription("The change was never paid and never counts."),
}

_INVOICES = {
    "invoice.created": attrs.evolve(_invoice("A draft.", "`invoice.created`"), creation=True),
    "invoice.updated": _invoice("Any field changed."),
    "invoice.finalized": _invoice("Number, link and due date are known.", "`invoice.finalized`"),
    "invoice.finalization_failed": _invoice("It stays a draft until somebody mends it."),
    "invoice.sent": _invoice("It went out by mail; nothing else changed."),
    "invoice.paid": _invoice(
        "It is settled, by whatever means, nothing to pay included; usage is billed.",
        "`invoice.paid`",
        read=read_paid_invoice,
    ),
    "invoice.payment_succeeded": _invoice(
        "The same fact where money moved.", "`invoice.paid`, once for both", read=read_paid_invoice
    ),
    "invoice.payment_failed": _invoice(
        "Dunning starts: attempts and the next one are known.", "`invoice.payment_failed`"
    ),
    "invoice.payment_action_required": attrs.evolve(
        _invoice("The payer has to confirm a payment.", "`invoice.payment_action_required`"),
        notice=Notice.ACTION_REQUIRED,
    ),
    "invoice.payment_attempt_required": _invoice("The merchant has to start the payment."),
    "invoice.will_be_due": _invoice("A reminder; the status stays open."),
    "invoice.overdue": attrs.evolve(
        _invoice("The due date has passed; the status stays open.", "`invoice.overdue`"), notice=Notice.OVERDUE
    ),
    "invoice.overpaid": _invoice("More was paid than was due."),
    "invoice.marked_uncollectible": _invoice("It is given up, and may still be paid.", "`invoice.uncollectible`"),
    "invoice.voided": _invoice("It is not owed any more.", "`invoice.voided`"),
    "invoice.deleted": _invoice(
        "A draft is gone and does not come back; the event may hold its id alone.",
        "`invoice.deleted`",
        read=read_deleted_invoice,
    ),
    "invoice.upcoming": attrs.evolve(
        _invoice("A forecast: no invoice is recorded.", "`invoice.upcoming`", read=read_upcoming_invoice),
        notice=Notice.UPCOMING,
    ),
}

_CUSTOMERS = {
    "customer.created": attrs.evolve(_customer("It may name its tenant from the start."), creation=True),
    "customer.updated": _customer("Mail, name, delinquency or tenant changed."),
    "customer.deleted": _customer(
        "The customer is marked; its history stays, its subscriptions end by their own events.",
        "`customer.deleted`",
        read=read_deleted_customer,
    ),
    "checkout.session.completed": _checkout(
        "It links a customer to its tenant. Access follows from the subscription, so from what was paid.",
        "`customer.linked`, when it names the tenant first",
        read=read_completed_checkout,
    ),
    "checkout.session.async_payment_succeeded": _checkout(
        "The same link, for slow ways to pay.",
        "`customer.linked`, when it names the tenant first",
        read=read_completed_checkout,
    ),
    "checkout.session.async_payment_failed": _checkout("Nothing came of it; ignored as `unfinished_checkout`."),
    "checkout.session.expired": _checkout("Nothing came of it; ignored as `unfinished_checkout`."),
}

_PAYMENTS = {
    "invoice_payment.paid": Translator(
        "invoice_payment",
        read_invoice_payment,
        "It keeps which payment settled which invoice: refunds and disputes name the payment only.",
    ),
    "charge.refunded": Translator(
        "charge",
        read_charge,
        "How much of the charge was given back by now, all refunds together.",
        "`invoice.refunded`",
    ),
    "charge.refund.updated": Translator("refund", read_refund, "Older name of `refund.updated`.", _REFUND),
    "refund.created": Translator("refund", read_refund, "Money goes back; the invoice stays paid.", _REFUND),
    "refund.updated": Translator("refund", read_refund, "The refund's status changed.", _REFUND),
    "refund.failed": Translator("refund", read_refund, "The money did not arrive and is ours again.", _REFUND),
    "charge.dispute.created": _dispute("The payer's bank takes the payment back; the invoice stays paid."),
    "charge.dispute.updated": _dispute("Evidence or status changed."),
    "charge.dispute.funds_withdrawn": _dispute("The money is withheld."),
    "charge.dispute.funds_reinstated": _dispute("The money came back.", "`invoice.dispute_closed`, once"),
    "charge.dispute.closed": _dispute("It was won or lost.", "`invoice.dispute_closed`, once"),
    "credit_note.created": Translator(
        "credit_note", read_credit_note, "The invoice was lowered afterwards.", "`invoice.credited`"
    ),
    "credit_note.updated": Translator("credit_note", read_credit_note, "Memo or reason changed."),
    "credit_note.voided": Translator(
        "credit_note", read_credit_note, "The correction does not count any more.", "`invoice.credited`"
    ),
}

_BENEFITS = {
    "entitlements.active_entitlement_summary.updated": Translator(
        "entitlements.active_entitlement_summary",
        read_entitlements,
        "The customer's features are replaced as a whole; `features` of `/state` shows them.",
        "`entitlements.updated`",
    ),
    "subscription_schedule.created": attrs.evolve(_schedule("Changes are planned."), creation=True),
    "subscription_schedule.updated": _schedule("The plan changed."),
    "subscription_schedule.expiring": _schedule("Seven days are left of the plan."),
    "subscription_schedule.completed": _schedule("All of it has happened."),
    "subscription_schedule.canceled": _schedule("None of it will happen, and the subscription ended."),
    "subscription_schedule.aborted": _schedule("It ended because a payment failed."),
    "subscription_schedule.released": _schedule("The subscription goes on without the plan."),
    "billing.alert.triggered": Translator(
        "billing.alert_triggered",
        read_customers_own,
        "The customer's usage reached a threshold.",
        "`usage.threshold_reached`",
        Notice.USAGE_THRESHOLD_REACHED,
    ),
    "billing.credit_grant.created": Translator(
        "billing.credit_grant", read_customers_own, "Prepaid credit: kept with the tenant's events, no state follows."
    ),
    "billing.credit_grant.updated": Translator(
        "billing.credit_grant", read_customers_own, "Prepaid credit: kept with the tenant's events, no state follows."
    ),
}

_CATALOGUE = {
    "price.created": Translator("price", read_price, "The catalog learns a price.", creation=True),
    "price.updated": Translator("price", read_price, "The price is sold otherwise, or not any more."),
    "price.deleted": Translator("price", read_deleted_price, "The price never comes back."),
    "product.created": Translator("product", read_product, "The catalog learns a product.", creation=True),
    "product.updated": Translator("product", read_product, "The product is sold otherwise, or not any more."),
    "product.deleted": Translator("product", read_deleted_product, "The product never comes back."),
    "plan.created": Translator("plan", read_plan, _TWIN),
    "plan.updated": Translator("plan", read_plan, _TWIN),
    "plan.deleted": Translator("plan", read_plan, _TWIN),
}

SECTIONS: Mapping[str, Mapping[str, Translator]] = MappingProxyType(
    {
        "Subscriptions": _SUBSCRIPTIONS,
        "Invoices": _INVOICES,
        "Customers and checkout": _CUSTOMERS,
        "Payments, refunds, disputes, credit notes": _PAYMENTS,
        "Entitlements, schedules, alerts, credit": _BENEFITS,
        "Catalog": _CATALOGUE,
    }
)
"""The rows by what they are about, as they are shown to people."""

TRANSLATORS: Mapping[str, Translator] = MappingProxyType(
    {event_type: translator for rows in SECTIONS.values() for event_type, translator in rows.items()}
)

HANDLED_TYPES = tuple(sorted(type_ for type_, translator in TRANSLATORS.items() if translator.read is not read_plan))
"""The types that a webhook endpoint should be subscribed to."""

EVENT_TYPES: Final = frozenset(TRANSLATORS) | METER_REPORTS
"""Every type that has a meaning here, for metric labels."""


def _by_kind(translators: Iterable[Translator]) -> Mapping[str, Translator]:
    return MappingProxyType({translator.object_kind: translator for translator in translators})


BY_KIND = _by_kind(
    (
        _subscription(""),
        _invoice(""),
        _customer(""),
        _checkout("", read=read_checkout),
        Translator("entitlements.active_entitlement_summary", read_entitlements),
    )
)
"""How objects are read that the API shows on request: how they are, not what happened to them."""
