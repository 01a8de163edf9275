"""The effect of every handled Stripe event type, one row each. Other types are stored and ignored.

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
from billing_stripe.translate.clock import read_clock
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
    read_detached_payment_method,
    read_dispute,
    read_invoice_payment,
    read_payment_method,
    read_refund,
)
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.subscription import read_deleted_subscription, read_subscription

Read = Callable[[Reader], Translation]


@attrs.frozen
class Translator:
    """One row: the kind of object that an event type shows, its reader, and what the type itself adds."""

    object_kind: str
    read: Read
    effect: str = ""
    """Effect of the event, in one sentence."""
    messages: str = ""
    """Messages that may follow from it; none if empty."""
    notice: Notice | None = None
    creation: bool = False
    payment_failed: bool = False


_SUBSCRIPTION_CHANGE = "`subscription.*`, by what changed"
_INVOICE_CHANGE = "`invoice.*`, by what changed"
_REFUND = "`invoice.refunded` if it fails; the refunded amount arrives with the charge"
_TWIN = "None: the price with the same id has an event of its own, with more details."


def _subscription(effect: str, messages: str = _SUBSCRIPTION_CHANGE, *, read: Read = read_subscription) -> Translator:
    return Translator("subscription", read, effect, messages)


def _invoice(effect: str, messages: str = _INVOICE_CHANGE, *, read: Read = read_invoice) -> Translator:
    return Translator("invoice", read, effect, messages)


_LINKED = "`customer.linked`, if it is the first to name the tenant"


def _customer(effect: str, messages: str = "", *, read: Read = read_customer) -> Translator:
    return Translator("customer", read, effect, messages or _LINKED)


def _checkout(effect: str, messages: str = "", *, read: Read = read_failed_checkout) -> Translator:
    return Translator("checkout.session", read, effect, messages)


def _dispute(effect: str, messages: str = "`invoice.disputed`, once") -> Translator:
    return Translator("dispute", read_dispute, effect, messages)


def _schedule(effect: str) -> Translator:
    return Translator("subscription_schedule", read_schedule, effect)


def _clock(effect: str) -> Translator:
    return Translator("test_helpers.test_clock", read_clock, effect, "`access.changed`, by the clock's time")


_SUBSCRIPTIONS = {
    "customer.subscription.created": attrs.evolve(
        _subscription("The subscription begins, often incomplete."), creation=True
    ),
    "customer.subscription.updated": _subscription("Plan, seats, status, renewal or scheduled end changed."),
    "customer.subscription.deleted": _subscription(
        "The subscription ended, and access with it.", "`subscription.canceled`", read=read_deleted_subscription
    ),
    "customer.subscription.paused": _subscription(
        "Sent together with an update.", "`subscription.paused`, once for both"
    ),
    "customer.subscription.resumed": _subscription(
        "Sent together with an update.", "`subscription.resumed`, once for both"
    ),
    "customer.subscription.trial_will_end": attrs.evolve(
        _subscription("No state changes; three days of the trial are left.", "`subscription.trial_ending`"),
        notice=Notice.TRIAL_ENDING,
    ),
    "customer.subscription.pending_update_applied": _subscription("The pending change was paid and is in effect."),
    "customer.subscription.pending_update_expired": _subscription("The pending change was not paid and was discarded."),
}

_INVOICES = {
    "invoice.created": attrs.evolve(_invoice("A draft was created.", "`invoice.created`"), creation=True),
    "invoice.updated": _invoice("Any field changed."),
    "invoice.finalized": _invoice("Number, link and due date are known.", "`invoice.finalized`"),
    "invoice.finalization_failed": _invoice("The invoice stays a draft until its problem is fixed."),
    "invoice.sent": _invoice("The invoice was sent by email; nothing else changed."),
    "invoice.paid": _invoice(
        "The invoice is settled in any way, even with nothing to pay; its usage is billed.",
        "`invoice.paid`, and `subscription.renewed` where it bills a further period of the plan",
        read=read_paid_invoice,
    ),
    "invoice.payment_succeeded": _invoice(
        "Sent together with `invoice.paid` when money moved.", "`invoice.paid`, once for both", read=read_paid_invoice
    ),
    "invoice.payment_failed": attrs.evolve(
        _invoice("Dunning starts: the number of attempts and the next one are recorded.", "`invoice.payment_failed`"),
        payment_failed=True,
    ),
    "invoice.payment_action_required": attrs.evolve(
        _invoice("The payer has to confirm the payment.", "`invoice.payment_action_required`"),
        notice=Notice.ACTION_REQUIRED,
    ),
    "invoice.payment_attempt_required": _invoice("The merchant has to start the payment."),
    "invoice.will_be_due": _invoice("A reminder; the status stays open."),
    "invoice.overdue": attrs.evolve(
        _invoice("The due date has passed; the status stays open.", "`invoice.overdue`"), notice=Notice.OVERDUE
    ),
    "invoice.overpaid": _invoice("More was paid than was due."),
    "invoice.marked_uncollectible": _invoice(
        "The invoice was written off; it may still be paid.", "`invoice.uncollectible`"
    ),
    "invoice.voided": _invoice("The invoice is no longer owed.", "`invoice.voided`"),
    "invoice.deleted": _invoice(
        "A draft was deleted permanently; the event may contain only its id.",
        "`invoice.deleted`",
        read=read_deleted_invoice,
    ),
    "invoice.upcoming": attrs.evolve(
        _invoice("A forecast: no invoice is recorded.", "`invoice.upcoming`", read=read_upcoming_invoice),
        notice=Notice.UPCOMING,
    ),
}

_CUSTOMERS = {
    "customer.created": attrs.evolve(_customer("The customer may name its tenant from the start."), creation=True),
    "customer.updated": _customer(
        "Email, name, delinquency, tenant or default payment method changed.",
        f"{_LINKED}; `subscription.updated` of each subscription that is charged to another payment method now",
    ),
    "customer.deleted": _customer(
        "The customer is marked as deleted; its history stays, and its subscriptions end with events of their own.",
        "`customer.deleted`",
        read=read_deleted_customer,
    ),
    "checkout.session.completed": _checkout(
        "Links a customer to its tenant. Access follows from the subscription.",
        _LINKED,
        read=read_completed_checkout,
    ),
    "checkout.session.async_payment_succeeded": _checkout(
        "The same link, for delayed payment methods.",
        _LINKED,
        read=read_completed_checkout,
    ),
    "checkout.session.async_payment_failed": _checkout("The session has no result; ignored as `unfinished_checkout`."),
    "checkout.session.expired": _checkout("The session has no result; ignored as `unfinished_checkout`."),
}

_PAYMENTS = {
    "invoice_payment.paid": Translator(
        "invoice_payment",
        read_invoice_payment,
        "Records which payment settled which invoice: refunds and disputes name only the payment.",
    ),
    "charge.refunded": Translator(
        "charge",
        read_charge,
        "The amount refunded so far, in all refunds together, is recorded.",
        "`invoice.refunded`",
    ),
    "charge.refund.updated": Translator("refund", read_refund, "Older name of `refund.updated`.", _REFUND),
    "refund.created": Translator("refund", read_refund, "Money is refunded; the invoice stays paid.", _REFUND),
    "refund.updated": Translator("refund", read_refund, "The refund's status changed.", _REFUND),
    "refund.failed": Translator(
        "refund", read_refund, "The refund failed, and the money came back to the account.", _REFUND
    ),
    "charge.dispute.created": _dispute("The payer's bank disputes the payment; the invoice stays paid."),
    "charge.dispute.updated": _dispute("Evidence or status changed."),
    "charge.dispute.funds_withdrawn": _dispute("The money is withheld."),
    "charge.dispute.funds_reinstated": _dispute("The money was returned.", "`invoice.dispute_closed`, once"),
    "charge.dispute.closed": _dispute("The dispute was won or lost.", "`invoice.dispute_closed`, once"),
    "credit_note.created": Translator(
        "credit_note", read_credit_note, "The invoice was reduced afterwards.", "`invoice.credited`"
    ),
    "credit_note.updated": Translator("credit_note", read_credit_note, "Memo or reason changed."),
    "credit_note.voided": Translator(
        "credit_note", read_credit_note, "The credit note no longer counts.", "`invoice.credited`"
    ),
}

_PAYMENT_METHOD = "`subscription.updated` of each subscription that is charged to it"
_PAYMENT_METHODS = {
    "payment_method.attached": Translator(
        "payment_method", read_payment_method, "The customer has a new payment method.", _PAYMENT_METHOD
    ),
    "payment_method.updated": Translator(
        "payment_method", read_payment_method, "Details such as the expiry changed.", _PAYMENT_METHOD
    ),
    "payment_method.automatically_updated": Translator(
        "payment_method", read_payment_method, "The card was replaced by its bank.", _PAYMENT_METHOD
    ),
    "payment_method.detached": Translator(
        "payment_method", read_detached_payment_method, "The payment method was removed.", _PAYMENT_METHOD
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
    "subscription_schedule.updated": _schedule("The planned changes were updated."),
    "subscription_schedule.expiring": _schedule("Seven days of the schedule are left."),
    "subscription_schedule.completed": _schedule("All planned changes were made."),
    "subscription_schedule.canceled": _schedule("The schedule was canceled, and the subscription with it."),
    "subscription_schedule.aborted": _schedule("The schedule ended because a payment failed."),
    "subscription_schedule.released": _schedule("The subscription continues without the schedule."),
    "billing.alert.triggered": Translator(
        "billing.alert_triggered",
        read_customers_own,
        "The customer's usage reached a threshold.",
        "`usage.threshold_reached`",
        Notice.USAGE_THRESHOLD_REACHED,
    ),
    "billing.credit_grant.created": Translator(
        "billing.credit_grant",
        read_customers_own,
        "Prepaid credit is recorded among the tenant's events; no state changes.",
    ),
    "billing.credit_grant.updated": Translator(
        "billing.credit_grant",
        read_customers_own,
        "Prepaid credit is recorded among the tenant's events; no state changes.",
    ),
}

_CATALOG = {
    "price.created": Translator("price", read_price, "A price was added to the catalog.", creation=True),
    "price.updated": Translator("price", read_price, "The price changed or was archived."),
    "price.deleted": Translator("price", read_deleted_price, "The price was deleted permanently."),
    "product.created": Translator("product", read_product, "A product was added to the catalog.", creation=True),
    "product.updated": Translator("product", read_product, "The product changed or was archived."),
    "product.deleted": Translator("product", read_deleted_product, "The product was deleted permanently."),
    "plan.created": Translator("plan", read_plan, _TWIN),
    "plan.updated": Translator("plan", read_plan, _TWIN),
    "plan.deleted": Translator("plan", read_plan, _TWIN),
}

_CLOCKS = {
    "test_helpers.test_clock.created": attrs.evolve(_clock("A test clock was created."), creation=True),
    "test_helpers.test_clock.advancing": _clock("The clock stands where it was until all of its objects follow."),
    "test_helpers.test_clock.ready": _clock("The clock stands at its new time."),
    "test_helpers.test_clock.internal_failure": _clock("The clock could not advance; it stands where it was."),
    "test_helpers.test_clock.deleted": _clock("Its customers are deleted with it, with events of their own."),
}

SECTIONS: Mapping[str, Mapping[str, Translator]] = MappingProxyType(
    {
        "Subscriptions": _SUBSCRIPTIONS,
        "Invoices": _INVOICES,
        "Customers and checkout": _CUSTOMERS,
        "Payments, refunds, disputes, credit notes": _PAYMENTS,
        "Payment methods": _PAYMENT_METHODS,
        "Entitlements, schedules, alerts, credit": _BENEFITS,
        "Catalog": _CATALOG,
        "Test clocks": _CLOCKS,
    }
)
"""The rows by subject, as the documentation shows them."""

TRANSLATORS: Mapping[str, Translator] = MappingProxyType(
    {event_type: translator for rows in SECTIONS.values() for event_type, translator in rows.items()}
)

HANDLED_TYPES = tuple(sorted(type_ for type_, translator in TRANSLATORS.items() if translator.read is not read_plan))
"""The types to which a webhook endpoint should subscribe."""

EVENT_TYPES: Final = frozenset(TRANSLATORS) | METER_REPORTS
"""Every type with an effect, for metric labels."""


def _by_kind(translators: Iterable[Translator]) -> Mapping[str, Translator]:
    return MappingProxyType({translator.object_kind: translator for translator in translators})


BY_KIND = _by_kind(
    (
        _subscription(""),
        _invoice(""),
        _customer(""),
        _checkout("", read=read_checkout),
        Translator("entitlements.active_entitlement_summary", read_entitlements),
        Translator("subscription_schedule", read_schedule),
    )
)
"""Readers of objects as fetched from the API: their current state, without an event."""
