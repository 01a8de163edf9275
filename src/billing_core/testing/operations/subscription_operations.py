"""The contract of commands about subscriptions: effects at the provider, and results for the caller."""

from datetime import timedelta
from typing import Literal

import attrs
import pytest

from billing_core.errors import (
    GatewayCardDeclinedError,
    GatewayInvalidRequestError,
    GatewayPaymentMethodMissingError,
)
from billing_core.operations.commands import (
    ApplyPromotionCode,
    CancelAtPeriodEnd,
    Cancellation,
    CancelNow,
    ChangeItems,
    ItemChange,
    PauseCollection,
    PauseSubscription,
    ResumeCollection,
    ResumeSubscription,
    SetSeats,
    StartSubscription,
    Trial,
    WithdrawCancellation,
    WithdrawPendingUpdate,
)
from billing_core.operations.ports import OperationGateway
from billing_core.testing.operations.provider_stage import (
    AMOUNTS,
    BASE,
    BIGGER,
    SEATS,
    TENANT,
    ProviderStage,
    base,
    bigger,
    billed,
    create_customer,
    current,
    end_of,
    item_of,
    seats,
    start,
    usage,
)
from billing_core.testing.suite import Suite


class SubscriptionOperationsContract(Suite):
    """Commands about subscriptions. A binding provides `gateway` and a `stage` of the same provider, empty."""

    # --- start ---------------------------------------------------------------------------------------------------

    async def test_a_subscription_starts_with_its_items(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Every licensed item has its quantity; a metered one has none."""
        subscription = await start(gateway, stage, base(stage), seats(stage, 25), usage(stage))
        assert subscription.status == "active"
        assert billed(subscription) == [(1, None), (AMOUNTS[SEATS], 25), (AMOUNTS[BASE], 1)]

    async def test_a_start_that_the_customer_confirms_waits(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Nothing is charged before; the caller gets the secret to confirm with."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),))
        result = (await gateway.perform(command, "bo_1")).result
        assert (result.status, result.object_status, result.confirms) == ("requires_action", "incomplete", "payment")
        assert result.client_secret
        assert result.client_secret not in repr(result)

    @pytest.mark.parametrize(
        ("behavior", "status"), [("pays", "active"), ("declines", "incomplete"), ("asks", "incomplete")]
    )
    async def test_a_start_with_the_card_on_file_charges_it(
        self,
        gateway: OperationGateway,
        stage: ProviderStage,
        behavior: Literal["pays", "declines", "asks"],
        status: str,
    ) -> None:
        """One that cannot be charged leaves the subscription incomplete, for the customer to act."""
        customer_id = await create_customer(gateway, stage, card=behavior)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="on_file")
        result = (await gateway.perform(command, "bo_1")).result
        assert result.object_status == status
        assert result.status == ("done" if status == "active" else "requires_action")

    async def test_a_start_off_session_starts_nothing_without_payment(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The customer is not there to confirm, so the whole start is refused."""
        customer_id = await create_customer(gateway, stage, card="declines")
        command = StartSubscription(
            tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="off_session"
        )
        with pytest.raises(GatewayCardDeclinedError) as declined:
            await gateway.perform(command, "bo_1")
        assert declined.value.decline_code
        assert await stage.subscriptions(customer_id) == []

    @pytest.mark.parametrize("payment", ["on_file", "off_session"])
    async def test_a_start_without_a_payment_method_says_what_is_missing(
        self, gateway: OperationGateway, stage: ProviderStage, payment: Literal["on_file", "off_session"]
    ) -> None:
        """It is not the request that is wrong."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment=payment)
        with pytest.raises(GatewayPaymentMethodMissingError) as missing:
            await gateway.perform(command, "bo_1")
        assert not missing.value.outcome_unknown
        assert await stage.subscriptions(customer_id) == []

    async def test_a_trial_charges_nothing(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """It runs from now on for its days."""
        customer_id = await create_customer(gateway, stage, card=None)
        command = StartSubscription(
            tenant_id=TENANT,
            customer_id=customer_id,
            items=(base(stage),),
            payment="on_file",
            trial=Trial(days=14),
        )
        performed = await gateway.perform(command, "bo_1")
        (subscription,) = await stage.subscriptions(customer_id)
        assert (subscription.status, performed.result.status) == ("trialing", "done")
        assert subscription.trial_ends_at is not None
        assert performed.answered_at is not None
        assert abs(subscription.trial_ends_at - performed.answered_at - timedelta(days=14)) < timedelta(minutes=1)

    # --- items ---------------------------------------------------------------------------------------------------

    async def test_a_change_of_plan_keeps_all_other_items(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Seats keep their number, and metered items stay; nothing is billed twice."""
        subscription = await start(gateway, stage, base(stage), seats(stage, 25), usage(stage))
        changed = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=bigger(stage).price, quantity=1)
        command = ChangeItems(subscription_id=subscription.subscription_id, changed=(changed,))
        result = (await gateway.perform(command, "bo_1")).result
        after = await current(stage, subscription)
        assert result.status == "done"
        assert billed(after) == [(1, None), (AMOUNTS[SEATS], 25), (AMOUNTS[BIGGER], 1)]
        assert {item.item_id for item in after.items} == {item.item_id for item in subscription.items}
        assert await gateway.find_out(command, "bo_1") is not None

    async def test_an_item_keeps_its_quantity_in_a_new_price(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Providers set it to one where it is not sent."""
        subscription = await start(gateway, stage, seats(stage, 25))
        changed = ItemChange(
            item_id=item_of(subscription, seats(stage, 25)).item_id, price=bigger(stage).price, quantity=25
        )
        await gateway.perform(ChangeItems(subscription_id=subscription.subscription_id, changed=(changed,)), "bo_1")
        assert billed(await current(stage, subscription)) == [(AMOUNTS[BIGGER], 25)]

    async def test_items_are_added_and_removed(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Both in one command."""
        subscription = await start(gateway, stage)
        removed = ItemChange(item_id=item_of(subscription, seats(stage, 5)).item_id, deleted=True)
        command = ChangeItems(
            subscription_id=subscription.subscription_id,
            changed=(removed,),
            added=(bigger(stage), usage(stage)),
        )
        await gateway.perform(command, "bo_1")
        after = await current(stage, subscription)
        assert billed(after) == [(1, None), (AMOUNTS[BASE], 1), (AMOUNTS[BIGGER], 1)]
        assert await gateway.find_out(command, "bo_1") is not None

    @pytest.mark.parametrize("behavior", ["declines", "asks"])
    async def test_an_upgrade_that_is_not_paid_waits(
        self, gateway: OperationGateway, stage: ProviderStage, behavior: Literal["declines", "asks"]
    ) -> None:
        """It is reported as pending, the items stay, and withdrawing drops it."""
        subscription = await start(gateway, stage)
        await stage.card(subscription.customer_id, behavior)
        changed = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=bigger(stage).price, quantity=1)
        command = ChangeItems(subscription_id=subscription.subscription_id, changed=(changed,))
        performed = await gateway.perform(command, "bo_1")
        waiting = await current(stage, subscription)
        assert performed.result.status == "pending"
        assert performed.result.client_secret
        assert billed(waiting) == billed(subscription)
        assert waiting.pending_change is not None
        assert performed.snapshot == waiting
        assert await gateway.find_out(command, "bo_1") is not None
        withdrawn = await gateway.perform(WithdrawPendingUpdate(subscription_id=subscription.subscription_id), "bo_2")
        assert withdrawn.result.status == "done"
        after = await current(stage, subscription)
        assert after.pending_change is None
        assert billed(after) == billed(subscription)

    async def test_seats_are_absolute(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Setting them again changes nothing, whatever the key."""
        subscription = await start(gateway, stage)
        item_id = item_of(subscription, seats(stage, 5)).item_id
        command = SetSeats(subscription_id=subscription.subscription_id, item_id=item_id, quantity=8)
        assert await gateway.find_out(command, "bo_1") is None
        for key in ("bo_1", "bo_1", "bo_2"):
            await gateway.perform(command, key)
        assert billed(await current(stage, subscription)) == [(AMOUNTS[SEATS], 8), (AMOUNTS[BASE], 1)]
        assert await gateway.find_out(command, "bo_1") is not None

    async def test_a_promotion_code_is_applied_once(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """An unknown one is refused."""
        subscription = await start(gateway, stage)
        code = stage.promotion_code("SPRING", percent_off=20)
        command = ApplyPromotionCode(subscription_id=subscription.subscription_id, promotion_code_id=code)
        assert await gateway.find_out(command, "bo_1") is None
        for key in ("bo_1", "bo_1", "bo_2"):
            assert (await gateway.perform(command, key)).result.status == "done"
        assert await gateway.find_out(command, "bo_1") is not None
        unknown = attrs.evolve(command, promotion_code_id="promo_unknown1")
        with pytest.raises(GatewayInvalidRequestError):
            await gateway.perform(unknown, "bo_3")

    # --- ends ----------------------------------------------------------------------------------------------------

    async def test_a_cancellation_at_period_end_is_withdrawn(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """It is pending until then, with its reason; withdrawing it leaves nothing behind."""
        subscription = await start(gateway, stage)
        command = CancelAtPeriodEnd(
            subscription_id=subscription.subscription_id, reason=Cancellation(feedback="too_expensive", comment="sorry")
        )
        assert await gateway.find_out(command, "bo_1") is None
        result = (await gateway.perform(command, "bo_1")).result
        ending = await current(stage, subscription)
        assert (result.status, result.effective_at) == ("pending", end_of(subscription))
        assert (ending.cancellation_scheduled, ending.cancellation_feedback) == (True, "too_expensive")
        assert await gateway.find_out(command, "bo_1") is not None
        undo = WithdrawCancellation(
            subscription_id=subscription.subscription_id, at_period_end=ending.cancel_at_period_end
        )
        assert await gateway.find_out(undo, "bo_2") is None
        await gateway.perform(undo, "bo_2")
        assert not (await current(stage, subscription)).cancellation_scheduled
        assert await gateway.find_out(undo, "bo_2") is not None

    async def test_a_cancellation_for_a_date_is_withdrawn(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Ends of items are dates; the undo clears whichever form is set."""
        subscription = await start(gateway, stage)
        command = CancelAtPeriodEnd(subscription_id=subscription.subscription_id, at="latest_item_end")
        result = (await gateway.perform(command, "bo_1")).result
        ending = await current(stage, subscription)
        assert (result.status, result.effective_at) == ("pending", end_of(subscription))
        assert ending.cancellation_scheduled
        undo = WithdrawCancellation(
            subscription_id=subscription.subscription_id, at_period_end=ending.cancel_at_period_end
        )
        await gateway.perform(undo, "bo_2")
        assert not (await current(stage, subscription)).cancellation_scheduled

    async def test_a_cancellation_now_ends_it_once(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """An ended subscription counts as canceled, whatever ended it."""
        subscription = await start(gateway, stage)
        command = CancelNow(subscription_id=subscription.subscription_id, reason=Cancellation(feedback="unused"))
        assert await gateway.find_out(command, "bo_1") is None
        for key in ("bo_1", "bo_1", "bo_2"):
            result = (await gateway.perform(command, key)).result
            assert (result.status, result.object_status) == ("done", "canceled")
        after = await current(stage, subscription)
        assert after.ended
        assert after.cancellation_feedback == "unused"
        assert await gateway.find_out(command, "bo_1") is not None

    async def test_a_start_is_found_after_its_end(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """Providers hide ended subscriptions from lists; a start that is settled late must not start another one."""
        customer_id = await create_customer(gateway, stage)
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), payment="on_file")
        await gateway.perform(command, "bo_1")
        (subscription,) = await stage.subscriptions(customer_id)
        await gateway.perform(CancelNow(subscription_id=subscription.subscription_id), "bo_2")
        found = await gateway.find_out(command, "bo_1")
        assert found is not None
        assert found.result.object_id == subscription.subscription_id

    # --- pauses --------------------------------------------------------------------------------------------------

    async def test_a_subscription_is_paused_and_resumed(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """A paused one is not ended."""
        subscription = await start(gateway, stage)
        pause = PauseSubscription(subscription_id=subscription.subscription_id)
        assert await gateway.find_out(pause, "bo_1") is None
        await gateway.perform(pause, "bo_1")
        assert (await current(stage, subscription)).status == "paused"
        assert await gateway.find_out(pause, "bo_1") is not None
        resume = ResumeSubscription(subscription_id=subscription.subscription_id)
        assert await gateway.find_out(resume, "bo_2") is None
        result = (await gateway.perform(resume, "bo_2")).result
        assert (result.status, result.object_status) == ("done", "active")
        assert await gateway.find_out(resume, "bo_2") is not None

    async def test_a_resumption_that_is_not_paid_waits(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """It stays paused, and is reported as pending."""
        subscription = await start(gateway, stage)
        pause = PauseSubscription(subscription_id=subscription.subscription_id, credit_unused_time=False)
        await gateway.perform(pause, "bo_1")
        await stage.card(subscription.customer_id, "declines")
        command = ResumeSubscription(subscription_id=subscription.subscription_id)
        result = (await gateway.perform(command, "bo_2")).result
        assert (result.status, result.object_status) == ("pending", "paused")

    async def test_collection_is_paused_and_resumed(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """The status stays: the subscription runs."""
        subscription = await start(gateway, stage)
        pause = PauseCollection(subscription_id=subscription.subscription_id, behavior="void")
        await gateway.perform(pause, "bo_1")
        paused = await current(stage, subscription)
        assert (paused.status, paused.collection_paused, paused.pause_behavior) == ("active", True, "void")
        assert await gateway.find_out(pause, "bo_1") is not None
        resume = ResumeCollection(subscription_id=subscription.subscription_id)
        assert await gateway.find_out(resume, "bo_2") is None
        await gateway.perform(resume, "bo_2")
        assert not (await current(stage, subscription)).collection_paused
        assert await gateway.find_out(resume, "bo_2") is not None
