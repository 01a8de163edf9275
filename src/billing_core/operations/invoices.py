"""Invoices: list, download, pay."""

from collections.abc import Sequence

import attrs

from billing_core.model import InvoiceId, SubscriptionId, SubscriptionInvoice, TenantId
from billing_core.operations.commands import Command, PayInvoice
from billing_core.operations.decisions.targets import kept
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.ports import BillingReader, PreviewGateway
from billing_core.operations.requests import Caller, Operator
from billing_core.operations.results import InvoicePreview
from billing_core.operations.runner import OperationOutcome
from billing_core.state.ports import TenantReader

_MOST: int = 10_000
"""Invoices of one tenant among which one is looked up."""


@attrs.frozen(kw_only=True)
class InvoiceOperations:
    """Operations on the invoices of a tenant."""

    operator: Operator
    reader: BillingReader
    stored: TenantReader
    previews: PreviewGateway

    async def list(self, tenant_id: TenantId, *, limit: int = 100) -> Sequence[SubscriptionInvoice]:
        """Return the newest invoices of a tenant. Raises: StoreUnavailableError."""
        return await self.stored.invoices(tenant_id, limit=limit)

    async def upcoming(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> InvoicePreview | None:
        """Return the next invoice of a subscription as it stands, with metered usage so far; None if it ends before.

        Raises: OperationRefusedError, GatewayError.
        """
        account = await self.operator.accounts.load(tenant_id)
        seen = account.require_subscription(subscription_id)
        prices = [kept(item.price_id, account.catalog.place_of(item)) for item in seen.items]
        return await self.previews.upcoming(subscription_id, prices)

    async def pdf(self, tenant_id: TenantId, invoice_id: InvoiceId) -> str:
        """Return a link to the PDF of an invoice. Raises: OperationRefusedError, GatewayError."""
        await self._require(tenant_id, invoice_id)
        link = await self.reader.invoice_pdf(invoice_id)
        if link is None:
            raise OperationRefusedError(Refusal.UNKNOWN_INVOICE)
        return link

    async def pay(
        self, caller: Caller, invoice_id: InvoiceId, *, payment_method_id: str | None = None, off_session: bool = True
    ) -> OperationOutcome:
        """Try again to collect an invoice. One that is paid by now counts as done.

        Raises: as `OperationRunner.run`.
        """

        async def decide() -> Command:
            invoice = (await self._require(caller.tenant_id, invoice_id)).snapshot
            if invoice.status not in ("open", "uncollectible", "paid"):
                raise OperationRefusedError(Refusal.INVOICE_NOT_OPEN)
            if payment_method_id is not None:
                await self._require_payment_method(caller.tenant_id, payment_method_id)
            account = await self.operator.accounts.load(caller.tenant_id)
            billed = (seen for seen in account.subscriptions if seen.subscription_id == invoice.subscription_id)
            return PayInvoice(
                invoice_id=invoice_id,
                payment_method_id=payment_method_id,
                off_session=off_session,
                plan_code=next((seen.plan_code for seen in billed), None),
            )

        arguments = {"invoice": invoice_id, "payment_method": payment_method_id, "off_session": off_session}
        return await self.operator.run(caller, "pay_invoice", invoice_id, arguments, decide)

    async def _require(self, tenant_id: TenantId, invoice_id: InvoiceId) -> SubscriptionInvoice:
        found = await self.stored.invoices(tenant_id, limit=_MOST)
        invoice = next((each for each in found if each.snapshot.invoice_id == invoice_id), None)
        if invoice is None:
            raise OperationRefusedError(Refusal.UNKNOWN_INVOICE)
        return invoice

    async def _require_payment_method(self, tenant_id: TenantId, payment_method_id: str) -> None:
        account = await self.operator.accounts.load(tenant_id)
        known = await self.reader.payment_methods(account.require_customer())
        if payment_method_id not in {each.payment_method_id for each in known}:
            raise OperationRefusedError(Refusal.UNKNOWN_PAYMENT_METHOD)
