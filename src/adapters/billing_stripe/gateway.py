"""The payment gateway on Stripe: call, translate, map."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from billing_core.events import Translation
from billing_core.inbox.ports import FetchedEvent
from billing_core.model import CustomerId, EventId, InvoiceId, SubscriptionId
from billing_stripe.client import Json, StripeClient, is_id
from billing_stripe.operations.gateway import StripeOperations
from billing_stripe.operations.previews import StripePreviews
from billing_stripe.operations.prices import PriceBook
from billing_stripe.operations.reading import StripeBillingReader
from billing_stripe.translate import reasons, request_key, translate_object
from billing_stripe.translate.meters import METER_REPORTS, read_meter_report

_PAGE: Final = 100
"""Stripe's maximum."""


class StripeGateway(StripeOperations, StripePreviews, StripeBillingReader):
    """All that we ask of Stripe. Objects have the shape of the API version that the client pins.

    A `PaymentGateway` and `ThinEventGateway` by its own methods, an `OperationGateway`, `PreviewGateway` and
    `BillingReader` by those of `billing_stripe.operations`.
    """

    def __init__(self, client: StripeClient) -> None:
        self._client = client
        self._prices = PriceBook(client)

    async def fetch_subscription(self, subscription_id: SubscriptionId) -> Translation | None:
        """See PaymentGateway. Items beyond the first ones are read page by page."""
        shown = await self._get("fetch_subscription", "subscription", subscription_id)
        if shown is None:
            return None
        whole = await self._completed(
            shown, "items", "fetch_subscription_items", params={"subscription": subscription_id}
        )
        return _translated(whole)

    async def fetch_invoice(self, invoice_id: InvoiceId) -> Translation | None:
        """See PaymentGateway. Lines beyond the first ten are read page by page."""
        shown = await self._get("fetch_invoice", "invoice", invoice_id)
        if shown is None:
            return None
        return _translated(await self._completed(shown, "lines", "fetch_invoice_lines", invoice_id))

    async def fetch_customer(self, customer_id: CustomerId) -> Translation | None:
        """See PaymentGateway. Stripe shows only id and `deleted` for a deleted customer."""
        return _translated(await self._get("fetch_customer", "customer", customer_id))

    async def fetch_entitlements(self, customer_id: CustomerId) -> Translation | None:
        """See PaymentGateway. The pages are joined to the summary that events show."""
        if not is_id("customer", customer_id):
            return None
        operation, of_customer = "fetch_entitlements", {"customer": customer_id}
        listed = await self._client.get(operation, params={**of_customer, "limit": _PAGE})
        if listed is None:
            return None
        summary = {"object": "entitlements.active_entitlement_summary", "entitlements": listed, **of_customer}
        return _translated(await self._completed(summary, "entitlements", operation, params=of_customer))

    async def fetch_checkout_session(self, session_id: str) -> Translation | None:
        """See ThinEventGateway."""
        return _translated(await self._get("fetch_checkout_session", "session", session_id))

    async def fetch_event(self, event_id: EventId) -> FetchedEvent | None:
        """See ThinEventGateway."""
        event = await self._get("fetch_event", "event", event_id)
        if event is None:
            return None
        if event.get("type") in METER_REPORTS:
            return FetchedEvent(snapshot_event_id=None, translation=read_meter_report(event))
        twin = event.get("snapshot_event")
        translation = await self._fetch_related(event.get("related_object"))
        if translation is not None and (key := request_key(event)) is not None:
            translation = attrs.evolve(translation, request_key=key)
        return FetchedEvent(
            snapshot_event_id=EventId(twin) if isinstance(twin, str) and twin else None, translation=translation
        )

    async def _fetch_related(self, related: object) -> Translation | None:
        """Fetch an object by its type and id, never by the URL that the event contains: it would receive our key."""
        match related:
            case {"type": "subscription", "id": str(name)}:
                return await self.fetch_subscription(SubscriptionId(name))
            case {"type": "invoice", "id": str(name)}:
                return await self.fetch_invoice(InvoiceId(name))
            case {"type": "customer", "id": str(name)}:
                return await self.fetch_customer(CustomerId(name))
            case {"type": "checkout.session", "id": str(name)}:
                return await self.fetch_checkout_session(name)
        return Translation(ignored=reasons.UNHANDLED_TYPE)

    async def _get(self, operation: str, kind: str, name: str) -> Json | None:
        """Fetch an object. An id that Stripe would never assign is unknown without asking."""
        return await self._client.get(operation, name) if is_id(kind, name) else None

    async def _completed(
        self, owner: Json, key: str, operation: str, *ids: str, params: Json | None = None
    ) -> Json | None:
        """Return an object with its whole list instead of the first page; None if it is gone in the meantime."""
        listed = owner.get(key)
        if not isinstance(listed, dict) or not listed.get("has_more"):
            return owner
        members = _by_id(listed)
        has_more = True
        while has_more and members:
            cursor = {"limit": _PAGE, "starting_after": next(reversed(members))}
            page = await self._client.get(operation, *ids, params={**(params or {}), **cursor})
            if page is None:
                return None
            added = _by_id(page)
            if not added.keys() - members.keys():
                break  # a list that announces more and does not continue is left incomplete
            members |= added
            has_more = bool(page.get("has_more"))
        return {**owner, key: {**listed, "data": [*members.values()], "has_more": has_more}}


def _by_id(listed: Mapping[str, Any]) -> dict[str, object]:
    """Return the members of a list by id, in their order."""
    data = listed.get("data")
    if not isinstance(data, list):
        return {}
    return {member["id"]: member for member in data if isinstance(member, dict) and isinstance(member.get("id"), str)}


def _translated(shown: Json | None) -> Translation | None:
    return None if shown is None else translate_object(shown)
