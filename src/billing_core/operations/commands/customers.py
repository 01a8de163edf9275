"""Commands about a customer, its payment methods and its credit."""

from typing import ClassVar, Literal

import attrs

from billing_core.model import CustomerId, SubscriptionId, TenantId
from billing_core.operations.commands.values import CONTACT, Address, CreditTerms, TaxId


@attrs.frozen(kw_only=True)
class CreateCustomer:
    """Create the customer of a tenant. Its metadata names the tenant."""

    operation: ClassVar[str] = "create_customer"

    tenant_id: TenantId
    email: str | None = attrs.field(default=None, repr=False, metadata=CONTACT)
    name: str | None = attrs.field(default=None, repr=False, metadata=CONTACT)
    plan_code: None = None


@attrs.frozen(kw_only=True)
class SetBillingContact:
    """Set who receives invoices and what is printed on them. None leaves a field as it is; "" clears it."""

    operation: ClassVar[str] = "set_billing_contact"

    customer_id: CustomerId
    email: str | None = attrs.field(default=None, repr=False, metadata=CONTACT)
    name: str | None = attrs.field(default=None, repr=False, metadata=CONTACT)
    phone: str | None = attrs.field(default=None, repr=False, metadata=CONTACT)
    address: Address | None = attrs.field(default=None, repr=False, metadata=CONTACT)
    """Replaces the whole address."""
    add_tax_ids: tuple[TaxId, ...] = attrs.field(default=(), repr=False, metadata=CONTACT)
    remove_tax_ids: tuple[str, ...] = ()
    """The provider's ids of tax ids (`txi_…`)."""
    plan_code: None = None


@attrs.frozen(kw_only=True)
class CreateSetupIntent:
    """Prepare that a customer adds a payment method in the browser, for later payments without the customer."""

    operation: ClassVar[str] = "create_setup_intent"

    customer_id: CustomerId
    plan_code: None = None


@attrs.frozen(kw_only=True)
class OwnDefault:
    """The payment method that a subscription charges in place of its customer's default."""

    subscription_id: SubscriptionId
    payment_method_id: str


@attrs.frozen(kw_only=True)
class SetDefaultPaymentMethod:
    """Charge a payment method from now on."""

    operation: ClassVar[str] = "set_default_payment_method"

    customer_id: CustomerId
    payment_method_id: str
    former: str | None = None
    """The customer's default when it was decided: it is set again where a later call is refused."""
    outranking: tuple[OwnDefault, ...] = ()
    """Defaults of subscriptions' own, which would outrank the customer's: they are cleared."""
    plan_code: None = None


@attrs.frozen(kw_only=True)
class DetachPaymentMethod:
    """Remove a payment method from its customer, for good."""

    operation: ClassVar[str] = "detach_payment_method"

    customer_id: CustomerId
    payment_method_id: str
    plan_code: None = None


@attrs.frozen(kw_only=True)
class CreatePortalSession:
    """Open the provider's page on which a customer manages its billing."""

    operation: ClassVar[str] = "create_portal_session"

    customer_id: CustomerId
    return_url: str
    flow: Literal["payment_method_update", "subscription_cancel", "subscription_update"] | None = None
    """The page to open at once; None: the overview."""
    subscription_id: SubscriptionId | None = None
    """The subscription of a flow about one."""
    configuration: str | None = None
    """The configuration of the portal that set-up made; None: the account's default."""
    plan_code: None = None


@attrs.frozen(kw_only=True)
class GiveCredit:
    """Give a customer credit for metered usage."""

    operation: ClassVar[str] = "give_credit"

    customer_id: CustomerId
    amount: int = attrs.field(validator=attrs.validators.gt(0))
    """In the minor unit of the currency."""
    currency: str = attrs.field(validator=attrs.validators.matches_re(r"[a-z]{3}"))
    terms: CreditTerms = attrs.field(factory=CreditTerms)
    plan_code: None = None


CustomerCommand = (
    CreateCustomer
    | SetBillingContact
    | CreateSetupIntent
    | SetDefaultPaymentMethod
    | DetachPaymentMethod
    | CreatePortalSession
    | GiveCredit
)
