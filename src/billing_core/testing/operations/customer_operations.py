"""The contract of commands about customers, their payment methods and their invoices."""

import pytest

from billing_core.errors import GatewayCardDeclinedError, GatewayInvalidRequestError
from billing_core.model import CustomerSnapshot, InvoiceSnapshot
from billing_core.operations.commands import (
    CreateSetupIntent,
    DetachPaymentMethod,
    OwnDefault,
    PayInvoice,
    SetBillingContact,
    SetDefaultPaymentMethod,
    TaxId,
)
from billing_core.operations.ports import OperationGateway
from billing_core.testing.operations.provider_stage import (
    AMOUNTS,
    BIGGER,
    ProviderStage,
    billed,
    create_customer,
    current,
    start,
    unpaid_upgrade,
)
from billing_core.testing.suite import Suite

VAT = TaxId(type="eu_vat", value="DE123456789")


class CustomerOperationsContract(Suite):
    """Commands about customers. A binding provides `gateway` and a `stage` of the same provider, empty."""

    async def test_a_contact_is_changed_and_cleared(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """A field that is not named stays; an empty text clears."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = SetBillingContact(customer_id=customer_id, name="Acme", phone="+49 30 1", add_tax_ids=(VAT,))
        assert await gateway.find_out(command, "bo_1") is None
        performed = await gateway.perform(command, "bo_1")
        assert isinstance(performed.snapshot, CustomerSnapshot)
        assert (performed.snapshot.name, performed.snapshot.email) == ("Acme", "team@example.com")
        assert await gateway.find_out(command, "bo_1") is not None
        cleared = await gateway.perform(SetBillingContact(customer_id=customer_id, name=""), "bo_2")
        assert isinstance(cleared.snapshot, CustomerSnapshot)
        assert (cleared.snapshot.name, cleared.snapshot.email) == (None, "team@example.com")

    async def test_a_payment_method_is_collected_in_the_browser(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The caller gets the secret to confirm with, again under the same key."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = CreateSetupIntent(customer_id=customer_id)
        assert await gateway.find_out(command, "bo_1") is None
        result = (await gateway.perform(command, "bo_1")).result
        assert (result.status, result.confirms) == ("requires_action", "setup")
        assert result.client_secret
        assert (await gateway.perform(command, "bo_1")).result.client_secret == result.client_secret
        found = await gateway.find_out(command, "bo_1")
        assert found is not None
        assert found.result.object_id == result.object_id

    async def test_a_new_default_is_charged_by_subscriptions_too(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """A default of a subscription's own would outrank it, and is cleared."""
        subscription = await start(gateway, stage)
        customer_id = subscription.customer_id
        await stage.own_card(subscription.subscription_id)
        own_method = (await current(stage, subscription)).payment_method_id
        assert own_method is not None
        own = OwnDefault(subscription_id=subscription.subscription_id, payment_method_id=own_method)
        former = await stage.card(customer_id)
        wanted = await stage.card(customer_id)
        for number, method in enumerate((former, wanted)):
            command = SetDefaultPaymentMethod(customer_id=customer_id, payment_method_id=method, outranking=(own,))
            await gateway.perform(command, f"bo_{number}")
            assert await gateway.find_out(command, f"bo_{number}") is not None
            assert (await current(stage, subscription)).payment_method_id is None

    async def test_a_default_has_to_be_attached(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """One of another customer is refused."""
        customer_id = await create_customer(gateway, stage, card=None)
        other = await create_customer(gateway, stage, "bo_other", card=None)
        method = await stage.card(other)
        command = SetDefaultPaymentMethod(customer_id=customer_id, payment_method_id=method)
        with pytest.raises(GatewayInvalidRequestError) as refused:
            await gateway.perform(command, "bo_1")
        assert not refused.value.outcome_unknown

    async def test_a_payment_method_is_detached_once(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Repeating the command is no failure."""
        customer_id = await create_customer(gateway, stage, card=None)
        method = await stage.card(customer_id)
        command = DetachPaymentMethod(customer_id=customer_id, payment_method_id=method)
        assert await gateway.find_out(command, "bo_1") is None
        for key in ("bo_1", "bo_1", "bo_2"):
            assert (await gateway.perform(command, key)).result.object_id == method
        assert await gateway.find_out(command, "bo_1") is not None

    async def test_an_open_invoice_is_paid(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """The change that waited for it takes effect; an invoice that is paid already counts as paid."""
        subscription, invoice_id = await unpaid_upgrade(gateway, stage)
        await stage.card(subscription.customer_id)
        command = PayInvoice(invoice_id=invoice_id)
        assert await gateway.find_out(command, "bo_1") is None
        for key in ("bo_1", "bo_1", "bo_2"):
            performed = await gateway.perform(command, key)
            assert (performed.result.status, performed.result.object_status) == ("done", "paid")
            assert isinstance(performed.snapshot, InvoiceSnapshot)
            assert performed.snapshot.amount_remaining == 0
        assert await gateway.find_out(command, "bo_1") is not None
        assert billed(await current(stage, subscription)) == [(AMOUNTS[BIGGER], 1)]

    async def test_an_invoice_that_cannot_be_paid_stays_open(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Another card is another decision."""
        subscription, invoice_id = await unpaid_upgrade(gateway, stage)
        command = PayInvoice(invoice_id=invoice_id)
        with pytest.raises(GatewayCardDeclinedError) as declined:
            await gateway.perform(command, "bo_1")
        assert not declined.value.outcome_unknown
        assert await gateway.find_out(command, "bo_1") is None
        await stage.card(subscription.customer_id)
        assert (await gateway.perform(command, "bo_2")).result.object_status == "paid"

    async def test_an_invoice_that_was_paid_elsewhere_is_settled(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Nothing is charged for it."""
        _, invoice_id = await unpaid_upgrade(gateway, stage)
        result = (await gateway.perform(PayInvoice(invoice_id=invoice_id, out_of_band=True), "bo_1")).result
        assert (result.status, result.object_status) == ("done", "paid")
