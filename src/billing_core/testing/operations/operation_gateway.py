"""The contract of OperationGateway: rules for every command. Groups of commands have suites of their own."""

import attrs
import pytest

from billing_core.errors import (
    GatewayCardDeclinedError,
    GatewayError,
    GatewayInvalidRequestError,
    GatewayUnavailableError,
)
from billing_core.model import CustomerSnapshot, SubscriptionSnapshot
from billing_core.operations.commands import (
    CancelNow,
    ChangeItems,
    CreateCustomer,
    ItemChange,
    SetSeats,
    StartSubscription,
)
from billing_core.operations.ports import OperationGateway
from billing_core.testing.operations.provider_stage import (
    TENANT,
    ProviderStage,
    base,
    bigger,
    create_customer,
    current,
    item_of,
    seats,
    start,
)
from billing_core.testing.suite import Suite


class OperationGatewayContract(Suite):
    """Commands carried out at most once. A binding provides `gateway` and a `stage` of the same provider, empty."""

    async def test_performing_again_makes_nothing_a_second_time(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The same key leads to the first result."""
        customer_id = await create_customer(gateway, stage)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="on_file")
        first = await gateway.perform(command, "bo_1")
        again = await gateway.perform(command, "bo_1")
        assert (again.result, again.snapshot) == (first.result, first.snapshot)
        assert len(await stage.subscriptions(customer_id)) == 1

    async def test_performing_again_shows_the_object_as_it_is_now(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Another command has changed it since: the first answer would undo that."""
        subscription = await start(gateway, stage)
        item_id = item_of(subscription, seats(stage, 5)).item_id
        for key, quantity in (("bo_1", 6), ("bo_2", 7)):
            command = SetSeats(subscription_id=subscription.subscription_id, item_id=item_id, quantity=quantity)
            first = await gateway.perform(command, key)
        before = attrs.evolve(command, quantity=6)
        again = await gateway.perform(before, "bo_1")
        assert again.snapshot == first.snapshot == await current(stage, subscription)
        assert again.answered_at is not None

    async def test_another_key_is_another_decision(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Two customers of one tenant may be wanted; two keys make two."""
        command = CreateCustomer(tenant_id=TENANT)
        names = {(await gateway.perform(command, f"bo_{number}")).result.object_id for number in (1, 2, 2)}
        assert len(names) == 2

    async def test_an_answer_shows_the_object_and_when_it_was(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The snapshot is read as events are, with the provider's clock in whole seconds."""
        performed = await gateway.perform(CreateCustomer(tenant_id=TENANT, email="team@example.com"), "bo_1")
        assert isinstance(performed.snapshot, CustomerSnapshot)
        assert performed.snapshot.email == "team@example.com"
        assert performed.answered_at is not None
        assert performed.answered_at.microsecond == 0
        customer_id = performed.snapshot.customer_id
        await stage.card(customer_id)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="on_file")
        started = await gateway.perform(command, "bo_2")
        assert isinstance(started.snapshot, SubscriptionSnapshot)
        assert [started.snapshot] == list(await stage.subscriptions(customer_id))

    async def test_a_lost_answer_is_an_unknown_outcome(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """The command was carried out: reading tells, and performing it again shows the answer."""
        customer_id = await create_customer(gateway, stage)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="on_file")
        stage.lose_answer()
        with pytest.raises(GatewayUnavailableError) as failed:
            await gateway.perform(command, "bo_1")
        assert failed.value.outcome_unknown
        found = await gateway.find_out(command, "bo_1")
        assert found is not None
        again = await gateway.perform(command, "bo_1")
        assert again.result.object_id == found.result.object_id
        assert len(await stage.subscriptions(customer_id)) == 1

    async def test_a_command_that_never_arrived_was_not_carried_out(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The error says so, reading says so, and performing it again carries it out."""
        customer_id = await create_customer(gateway, stage)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="on_file")
        stage.be_unavailable()
        with pytest.raises(GatewayError) as failed:
            await gateway.perform(command, "bo_1")
        assert (failed.value.retryable, failed.value.outcome_unknown) == (True, False)
        assert await gateway.find_out(command, "bo_1") is None
        assert await stage.subscriptions(customer_id) == []
        await gateway.perform(command, "bo_1")
        assert len(await stage.subscriptions(customer_id)) == 1

    async def test_a_declined_payment_stays_declined_for_its_key(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Another card is a new decision, and needs a new key."""
        customer_id = await create_customer(gateway, stage, card="declines")
        command = StartSubscription(
            tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="off_session"
        )
        for _ in range(2):
            with pytest.raises(GatewayCardDeclinedError) as declined:
                await gateway.perform(command, "bo_1")
            assert not declined.value.outcome_unknown
        assert await gateway.find_out(command, "bo_1") is None
        await stage.card(customer_id)
        with pytest.raises(GatewayCardDeclinedError):
            await gateway.perform(command, "bo_1")
        assert (await gateway.perform(command, "bo_2")).result.status == "done"
        assert [each.status for each in await stage.subscriptions(customer_id)] == ["active"]

    async def test_a_refused_command_changes_nothing(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """An unknown price is refused whole, also where other parts of the command are right."""
        subscription = await start(gateway, stage)
        change = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=stage.unknown_price(), quantity=1)
        command = ChangeItems(subscription_id=subscription.subscription_id, changed=(change,), added=(bigger(stage),))
        with pytest.raises(GatewayInvalidRequestError) as refused:
            await gateway.perform(command, "bo_1")
        assert not refused.value.outcome_unknown
        assert await gateway.find_out(command, "bo_1") is None
        assert await current(stage, subscription) == subscription

    async def test_an_unknown_object_is_refused(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Nothing was changed that is not there, and reading says so."""
        subscription = await start(gateway, stage)
        await gateway.perform(CancelNow(subscription_id=subscription.subscription_id), "bo_1")
        item_id = item_of(subscription, seats(stage, 5)).item_id
        command = SetSeats(subscription_id=subscription.subscription_id, item_id=item_id, quantity=6)
        with pytest.raises(GatewayError) as refused:
            await gateway.perform(command, "bo_2")
        assert not refused.value.outcome_unknown
        assert not refused.value.retryable
