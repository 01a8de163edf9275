"""Commands about checkouts and invoices."""

from datetime import datetime
from typing import ClassVar, Literal

import attrs

from billing_core.model import CustomerId, InvoiceId, TenantId
from billing_core.model.time import aware
from billing_core.operations.commands.subscriptions import first_plan
from billing_core.operations.commands.values import BillingMode, CheckoutReturn, NewItem, Trial


@attrs.frozen(kw_only=True)
class CreateCheckoutSession:
    """Open the provider's page on which a customer starts a subscription. Its metadata names the tenant."""

    operation: ClassVar[str] = "create_checkout_session"

    tenant_id: TenantId
    customer_id: CustomerId
    items: tuple[NewItem, ...]
    returns: CheckoutReturn
    expires_at: datetime = attrs.field(validator=aware)
    """Between 30 minutes and 24 hours ahead."""
    expire: tuple[str, ...] = ()
    """Earlier sessions of the customer that are still open, to expire first: two would make two subscriptions."""
    trial: Trial | None = None
    promotion_code_id: str | None = None
    allow_promotion_codes: bool = False
    """Whether the customer may enter one; not beside `promotion_code_id`."""
    payment_method: Literal["always", "if_required"] = "always"
    """Whether a payment method is collected where nothing is due yet."""
    automatic_tax: bool = False
    collect_tax_id: bool = False
    locale: str | None = None
    billing_mode: BillingMode = "flexible"

    @property
    def plan_code(self) -> str | None:
        """The plan that is started."""
        return first_plan([item.price for item in self.items])


@attrs.frozen(kw_only=True)
class ExpireCheckoutSession:
    """Close a checkout session, so that it cannot be completed. A complete or expired one stays as it is."""

    operation: ClassVar[str] = "expire_checkout_session"

    session_id: str
    plan_code: None = None


@attrs.frozen(kw_only=True)
class PayInvoice:
    """Try again to collect an open invoice. One that is already paid counts as done."""

    operation: ClassVar[str] = "pay_invoice"

    invoice_id: InvoiceId
    payment_method_id: str | None = None
    """None: the default payment method."""
    off_session: bool = True
    """False if the customer is there to confirm the payment."""
    out_of_band: bool = False
    """The invoice was paid in another way: nothing is charged."""
    plan_code: str | None = None


PaymentCommand = CreateCheckoutSession | ExpireCheckoutSession | PayInvoice
