"""Live checks of an account by harmless reads: what a key may do, where events go, and what prices are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from billing_core.errors import GatewayPermissionError
from billing_stripe.client import Json, StripeClient, StripeRequest

_KEYS_PER_LIST: Final = 10
"""Lookup keys in one request. Source: https://docs.stripe.com/api/prices/list#list_prices-lookup_keys"""

READS: Final[Mapping[str, str]] = {
    "Customers": "list_customers",
    "Subscriptions": "list_subscriptions",
    "Invoices": "list_invoices",
    "Checkout Sessions": "list_checkout_sessions",
    "Customer portal": "list_portal_configurations",
    "SetupIntents": "list_setup_intents",
    "Credit grants": "list_credit_grants",
    "Promotion codes": "list_promotion_codes",
    "Products": "list_products",
    "Prices": "list_prices",
    "Entitlements": "list_features",
    "Billing meters": "list_meters",
    "Events": "list_events",
}
"""Permissions that our calls need, by their names in the Stripe Dashboard, each with a read that needs it.

A read shows whether a key may read. Whether it may write as well shows only when it does.
"""


@attrs.frozen(kw_only=True)
class SeenAccount:
    """The account that a key opens, as far as the key may see it."""

    account_id: str | None
    """None if the key may not read the account itself."""
    answered_at: datetime | None
    """Stripe's clock when it answered."""


@attrs.frozen(kw_only=True)
class WebhookTarget:
    """One webhook endpoint, or one event destination of the second generation."""

    target_id: str
    url: str
    enabled: bool
    event_types: frozenset[str]
    """`*` stands for all."""
    api_version: str | None
    """None for the account's default version."""
    thin: bool = False
    """Whether it receives thin events, which have no version."""


@attrs.frozen(kw_only=True)
class SeenPrice:
    """A price as Stripe has it."""

    price_id: str
    lookup_key: str | None
    active: bool
    currency: str
    amount: Decimal | None
    """Per unit in the minor unit; None if it has tiers."""
    interval: str | None
    """None for a price that is paid once."""
    interval_count: int
    metered: bool


class StripeInspector:
    """Reads of an account for live checks. None of them changes anything."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client

    async def account(self) -> SeenAccount:
        """Return the account of the key. Raises: GatewayError, but for a missing permission."""
        try:
            answer = await self._client.call(StripeRequest(operation="fetch_account"))
        except GatewayPermissionError:
            return SeenAccount(account_id=None, answered_at=None)
        return SeenAccount(account_id=_text(answer.data, "id"), answered_at=answer.answered_at)

    async def missing_reads(self) -> Mapping[str, str | None]:
        """Return the permissions that the key lacks, each with Stripe's own name (`rak_…_read`) if it was told.

        Raises: GatewayError for any other failure.
        """
        missing: dict[str, str | None] = {}
        for name, operation in READS.items():
            try:
                await self._client.get(operation, params={"limit": 1})
            except GatewayPermissionError as exc:
                missing[name] = exc.permission
        return missing

    async def webhook_targets(self) -> Sequence[WebhookTarget]:
        """Return endpoints and destinations, as far as the key may read them.

        Raises: GatewayPermissionError if it may read neither; GatewayError.
        """
        found: dict[str, WebhookTarget] = {}
        refusals: list[GatewayPermissionError] = []
        for operation, params, read in (
            ("list_event_destinations", {"include": ["webhook_endpoint.url"]}, _target_from_destination),
            ("list_webhook_endpoints", {"limit": 100}, _target_from_endpoint),
        ):
            try:
                listed = await self._client.get(operation, params=params)
            except GatewayPermissionError as exc:
                refusals.append(exc)
                continue
            found |= {target.target_id: target for target in map(read, (listed or {}).get("data", ()))}
        if len(refusals) == 2:
            raise refusals[0]
        return list(found.values())

    async def prices(self, *, price_ids: Iterable[str], lookup_keys: Iterable[str]) -> Sequence[SeenPrice]:
        """Return the prices with these ids or lookup keys, archived ones among them. Raises: GatewayError."""
        rows = [await self._client.get("fetch_price", price_id) for price_id in sorted(set(price_ids))]
        keys = sorted(set(lookup_keys))
        for first in range(0, len(keys), _KEYS_PER_LIST):
            params = {"lookup_keys": keys[first : first + _KEYS_PER_LIST], "limit": 100}
            listed = await self._client.get("list_prices", params=params)
            rows += (listed or {}).get("data", ())
        return [_price(row) for row in rows if row is not None]


def _target_from_endpoint(row: Json) -> WebhookTarget:
    return WebhookTarget(
        target_id=row["id"],
        url=row["url"],
        enabled=row["status"] == "enabled",
        event_types=frozenset(row["enabled_events"]),
        api_version=row.get("api_version"),
    )


def _target_from_destination(row: Json) -> WebhookTarget:
    return WebhookTarget(
        target_id=row["id"],
        url=(row.get("webhook_endpoint") or {}).get("url") or "",
        enabled=row["status"] == "enabled",
        event_types=frozenset(row["enabled_events"]),
        api_version=row.get("snapshot_api_version"),
        thin=row["event_payload"] == "thin",
    )


def _price(row: Json) -> SeenPrice:
    amount = row.get("unit_amount_decimal") or row.get("unit_amount")
    recurring: Mapping[str, Any] = row.get("recurring") or {}
    return SeenPrice(
        price_id=row["id"],
        lookup_key=row.get("lookup_key"),
        active=row["active"],
        currency=row["currency"],
        amount=None if amount is None else Decimal(str(amount)),
        interval=recurring.get("interval"),
        interval_count=recurring.get("interval_count", 1),
        metered=recurring.get("usage_type") == "metered",
    )


def _text(row: Json, name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) else None
