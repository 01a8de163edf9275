"""The contract of commands that send customers to the provider's pages, and of credit."""

from datetime import timedelta

import attrs
import pytest

from billing_core.errors import GatewayInvalidRequestError
from billing_core.model import CustomerId, TenantId
from billing_core.operations.commands import (
    CheckoutReturn,
    CreateCheckoutSession,
    CreatePortalSession,
    CreditTerms,
    ExpireCheckoutSession,
    GiveCredit,
)
from billing_core.operations.ports import BillingReader, OperationGateway
from billing_core.testing.operations.provider_stage import (
    AMOUNTS,
    BASE,
    SEATS,
    TENANT,
    ProviderStage,
    base,
    billed,
    create_customer,
    seats,
)
from billing_core.testing.suite import Suite


def checkout_of(customer_id: CustomerId, stage: ProviderStage) -> CreateCheckoutSession:
    """Return the command that opens a hosted page."""
    return CreateCheckoutSession(
        tenant_id=TENANT,
        customer_id=customer_id,
        items=(base(stage), seats(stage, 5)),
        returns=CheckoutReturn(success_url="https://app.example/done"),
        expires_at=stage.now() + timedelta(hours=1),
    )


class PageOperationsContract(Suite):
    """Pages and credit. A binding provides `gateway`, `reader` and a `stage` of one provider, empty."""

    async def test_a_checkout_starts_one_subscription(
        self, gateway: OperationGateway, reader: BillingReader, stage: ProviderStage
    ) -> None:
        """The customer completes it on its page; until then it is listed as open."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = checkout_of(customer_id, stage)
        assert await gateway.find_out(command, "bo_1") is None
        result = (await gateway.perform(command, "bo_1")).result
        assert (result.status, result.object_status, result.expires_at) == (
            "requires_action",
            "open",
            command.expires_at,
        )
        assert result.url is not None
        assert result.url not in repr(result)
        assert (await gateway.perform(command, "bo_1")).result.url == result.url
        found = await gateway.find_out(command, "bo_1")
        assert found is not None
        session_id = str(result.object_id)
        assert found.result.object_id == session_id
        assert list(await reader.open_checkout_sessions(customer_id, TENANT)) == [session_id]
        await stage.complete_checkout(session_id)
        (subscription,) = await stage.subscriptions(customer_id)
        assert billed(subscription) == [(AMOUNTS[SEATS], 5), (AMOUNTS[BASE], 1)]
        assert list(await reader.open_checkout_sessions(customer_id, TENANT)) == []
        (known,) = await reader.subscriptions_of(customer_id, TENANT)
        assert known.subscription_id == subscription.subscription_id
        assert list(await reader.subscriptions_of(customer_id, TenantId("another"))) == []
        checkout = await reader.checkout(session_id)
        assert checkout is not None
        assert checkout.subscription is not None
        assert (checkout.tenant_id, checkout.subscription.subscription_id) == (TENANT, subscription.subscription_id)

    async def test_a_new_checkout_closes_the_one_before(
        self, gateway: OperationGateway, reader: BillingReader, stage: ProviderStage
    ) -> None:
        """Two open ones would make two subscriptions; one that was completed is a reason to refuse."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = checkout_of(customer_id, stage)
        first = str((await gateway.perform(command, "bo_1")).result.object_id)
        second = str((await gateway.perform(attrs.evolve(command, expire=(first,)), "bo_2")).result.object_id)
        assert list(await reader.open_checkout_sessions(customer_id, TENANT)) == [second]
        await stage.complete_checkout(second)
        with pytest.raises(GatewayInvalidRequestError) as refused:
            await gateway.perform(attrs.evolve(command, expire=(second,)), "bo_3")
        assert not refused.value.outcome_unknown
        assert list(await reader.open_checkout_sessions(customer_id, TENANT)) == []

    async def test_a_checkout_is_closed(
        self, gateway: OperationGateway, reader: BillingReader, stage: ProviderStage
    ) -> None:
        """Repeating the command is no failure."""
        customer_id = await create_customer(gateway, stage, card=None)
        session_id = str((await gateway.perform(checkout_of(customer_id, stage), "bo_1")).result.object_id)
        command = ExpireCheckoutSession(session_id=session_id)
        assert await gateway.find_out(command, "bo_2") is None
        for key in ("bo_2", "bo_2", "bo_3"):
            assert (await gateway.perform(command, key)).result.object_status == "expired"
        assert await gateway.find_out(command, "bo_2") is not None
        assert list(await reader.open_checkout_sessions(customer_id, TENANT)) == []

    async def test_the_portal_opens_for_a_customer(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Its URL lets the one who has it act as the customer, so that it is not shown by accident."""
        customer_id = await create_customer(gateway, stage, card=None)
        stage.set_up_portal()
        command = CreatePortalSession(customer_id=customer_id, return_url="https://app.example/billing")
        result = (await gateway.perform(command, "bo_1")).result
        assert result.url is not None
        assert result.url not in repr(result)

    async def test_credit_is_given_once(
        self, gateway: OperationGateway, reader: BillingReader, stage: ProviderStage
    ) -> None:
        """It is found again, and is what can be used."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = GiveCredit(customer_id=customer_id, amount=500, currency="usd", terms=CreditTerms(name="sorry"))
        assert await gateway.find_out(command, "bo_1") is None
        for _ in range(2):
            await gateway.perform(command, "bo_1")
        balance = await reader.credit_balance(customer_id, "usd")
        assert balance.available == 500
        assert [(grant.amount, grant.name) for grant in balance.grants] == [(500, "sorry")]
        assert await gateway.find_out(command, "bo_1") is not None
        assert (await reader.credit_balance(customer_id, "eur")).available == 0
