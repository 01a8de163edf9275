"""The customer of a tenant at the provider: made once, linked, and told where invoices go."""

from collections.abc import Sequence
from typing import Any

import attrs

from billing_core.model import CustomerId, TenantId
from billing_core.operations.account import AccountReader
from billing_core.operations.commands import Address, Command, CreateCustomer, SetBillingContact, TaxId
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.ports import BillingReader
from billing_core.operations.requests import Caller, Operator, decided
from billing_core.operations.results import BillingContact
from billing_core.operations.runner import OperationOutcome


class _CustomerExists(Exception):  # noqa: N818 - a signal, not an error
    def __init__(self, customer_id: CustomerId) -> None:
        super().__init__(customer_id)
        self.customer_id = customer_id


@attrs.frozen(kw_only=True)
class CustomerOperations:
    """Creates customers, and sets who receives their invoices."""

    operator: Operator
    reader: BillingReader

    @property
    def accounts(self) -> AccountReader:
        """Reads accounts."""
        return self.operator.accounts

    async def ensure(self, caller: Caller, *, email: str | None = None, name: str | None = None) -> CustomerId:
        """Return the customer of a tenant, which is created and linked if there is none.

        Email and name are those of a new one. Raises: as `OperationRunner.run`; OperationRefusedError where customers
        are shared by tenants, so that the application has to name the payer.
        """

        async def decide() -> Command:
            account = await self.accounts.load(caller.tenant_id)
            customer_id = account.payer(None)
            if customer_id is not None:
                raise _CustomerExists(customer_id)
            return CreateCustomer(tenant_id=caller.tenant_id, email=email, name=name)

        subject = f"customer:{caller.tenant_id}"
        try:
            arguments = {"email": email, "name": name}
            outcome = await self.operator.run(caller, "create_customer", subject, arguments, decide)
        except _CustomerExists as found:
            return found.customer_id
        return CustomerId(outcome.result.object_id or "")

    async def contact(self, tenant_id: TenantId) -> BillingContact:
        """Return who receives the invoices of a tenant. Raises: OperationRefusedError, GatewayError."""
        account = await self.accounts.load(tenant_id)
        found = await self.reader.billing_contact(account.require_customer())
        if found is None:
            raise OperationRefusedError(Refusal.NO_CUSTOMER)
        return found

    async def set_contact(
        self,
        caller: Caller,
        *,
        email: str | None = None,
        name: str | None = None,
        phone: str | None = None,
        address: Address | None = None,
        add_tax_ids: Sequence[TaxId] = (),
        remove_tax_ids: Sequence[str] = (),
    ) -> OperationOutcome:
        """Set who receives invoices and what is printed on them. None leaves a field as it is; "" clears it.

        Raises: as `OperationRunner.run`.
        """
        customer_id = (await self.accounts.load(caller.tenant_id)).require_customer()
        wanted: dict[str, Any] = {
            "email": email,
            "name": name,
            "phone": phone,
            "address": address,
            "add_tax_ids": tuple(add_tax_ids),
            "remove_tax_ids": tuple(remove_tax_ids),
        }
        command = SetBillingContact(customer_id=customer_id, **wanted)
        return await self.operator.run(caller, "set_billing_contact", customer_id, wanted, decided(command))
