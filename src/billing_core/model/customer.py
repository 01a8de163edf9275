"""A provider customer and the tenant it belongs to."""

from typing import ClassVar

import attrs

from billing_core.frozen import frozen
from billing_core.model.identifiers import CustomerId, TenantId
from billing_core.model.ordering import Ordered, Provenance


@frozen(kw_only=True)
class CustomerSnapshot(Ordered):
    """A customer as one event shows it."""

    kind: ClassVar[str] = "customer"
    refetchable: ClassVar[bool] = True

    customer_id: CustomerId
    email: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    delinquent: bool = False
    payment_method_id: str | None = None
    """The default that is charged for subscriptions without one of their own."""
    deleted: bool = False

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.customer_id

    @property
    def precedence(self) -> int:
        """A deleted customer never comes back."""
        return 1 if self.deleted else 0


@frozen(kw_only=True)
class TenantCustomer:
    """The link from a provider customer to our tenant, and what is known of the customer.

    `tenant_id` is None until the customer is linked: its events wait until then. Only an operator moves a link.
    `snapshot` and `provenance` are None until an event of the customer itself arrived.
    """

    kind: ClassVar[str] = CustomerSnapshot.kind

    customer_id: CustomerId
    tenant_id: TenantId | None = None
    snapshot: CustomerSnapshot | None = None
    provenance: Provenance | None = None

    @property
    def object_id(self) -> str:
        """The id it is stored under."""
        return self.customer_id
