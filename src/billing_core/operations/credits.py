"""Credit for metered usage, and promotion codes."""

import attrs

from billing_core.model import CustomerId, TenantId
from billing_core.operations.commands import Command, CreditTerms, GiveCredit
from billing_core.operations.ports import BillingReader
from billing_core.operations.requests import Caller, Operator
from billing_core.operations.results import CreditBalance, PromotionCode
from billing_core.operations.runner import OperationOutcome

_PROMOTIONAL = CreditTerms()
_PLACEHOLDER = CustomerId("")
"""In place of the customer, which is found once everything else is valid."""


@attrs.frozen(kw_only=True)
class CreditOperations:
    """Operations on the credit of a tenant."""

    operator: Operator
    reader: BillingReader

    async def balance(self, tenant_id: TenantId, currency: str) -> CreditBalance:
        """Return the credit of a tenant in one currency. Raises: GatewayError, StoreUnavailableError."""
        account = await self.operator.accounts.load(tenant_id)
        if account.customer_id is None:
            return CreditBalance(available=0, currency=currency)
        return await self.reader.credit_balance(account.customer_id, currency)

    async def give(
        self, caller: Caller, *, amount: int, currency: str, terms: CreditTerms = _PROMOTIONAL
    ) -> OperationOutcome:
        """Give a tenant credit for metered usage, in the minor unit of the currency.

        Raises: as `OperationRunner.run`; ValueError for an amount that is not above zero, or no ISO code.
        """
        wanted = GiveCredit(customer_id=_PLACEHOLDER, amount=amount, currency=currency, terms=terms)

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            return attrs.evolve(wanted, customer_id=account.require_customer())

        arguments = {"amount": amount, "currency": currency, "terms": terms}
        return await self.operator.run(caller, "give_credit", f"credit:{caller.tenant_id}", arguments, decide)

    async def promotion_code(self, tenant_id: TenantId, code: str) -> PromotionCode | None:
        """Return what a code that the customer entered gives; None if there is none. Raises: GatewayError."""
        account = await self.operator.accounts.load(tenant_id)
        return await self.reader.promotion_code(code, account.customer_id)
