"""The results of operations, and the answers of the provider that they come from."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from billing_core.model import (
    CustomerId,
    CustomerSnapshot,
    InvoiceSnapshot,
    ItemId,
    Period,
    SubscriptionSnapshot,
    TenantId,
)
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class OperationResult:
    """The result of an operation, as its caller sees it."""

    status: Literal["done", "pending", "requires_action"] = "done"
    """`pending`: the change is accepted and takes effect later, at its date or once it is paid.

    `requires_action`: the customer has to confirm a payment or a payment method in the browser first.
    """
    object_id: str | None = None
    """The provider's id of the object that was made or changed."""
    object_status: str | None = None
    """The provider's word for the status of that object."""
    effective_at: datetime | None = attrs.field(default=None, validator=aware)
    """When a pending change takes effect; None if it does once it is paid."""
    expires_at: datetime | None = attrs.field(default=None, validator=aware)
    """When the page behind `url` closes."""
    confirms: Literal["payment", "setup"] | None = None
    """The kind of intent that the client secret confirms."""
    client_secret: str | None = attrs.field(default=None, repr=False)
    """Lets the customer's browser confirm. Never stored, never logged."""
    url: str | None = attrs.field(default=None, repr=False)
    """The provider's page to send the customer to: who has it acts as the customer. Never stored, never logged."""
    secrets_left_out: bool = False
    """The result was stored without its secrets. Performing the operation again within a day shows them."""

    def without_secrets(self) -> "OperationResult":
        """Return the part that may be stored."""
        if self.client_secret is None and self.url is None:
            return self
        return attrs.evolve(self, client_secret=None, url=None, secrets_left_out=True)


@attrs.frozen(kw_only=True)
class Performed:
    """The provider's answer to a command."""

    result: OperationResult
    snapshot: SubscriptionSnapshot | InvoiceSnapshot | CustomerSnapshot | None = None
    """The object as it was at `answered_at`, if it is one that we keep; None if it is gone. A customer may be older."""
    answered_at: datetime | None = attrs.field(default=None, validator=aware)
    """The `Date` of the answer that the snapshot is from: the provider's clock, whole seconds."""
    request_id: str | None = None
    """The provider's id of the last request, for its support."""


@attrs.frozen(kw_only=True)
class PreviewLine:
    """One line of an invoice that is not made yet."""

    description: str | None = None
    amount: int
    quantity: int | None = None
    plan_code: str | None = None
    feature: str | None = None
    period: Period | None = None
    item_id: ItemId | None = None
    """The item that it bills; a later item's id is not known yet."""
    proration: bool = False
    """It settles a part of a period: negative for time that was paid and is not used."""


@attrs.frozen(kw_only=True)
class InvoicePreview:
    """An invoice that is not made yet. Amounts are in the minor unit of the currency."""

    currency: str
    lines: tuple[PreviewLine, ...] = ()
    subtotal: int
    tax: int = 0
    discount: int = 0
    """Deducted from the subtotal."""
    discounts: tuple[str, ...] = ()
    """The provider's ids of what is deducted, sorted."""
    total: int
    credit_applied: int = 0
    """The part of the total that the customer's balance pays; negative if an old debt is added."""
    credit_left: int = 0
    """The customer's credit afterwards."""
    amount_due: int
    due_at: datetime | None = attrs.field(default=None, validator=aware)
    """When it is made; None: at once."""


@attrs.frozen(kw_only=True)
class CommandPreview:
    """The invoices that a command would lead to."""

    now: InvoicePreview | None = None
    """The invoice that it makes at once; None if it makes none."""
    upcoming: InvoicePreview | None = None
    """The regular invoice that follows; None if the subscription ends."""


@attrs.frozen(kw_only=True)
class CustomerPaymentMethod:
    """A way to pay that a customer has saved."""

    payment_method_id: str
    type: str
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    default: bool = False
    """The customer's default. A subscription may have its own."""


@attrs.frozen(kw_only=True)
class CreditGrant:
    """Credit for metered usage that a customer was given."""

    grant_id: str
    amount: int
    currency: str
    category: str
    name: str | None = None
    expires_at: datetime | None = attrs.field(default=None, validator=aware)
    voided: bool = False


@attrs.frozen(kw_only=True)
class CreditBalance:
    """The credit of a customer."""

    available: int
    """The part that can be used now."""
    currency: str
    grants: tuple[CreditGrant, ...] = ()
    """Newest first, at most 100."""


@attrs.frozen(kw_only=True)
class PromotionCode:
    """A code that customers enter for a discount."""

    promotion_code_id: str
    code: str
    percent_off: float | None = None
    amount_off: int | None = None
    currency: str | None = None
    """Of `amount_off`."""
    duration: str
    """`once`, `repeating` or `forever`."""
    duration_in_months: int | None = None
    usable: bool
    """False if it is inactive, expired, used up, or for another customer."""


@attrs.frozen(kw_only=True)
class Checkout:
    """A checkout session as it is now."""

    session_id: str
    status: Literal["open", "complete", "expired"]
    tenant_id: TenantId | None = None
    """The tenant that the session's metadata names. Only a server can set that, never the visitor of a page."""
    customer_id: CustomerId | None = None
    subscription: SubscriptionSnapshot | None = None
    """The subscription that the customer started."""
    answered_at: datetime | None = attrs.field(default=None, validator=aware)
    """The `Date` of the provider's answer."""


@attrs.frozen(kw_only=True)
class StoredTaxId:
    """A tax id of a customer."""

    tax_id: str
    """The provider's id (`txi_…`)."""
    type: str
    value: str = attrs.field(repr=False)
    verification: str | None = None
    """The provider's word: `pending`, `verified`, `unverified` or `unavailable`."""


@attrs.frozen(kw_only=True)
class BillingContact:
    """The receiver of invoices, and what is printed on them."""

    email: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    phone: str | None = attrs.field(default=None, repr=False)
    address: Mapping[str, str | None] | None = attrs.field(default=None, repr=False)
    tax_ids: tuple[StoredTaxId, ...] = ()
