"""Stripe's JSON, of any API version since 2020-03, in our terms. Field names of Stripe appear in this package only.

What moved between versions is read at its new place first, then at the old one, never at both: payloads of old
versions have carried both since March 2025. No version number is ever looked at.

`TRANSLATORS` is the table; every row is a small pure function in the module of its object.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from billing_core.events import Notice, ProviderEvent, Translation
from billing_stripe.parsing import parse_json
from billing_stripe.signature import THIN_EVENT
from billing_stripe.translate import reasons
from billing_stripe.translate.checkout import read_checkout, read_completed_checkout
from billing_stripe.translate.customer import read_customer, read_deleted_customer
from billing_stripe.translate.invoice import read_deleted_invoice, read_invoice, read_upcoming_invoice
from billing_stripe.translate.previous import overlay
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.subscription import read_deleted_subscription, read_subscription

__all__ = ["TRANSLATORS", "StripeTranslator", "Translator", "translate_object"]


@attrs.frozen
class Translator:
    """One row: the kind of object an event type carries, how it is read, and what the type itself says of it."""

    object_kind: str
    read: Callable[[Reader], Translation]
    notice: Notice | None = None
    creation: bool = False


_SUBSCRIPTION = Translator("subscription", read_subscription)
_INVOICE = Translator("invoice", read_invoice)
_CUSTOMER = Translator("customer", read_customer)
_CHECKOUT = Translator("checkout.session", read_completed_checkout)

TRANSLATORS: Mapping[str, Translator] = MappingProxyType(
    {
        "customer.subscription.created": attrs.evolve(_SUBSCRIPTION, creation=True),  # it begins, often incomplete
        "customer.subscription.updated": _SUBSCRIPTION,  # plan, seats, status, renewal, scheduled end
        "customer.subscription.deleted": Translator("subscription", read_deleted_subscription),  # access ends
        "customer.subscription.paused": _SUBSCRIPTION,  # twin of an update
        "customer.subscription.resumed": _SUBSCRIPTION,  # twin of an update
        "customer.subscription.trial_will_end": attrs.evolve(_SUBSCRIPTION, notice=Notice.TRIAL_ENDING),
        "customer.subscription.pending_update_applied": _SUBSCRIPTION,  # the change counts from now on
        "customer.subscription.pending_update_expired": _SUBSCRIPTION,  # the change never came to count
        "invoice.created": attrs.evolve(_INVOICE, creation=True),  # a draft
        "invoice.updated": _INVOICE,  # any field
        "invoice.finalized": _INVOICE,  # number, link and due date are known
        "invoice.finalization_failed": _INVOICE,  # it stays a draft until somebody mends it
        "invoice.sent": _INVOICE,  # by mail, nothing else changed
        "invoice.paid": _INVOICE,  # by whatever means, nothing to pay included
        "invoice.payment_succeeded": _INVOICE,  # the same fact where money moved
        "invoice.payment_failed": _INVOICE,  # dunning starts: attempts and the next one
        "invoice.payment_action_required": attrs.evolve(_INVOICE, notice=Notice.ACTION_REQUIRED),
        "invoice.payment_attempt_required": _INVOICE,  # the merchant has to start the payment
        "invoice.will_be_due": _INVOICE,  # a reminder, the status stays open
        "invoice.overdue": attrs.evolve(_INVOICE, notice=Notice.OVERDUE),  # the status stays open
        "invoice.overpaid": _INVOICE,  # amounts paid
        "invoice.marked_uncollectible": _INVOICE,  # given up, may still be paid
        "invoice.voided": _INVOICE,  # not owed any more
        "invoice.deleted": Translator("invoice", read_deleted_invoice),  # a draft that will not come back
        "invoice.upcoming": Translator("invoice", read_upcoming_invoice, Notice.UPCOMING),  # a forecast, no invoice
        "customer.created": attrs.evolve(_CUSTOMER, creation=True),  # may carry its tenant from the start
        "customer.updated": _CUSTOMER,  # mail, name, delinquency, tenant
        "customer.deleted": Translator("customer", read_deleted_customer),  # its subscriptions end by their own events
        "checkout.session.completed": _CHECKOUT,  # links a customer to its tenant
        "checkout.session.async_payment_succeeded": _CHECKOUT,  # the same link, for slow ways to pay
    }
)


_BY_KIND: Mapping[object, Translator] = MappingProxyType(
    {
        translator.object_kind: translator
        for translator in (_SUBSCRIPTION, _INVOICE, _CUSTOMER, Translator("checkout.session", read_checkout))
    }
)


def translate_object(shown: Mapping[str, object]) -> Translation:
    """What an object says that the API showed on request: how it is, not what happened to it."""
    translator = _BY_KIND.get(shown.get("object"))
    return Translation(ignored=reasons.UNEXPECTED_OBJECT) if translator is None else _translate(translator, shown)


class StripeTranslator:
    """Reads Stripe's events. Pure: everything it says is in the event's body."""

    def translate(self, event: ProviderEvent) -> Translation:
        """What the event says, as `billing_core.ports.EventTranslator` promises."""
        body = _body(event)
        if body is None:
            return Translation(ignored=reasons.UNREADABLE_BODY)
        if body.get("object") == THIN_EVENT:
            return Translation(ignored=reasons.THIN)
        translator = TRANSLATORS.get(event.type)
        if translator is None:
            return Translation(ignored=reasons.UNHANDLED_TYPE)
        return _translate(translator, _data(body).get("object"))

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """What the object of an update was before it; None when the event does not say."""
        translator = TRANSLATORS.get(event.type)
        if translator is None or not event.type.endswith(".updated"):
            return None
        body = _body(event)
        if body is None:
            return None
        data = _data(body)
        previous = data.get("previous_attributes")
        if not isinstance(previous, dict) or not previous:
            return None
        translation = _translate(translator, overlay(data.get("object"), previous))
        return translation if translation.ignored is None else None


def _body(event: ProviderEvent) -> Mapping[str, object] | None:
    try:
        body = parse_json(event.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _data(body: Mapping[str, object]) -> Mapping[str, object]:
    data = body.get("data")
    return data if isinstance(data, dict) else {}


def _translate(translator: Translator, shown: object) -> Translation:
    if not isinstance(shown, dict):
        return Translation(ignored=reasons.UNREADABLE_OBJECT)
    if shown.get("object", translator.object_kind) != translator.object_kind:  # stumps may not say what they are
        return Translation(ignored=reasons.UNEXPECTED_OBJECT)
    missing: list[str] = []
    translation = translator.read(Reader(shown, translator.object_kind, missing))
    if translation.ignored is None and (translator.creation or translator.notice is not None):
        translation = attrs.evolve(translation, creation=translator.creation, notice=translator.notice)
    if missing:
        translation = attrs.evolve(translation, missing=tuple(dict.fromkeys(missing)))
    return translation
