"""The objects of the provider that are not snapshots of ours."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from billing_core.model import CustomerId, CustomerSnapshot, SubscriptionId, TenantId
from billing_core.operations.commands import NewItem, Trial
from billing_core.operations.results import CreditGrant, StoredTaxId

Behavior = Literal["pays", "declines", "asks"]
"""The behavior of a payment method when it is charged; `asks` wants the customer to confirm first."""


@attrs.frozen(kw_only=True)
class FakePrice:
    """A price. One that was not added costs nothing."""

    price_id: str
    unit_amount: int = 0
    currency: str = "usd"
    interval: str = "month"
    metered: bool = False


@attrs.frozen(kw_only=True)
class FakePaymentMethod:
    """A saved way to pay."""

    payment_method_id: str
    customer_id: CustomerId | None
    """None once it is detached."""
    behavior: Behavior = "pays"


@attrs.frozen(kw_only=True)
class FakeCustomer:
    """A customer, with what its snapshot leaves out."""

    snapshot: CustomerSnapshot
    tenant_id: TenantId | None = None
    phone: str | None = None
    address: Mapping[str, str | None] | None = None
    tax_ids: tuple[StoredTaxId, ...] = ()
    default_payment_method: str | None = None
    grants: tuple[CreditGrant, ...] = ()


@attrs.frozen(kw_only=True)
class FakeSchedule:
    """A change of a subscription that is going to happen."""

    schedule_id: str
    subscription_id: SubscriptionId
    effective_at: datetime
    items: tuple[NewItem, ...]


@attrs.frozen(kw_only=True)
class FakeCheckout:
    """A checkout session."""

    session_id: str
    tenant_id: TenantId
    customer_id: CustomerId
    items: tuple[NewItem, ...]
    trial: Trial | None
    expires_at: datetime
    status: Literal["open", "complete", "expired"] = "open"
    embedded: bool = False
    subscription_id: SubscriptionId | None = None
    """The subscription that it started."""
