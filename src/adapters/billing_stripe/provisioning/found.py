"""The objects that exist at Stripe already. Lists and single objects are consistent; searches are not, and not used."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import attrs

from billing_core.errors import GatewayPermissionError
from billing_stripe.client import Json, StripeClient
from billing_stripe.operations.prices import KEYS_PER_LIST
from billing_stripe.provisioning.desired import MANAGED, Desired

_IDS_PER_LIST = 50


@attrs.frozen(kw_only=True)
class Found:
    """Stripe's own objects, by the names that the catalog has for them."""

    meters: Mapping[str, Json] = attrs.field(factory=dict)
    """By event name; an active one before those that are not."""
    products: Mapping[str, Json] = attrs.field(factory=dict)
    prices: Mapping[str, Json] = attrs.field(factory=dict)
    """By id, or by lookup key."""
    features: Mapping[str, Json] = attrs.field(factory=dict)
    """By lookup key; an active one before archived ones."""
    attached: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    """The lookup keys of the features of each product."""
    portals: Sequence[Json] = ()
    """The configurations that set-up has made, oldest first."""
    endpoints: Sequence[Json] | None = ()
    """The endpoints with the desired URL, oldest first. None if the key may not read endpoints."""
    read_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))


async def find_objects(client: StripeClient, desired: Desired) -> Found:
    """Read what exists of the desired objects. Raises: GatewayError."""
    prices = await _prices(client, desired)
    products = await _products(client, desired)
    selling = {
        str(prices[price.name]["product"]) if price.name in prices else price.product_id
        for price in desired.prices
        if price.role == "base"
    }
    attached = {}
    for product_id in sorted(selling):
        features = [row async for row in client.each("list_product_features", product_id)]
        attached[product_id] = frozenset(str(row["entitlement_feature"]["lookup_key"]) for row in features)
    return Found(
        meters=await _meters(client),
        products=products,
        prices=prices,
        features=await _features(client),
        attached=attached,
        portals=await _portals(client),
        endpoints=await _endpoints(client, desired),
    )


async def _products(client: StripeClient, desired: Desired) -> Mapping[str, Json]:
    found: dict[str, Json] = {}
    for ids in _batches((product.product_id for product in desired.products), _IDS_PER_LIST):
        async for row in client.each("list_products", params={"ids": ids}):
            found[row["id"]] = row
    return found


async def _prices(client: StripeClient, desired: Desired) -> Mapping[str, Json]:
    found: dict[str, Json] = {}
    keys = (price.name for price in desired.prices if price.price_id is None)
    for batch in _batches(keys, KEYS_PER_LIST):
        async for row in client.each("list_prices", params={"lookup_keys": batch}):
            found[row["lookup_key"]] = row
    for price_id in sorted({price.price_id for price in desired.prices if price.price_id is not None}):
        shown = await client.get("fetch_price", price_id)
        if shown is not None:
            found[price_id] = shown
    return found


async def _meters(client: StripeClient) -> Mapping[str, Json]:
    rows = [row async for row in client.each("list_meters")]
    return {row["event_name"]: row for row in sorted(rows, key=lambda row: row["status"] == "active")}


async def _features(client: StripeClient) -> Mapping[str, Json]:
    rows = [row async for row in client.each("list_features")]
    return {row["lookup_key"]: row for row in sorted(rows, key=lambda row: bool(row["active"]))}


async def _portals(client: StripeClient) -> Sequence[Json]:
    expand = ["data.features.subscription_update.products"]
    rows = [row async for row in client.each("list_portal_configurations", params={"expand": expand})]
    return sorted((row for row in rows if _is_managed(row)), key=lambda row: row["created"])


async def _endpoints(client: StripeClient, desired: Desired) -> Sequence[Json] | None:
    if desired.endpoint is None:
        return ()
    try:
        rows = [row async for row in client.each("list_webhook_endpoints")]
    except GatewayPermissionError:
        return None
    url = desired.endpoint.url
    return sorted((row for row in rows if row["url"] == url), key=lambda row: row["created"])


def _is_managed(row: Json) -> bool:
    return MANAGED.items() <= (row.get("metadata") or {}).items()


def _batches(names: Iterable[str], size: int) -> Sequence[list[str]]:
    unique = sorted(set(names))
    return [unique[first : first + size] for first in range(0, len(unique), size)]
