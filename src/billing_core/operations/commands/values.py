"""The parts that commands are made of. Plans and prices are named as the catalog names them."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

import attrs

from billing_core.model import ItemId, PriceId, Role
from billing_core.model.time import aware

CONTACT: Final[Mapping[str, bool]] = MappingProxyType({"contact": True})
"""The metadata of fields with contact details, which are not kept once an operation is resolved."""

Proration = Literal["invoice_now", "next_invoice", "none"]
"""The fate of the price difference of a change within a period: invoiced at once, with the next invoice, or waived."""

BillingMode = Literal["flexible", "classic"]

Feedback = Literal[
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
]
"""The reasons to cancel among which a customer chooses."""


def _countable(_instance: object, attribute: "attrs.Attribute[int | None]", value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"{attribute.name} must not be negative, got {value}")


@attrs.frozen(kw_only=True)
class PriceChoice:
    """One price of the catalog, with its place there and its name at the provider.

    The catalog may change before a command is performed again, and the same call must be sent then: so the choice is
    stored, not only the plan.
    """

    plan_code: str | None = None
    """None for a price of no known plan, which a subscription has and keeps."""
    role: Role = "base"
    feature: str | None = None
    interval: str | None = None
    interval_count: int = 1
    currency: str | None = None
    price_id: PriceId | None = None
    lookup_key: str | None = None
    """Names the price where there is no id. One of the two is always set."""

    def __attrs_post_init__(self) -> None:
        if self.price_id is None and self.lookup_key is None:
            raise ValueError("a price needs an id or a lookup key")


@attrs.frozen(kw_only=True)
class NewItem:
    """An item that a subscription is going to have."""

    price: PriceChoice
    quantity: int | None = attrs.field(default=None, validator=_countable)
    """None for metered prices, which have none; otherwise always a number."""


@attrs.frozen(kw_only=True)
class ItemChange:
    """A change of one item that a subscription has."""

    item_id: ItemId
    price: PriceChoice | None = None
    """Its new price; None if it stays."""
    quantity: int | None = attrs.field(default=None, validator=_countable)
    """Its quantity from now on, also where it stays the same; None for metered prices."""
    deleted: bool = False
    """The item is removed; price and quantity say nothing then."""


@attrs.frozen(kw_only=True)
class Trial:
    """A trial at the start of a subscription."""

    days: int = attrs.field(validator=attrs.validators.ge(1))
    without_payment_method: Literal["cancel", "create_invoice", "pause"] = "cancel"
    """The fate of the subscription at its end if there is no payment method."""


@attrs.frozen(kw_only=True)
class Address:
    """A postal address, as it is printed on invoices."""

    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    """Two letters, ISO 3166-1."""


@attrs.frozen(kw_only=True)
class TaxId:
    """A tax id, for example `eu_vat` `DE123456789`."""

    type: str
    value: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Cancellation:
    """The customer's reasons to cancel."""

    feedback: Feedback | None = None
    comment: str | None = None


@attrs.frozen(kw_only=True)
class CheckoutReturn:
    """Where a checkout leads to.

    A hosted page needs `success_url`; one that is embedded in a page of the application needs `return_url` instead.
    """

    success_url: str | None = None
    """May contain `{CHECKOUT_SESSION_ID}`."""
    cancel_url: str | None = None
    return_url: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.success_url is None) == (self.return_url is None):
            raise ValueError("a checkout needs either a success_url or a return_url")

    @property
    def embedded(self) -> bool:
        """Whether the checkout is shown inside a page of the application."""
        return self.return_url is not None


@attrs.frozen(kw_only=True)
class CreditTerms:
    """How credit may be used."""

    category: Literal["paid", "promotional"] = "promotional"
    expires_at: datetime | None = attrs.field(default=None, validator=aware)
    name: str | None = None
    """Shown to operators, not to the customer."""
