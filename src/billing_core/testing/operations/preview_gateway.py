"""The contract of PreviewGateway."""

from datetime import timedelta

import pytest

from billing_core.operations.commands import (
    CancelAtPeriodEnd,
    CancelNow,
    ChangeItems,
    ItemChange,
    ScheduleChange,
    SetSeats,
    StartSubscription,
    Trial,
)
from billing_core.operations.ports import OperationGateway, PreviewGateway
from billing_core.testing.operations.provider_stage import (
    AMOUNTS,
    BASE,
    BIGGER,
    SEATS,
    TENANT,
    ProviderStage,
    base,
    bigger,
    create_customer,
    current,
    end_of,
    item_of,
    seats,
    start,
)
from billing_core.testing.suite import Suite

SMALL = AMOUNTS[BASE] + 5 * AMOUNTS[SEATS]


class PreviewGatewayContract(Suite):
    """Invoices before they are made. A binding provides `previews`, `gateway` and a `stage` of one provider, empty."""

    async def test_a_start_shows_its_first_and_its_next_invoice(
        self, previews: PreviewGateway, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The first one is what starting then bills."""
        customer_id = await create_customer(gateway, stage)
        items = (base(stage), seats(stage, 5))
        command = StartSubscription(tenant_id=TENANT, customer_id=customer_id, items=items, payment="on_file")
        preview = await previews.preview(command)
        assert preview.now is not None
        assert preview.upcoming is not None
        assert (preview.now.total, preview.now.amount_due, preview.now.currency) == (SMALL, SMALL, "usd")
        assert preview.now.due_at is None
        assert preview.upcoming.total == SMALL
        assert await stage.subscriptions(customer_id) == []
        await gateway.perform(command, "bo_1")
        assert await stage.last_total(customer_id) == preview.now.total

    async def test_a_trial_is_free_until_its_end(
        self, previews: PreviewGateway, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The regular invoice follows then."""
        customer_id = await create_customer(gateway, stage)
        command = StartSubscription(
            tenant_id=TENANT, customer_id=customer_id, items=(base(stage),), trial=Trial(days=14), payment="on_file"
        )
        preview = await previews.preview(command)
        assert preview.now is not None
        assert preview.upcoming is not None
        assert (preview.now.total, preview.upcoming.total) == (0, AMOUNTS[BASE])
        await gateway.perform(command, "bo_1")
        (subscription,) = await stage.subscriptions(customer_id)
        assert subscription.trial_ends_at is not None
        assert preview.upcoming.due_at is not None
        assert abs(preview.upcoming.due_at - subscription.trial_ends_at) < timedelta(minutes=1)

    async def test_a_change_now_shows_the_difference(
        self, previews: PreviewGateway, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """As of the same instant it costs the same when it is confirmed; lines name the plan and what they settle."""
        subscription = await start(gateway, stage)
        change = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=bigger(stage).price, quantity=1)
        command = ChangeItems(
            subscription_id=subscription.subscription_id,
            changed=(change,),
            proration_date=end_of(subscription) - timedelta(days=10),
        )
        preview = await previews.preview(command)
        assert preview.now is not None
        assert preview.upcoming is not None
        assert preview.now.total > 0
        assert {line.proration for line in preview.now.lines} == {True}
        assert min(line.amount for line in preview.now.lines) < 0
        assert BIGGER in {line.plan_code for line in preview.now.lines}
        assert sum(line.amount for line in preview.now.lines) == preview.now.subtotal
        assert preview.upcoming.total == AMOUNTS[BIGGER] + 5 * AMOUNTS[SEATS]
        assert await current(stage, subscription) == subscription
        await gateway.perform(command, "bo_1")
        assert await stage.last_total(subscription.customer_id) == preview.now.total

    async def test_seats_come_with_the_next_invoice(
        self, previews: PreviewGateway, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """Nothing is due now."""
        subscription = await start(gateway, stage)
        command = SetSeats(
            subscription_id=subscription.subscription_id,
            item_id=item_of(subscription, seats(stage, 5)).item_id,
            quantity=7,
            proration="none",
        )
        preview = await previews.preview(command)
        assert preview.now is None
        assert preview.upcoming is not None
        assert preview.upcoming.total == SMALL + 2 * AMOUNTS[SEATS]

    async def test_a_scheduled_change_shows_the_invoice_from_then_on(
        self, previews: PreviewGateway, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """It is due when the change takes effect."""
        subscription = await start(gateway, stage, bigger(stage), seats(stage, 25))
        command = ScheduleChange(
            subscription_id=subscription.subscription_id,
            effective_at=end_of(subscription),
            items=(base(stage), seats(stage, 5)),
        )
        preview = await previews.preview(command)
        assert preview.now is None
        assert preview.upcoming is not None
        assert (preview.upcoming.total, preview.upcoming.due_at) == (SMALL, end_of(subscription))

    async def test_the_next_invoice_is_shown_until_the_subscription_is_set_to_end(
        self, previews: PreviewGateway, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """It bills the items as they are, and its lines name their plan."""
        items = (base(stage), seats(stage, 5))
        subscription = await start(gateway, stage, *items)
        prices = [item.price for item in items]
        shown = await previews.upcoming(subscription.subscription_id, prices)
        assert shown is not None
        assert (shown.total, shown.due_at) == (SMALL, end_of(subscription))
        assert {line.plan_code for line in shown.lines} == {BASE, SEATS}
        await gateway.perform(CancelAtPeriodEnd(subscription_id=subscription.subscription_id), "bo_2")
        assert await previews.upcoming(subscription.subscription_id, prices) is None

    async def test_other_commands_have_no_preview(
        self, previews: PreviewGateway, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """They cost nothing, or nothing that can be known."""
        subscription = await start(gateway, stage)
        with pytest.raises(ValueError, match="cancel_now"):
            await previews.preview(CancelNow(subscription_id=subscription.subscription_id))
