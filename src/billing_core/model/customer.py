"""A provider customer and the tenant it belongs to."""

import attrs

from billing_core.model.identifiers import CustomerId, TenantId
from billing_core.model.ordering import Provenance


@attrs.frozen(kw_only=True)
class CustomerSnapshot:
    """What one event says of a customer."""

    customer_id: CustomerId
    email: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    delinquent: bool = False
    deleted: bool = False

    @property
    def object_id(self) -> str:
        """The provider's id of the object: prefixed by kind, so unique over all kinds."""
        return self.customer_id

    @property
    def precedence(self) -> int:
        """A deleted customer never comes back."""
        return 1 if self.deleted else 0

    @property
    def progress(self) -> int:
        """Nothing of a customer only grows."""
        return 0


@attrs.frozen(kw_only=True)
class TenantCustomer:
    """The link from a provider customer to our tenant, and what is known of the customer.

    `tenant_id` is None while nobody has said whose customer it is: its events wait. Once set it never changes.
    `snapshot` and `provenance` are None until an event of the customer itself arrived.
    """

    customer_id: CustomerId
    tenant_id: TenantId | None = None
    snapshot: CustomerSnapshot | None = None
    provenance: Provenance | None = None
