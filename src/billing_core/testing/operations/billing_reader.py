"""The contract of BillingReader."""

from billing_core.model import CustomerId, InvoiceId
from billing_core.operations.commands import Address, SetBillingContact, TaxId
from billing_core.operations.ports import BillingReader, OperationGateway
from billing_core.testing.operations.provider_stage import ProviderStage, create_customer, unpaid_upgrade
from billing_core.testing.suite import Suite

NO_CUSTOMERS = (CustomerId("cus_unknown1"), CustomerId(""), CustomerId("../invoices"), CustomerId("in_1"))


class BillingReaderContract(Suite):
    """Reading beside the state. A binding provides `reader`, `gateway` and a `stage` of one provider, empty."""

    async def test_the_default_payment_method_comes_first(
        self, reader: BillingReader, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """With what customers recognize it by."""
        customer_id = await create_customer(gateway, stage, card=None)
        assert list(await reader.payment_methods(customer_id)) == []
        first, last = await stage.card(customer_id), await stage.card(customer_id)
        methods = await reader.payment_methods(customer_id)
        assert [(method.payment_method_id, method.default) for method in methods] == [(last, True), (first, False)]
        assert {(method.type, method.brand, method.last4) for method in methods} == {("card", "visa", "4242")}

    async def test_a_contact_shows_what_is_printed(
        self, reader: BillingReader, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Address and tax ids included; nothing of it appears in logs by accident."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = SetBillingContact(
            customer_id=customer_id,
            name="Acme GmbH",
            phone="+49 30 1",
            address=Address(line1="Street 1", city="Berlin", country="DE"),
            add_tax_ids=(TaxId(type="eu_vat", value="DE123456789"),),
        )
        await gateway.perform(command, "bo_1")
        contact = await reader.billing_contact(customer_id)
        assert contact is not None
        assert (contact.email, contact.name, contact.phone) == ("team@example.com", "Acme GmbH", "+49 30 1")
        assert contact.address is not None
        assert (contact.address["line1"], contact.address["city"], contact.address["line2"]) == (
            "Street 1",
            "Berlin",
            None,
        )
        assert [(tax_id.type, tax_id.value) for tax_id in contact.tax_ids] == [("eu_vat", "DE123456789")]
        assert "Acme" not in repr(contact)

    async def test_unknown_customers_have_nothing(self, reader: BillingReader) -> None:
        """Also those whose ids no provider would assign."""
        for customer_id in NO_CUSTOMERS:
            assert list(await reader.payment_methods(customer_id)) == []
            assert await reader.billing_contact(customer_id) is None

    async def test_promotion_codes_are_found_as_customers_write_them(
        self, reader: BillingReader, stage: ProviderStage
    ) -> None:
        """Upper and lower case are the same; an inactive one is found, and not usable."""
        promotion_code_id = stage.promotion_code("SPRING", percent_off=20)
        stage.promotion_code("AUTUMN", percent_off=10, active=False)
        found = await reader.promotion_code("spring", None)
        assert found is not None
        assert (found.promotion_code_id, found.percent_off, found.usable) == (promotion_code_id, 20, True)
        over = await reader.promotion_code("AUTUMN", None)
        assert over is not None
        assert not over.usable
        assert await reader.promotion_code("WINTER", None) is None
        assert await reader.promotion_code("", None) is None

    async def test_an_invoice_has_a_pdf(
        self, reader: BillingReader, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """An unknown one has none."""
        _, invoice_id = await unpaid_upgrade(gateway, stage)
        pdf = await reader.invoice_pdf(invoice_id)
        assert pdf is not None
        assert pdf.startswith("https://")
        assert await reader.invoice_pdf(InvoiceId("in_unknown1")) is None
        assert await reader.invoice_pdf(InvoiceId("")) is None
