"""Translation of Stripe's JSON of any API version since 2020-03. Stripe's field names appear only in this package.

A field that moved between versions is read at its new place first, then at the old one, never at both: payloads of old
versions have had both since March 2025. The version number is never used.

`table` has one row per event type; its reader is a small pure function in the module of the object.
"""

from collections.abc import Mapping

import attrs

from billing_core.events import ProviderEvent, Translation
from billing_core.model import OPERATION_PREFIX
from billing_stripe.envelope import THIN_EVENT
from billing_stripe.parsing import parse_json
from billing_stripe.translate import reasons
from billing_stripe.translate.meters import METER_REPORTS
from billing_stripe.translate.previous import overlay
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.table import BY_KIND, EVENT_TYPES, HANDLED_TYPES, TRANSLATORS, Translator

__all__ = [
    "EVENT_TYPES",
    "HANDLED_TYPES",
    "METER_REPORTS",
    "TRANSLATORS",
    "StripeTranslator",
    "Translator",
    "request_key",
    "translate_object",
]


def translate_object(shown: Mapping[str, object]) -> Translation:
    """Translate an object as fetched from the API: its current state, without an event."""
    kind = shown.get("object")
    translator = BY_KIND.get(kind) if isinstance(kind, str) else None
    return Translation(ignored=reasons.UNEXPECTED_OBJECT) if translator is None else _translate(translator, shown)


class StripeTranslator:
    """An `EventTranslator` of Stripe's events."""

    def translate(self, event: ProviderEvent) -> Translation:
        """See EventTranslator."""
        body = _body(event)
        if body is None:
            return Translation(ignored=reasons.UNREADABLE_BODY)
        if body.get("object") == THIN_EVENT:
            return Translation(thin=True)
        translator = TRANSLATORS.get(event.type)
        if translator is None:
            return Translation(ignored=reasons.UNHANDLED_TYPE)
        translation = _translate(translator, _data(body).get("object"))
        key = request_key(body)
        return translation if key is None else attrs.evolve(translation, request_key=key)

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """See EventTranslator."""
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


def request_key(event: Mapping[str, object]) -> str | None:
    """Return the idempotency key of the request that caused an event, if an operation of ours made it.

    `request` is an object since API version 2017-05-25; before, it was the request's id. Events of v2 have it in their
    `reason`.
    """
    request = event.get("request")
    if request is None and isinstance(reason := event.get("reason"), dict):
        request = reason.get("request")
    key = request.get("idempotency_key") if isinstance(request, dict) else None
    return key if isinstance(key, str) and key.startswith(OPERATION_PREFIX) else None


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
    if shown.get("object", translator.object_kind) != translator.object_kind:  # a deleted object may lack the field
        return Translation(ignored=reasons.UNEXPECTED_OBJECT)
    missing: list[str] = []
    translation = translator.read(Reader(shown, translator.object_kind, missing))
    if translation.ignored is None and (translator.creation or translator.notice or translator.payment_failed):
        translation = attrs.evolve(
            translation,
            creation=translator.creation,
            notice=translator.notice,
            payment_failed=translator.payment_failed,
        )
    if missing:
        translation = attrs.evolve(translation, missing=tuple(dict.fromkeys(missing)))
    return translation
