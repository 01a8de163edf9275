"""The contract of commands about schedules. They take several calls, and each of the calls may fail."""

import attrs
import pytest

from billing_core.errors import GatewayError, GatewayInvalidRequestError
from billing_core.model import SubscriptionSnapshot
from billing_core.operations.commands import (
    CancelAtPeriodEnd,
    ChangeItems,
    ItemChange,
    NewItem,
    ScheduleChange,
    SetSeats,
    WithdrawScheduledChange,
)
from billing_core.operations.ports import OperationGateway
from billing_core.testing.operations.provider_stage import (
    AMOUNTS,
    BIGGER,
    SEATS,
    ProviderStage,
    base,
    bigger,
    billed,
    current,
    end_of,
    item_of,
    seats,
    start,
)
from billing_core.testing.suite import Suite


class ScheduledChangesContract(Suite):
    """Commands about schedules. A binding provides `gateway` and a `stage` of the same provider, empty."""

    async def test_a_downgrade_waits_for_the_end_of_the_period(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The items stay until then; the answer shows what is coming."""
        subscription = await start(gateway, stage, bigger(stage), seats(stage, 25))
        command = _schedule(stage, subscription, 25)
        performed = await gateway.perform(command, "bo_1")
        after = await current(stage, subscription)
        assert (performed.result.status, performed.result.effective_at) == ("pending", end_of(subscription))
        assert performed.snapshot == after
        assert billed(after) == billed(subscription)
        assert after.schedule_id is not None
        assert [phase.starts_at for phase in after.planned] == [end_of(subscription)]
        assert sorted(item.quantity or 0 for item in after.planned[0].items) == [1, 25]
        assert await gateway.find_out(command, "bo_1") is not None

    async def test_a_scheduled_change_is_withdrawn(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """The subscription continues as it is; withdrawing it again is no failure."""
        subscription = await start(gateway, stage)
        await gateway.perform(_schedule(stage, subscription, 3), "bo_1")
        scheduled = await current(stage, subscription)
        command = WithdrawScheduledChange(
            subscription_id=subscription.subscription_id, schedule_id=str(scheduled.schedule_id)
        )
        assert await gateway.find_out(command, "bo_2") is None
        for key in ("bo_2", "bo_2", "bo_3"):
            performed = await gateway.perform(command, key)
            assert performed.result.status == "done"
        after = await current(stage, subscription)
        assert (after.schedule_id, after.planned) == (None, ())
        assert billed(after) == billed(subscription)
        assert await gateway.find_out(command, "bo_2") is not None

    async def test_seats_change_under_a_schedule(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """They change now, and the change that was scheduled comes with them."""
        subscription = await start(gateway, stage, bigger(stage), seats(stage, 5))
        await gateway.perform(_schedule(stage, subscription, 5), "bo_1")
        scheduled = await current(stage, subscription)
        command = SetSeats(
            subscription_id=subscription.subscription_id,
            item_id=item_of(subscription, seats(stage, 5)).item_id,
            quantity=7,
            former_quantity=5,
            reschedule=attrs.evolve(_schedule(stage, subscription, 7), release_schedule=scheduled.schedule_id),
        )
        performed = await gateway.perform(command, "bo_2")
        after = await current(stage, subscription)
        assert performed.snapshot == after
        assert billed(after) == [(AMOUNTS[SEATS], 7), (AMOUNTS[BIGGER], 1)]
        assert [phase.starts_at for phase in after.planned] == [end_of(subscription)]
        assert sorted(item.quantity or 0 for item in after.planned[0].items) == [1, 7]
        assert await gateway.find_out(command, "bo_2") is not None

    async def test_a_cancellation_releases_a_schedule(self, gateway: OperationGateway, stage: ProviderStage) -> None:
        """The two exclude each other."""
        subscription = await start(gateway, stage)
        await gateway.perform(_schedule(stage, subscription, 3), "bo_1")
        scheduled = await current(stage, subscription)
        command = CancelAtPeriodEnd(
            subscription_id=subscription.subscription_id, release_schedule=scheduled.schedule_id
        )
        await gateway.perform(command, "bo_2")
        after = await current(stage, subscription)
        assert (after.cancellation_scheduled, after.schedule_id) == (True, None)

    async def test_a_schedule_without_a_price_leaves_nothing(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """The schedule that was made for it is taken back."""
        subscription = await start(gateway, stage)
        command = ScheduleChange(
            subscription_id=subscription.subscription_id,
            effective_at=end_of(subscription),
            items=(seats(stage, 2), NewItem(price=stage.unknown_price(), quantity=1)),
        )
        with pytest.raises(GatewayInvalidRequestError) as refused:
            await gateway.perform(command, "bo_1")
        assert not refused.value.outcome_unknown
        assert await gateway.find_out(command, "bo_1") is None
        assert await current(stage, subscription) == subscription

    async def test_a_refusal_after_a_step_takes_the_step_back(
        self, gateway: OperationGateway, stage: ProviderStage
    ) -> None:
        """A schedule that was released for a change which is refused is there again, with the same plan."""
        subscription = await start(gateway, stage)
        planned = (bigger(stage), seats(stage, 3))
        schedule = ScheduleChange(
            subscription_id=subscription.subscription_id, effective_at=end_of(subscription), items=planned
        )
        await gateway.perform(schedule, "bo_1")
        scheduled = await current(stage, subscription)
        change = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=stage.unknown_price(), quantity=1)
        command = ChangeItems(
            subscription_id=subscription.subscription_id, changed=(change,), release_schedule=scheduled.schedule_id
        )
        with pytest.raises(GatewayInvalidRequestError) as refused:
            await gateway.perform(command, "bo_2")
        assert not refused.value.outcome_unknown
        after = await current(stage, subscription)
        assert after.planned == scheduled.planned
        assert billed(after) == billed(scheduled)

    @pytest.mark.parametrize("call", [1, 2, 3])
    async def test_a_command_of_several_calls_is_continued(
        self, gateway: OperationGateway, stage: ProviderStage, call: int
    ) -> None:
        """Performing the command again ends in the same state, whichever answer was lost."""
        subscription = await start(gateway, stage)
        command = ScheduleChange(
            subscription_id=subscription.subscription_id,
            effective_at=end_of(subscription),
            items=(bigger(stage), seats(stage, 3)),
        )
        await gateway.perform(command, "bo_1")
        reschedule = ScheduleChange(
            subscription_id=subscription.subscription_id,
            effective_at=end_of(subscription),
            items=(bigger(stage), seats(stage, 9)),
            release_schedule=(await current(stage, subscription)).schedule_id,
        )
        stage.lose_answer(call=call)
        with pytest.raises(GatewayError) as failed:
            await gateway.perform(reschedule, "bo_2")
        assert failed.value.outcome_unknown
        await gateway.perform(reschedule, "bo_2")
        after = await current(stage, subscription)
        assert [phase.starts_at for phase in after.planned] == [end_of(subscription)]
        assert 9 in [item.quantity for item in after.planned[0].items]


def _schedule(stage: ProviderStage, subscription: SubscriptionSnapshot, quantity: int) -> ScheduleChange:
    """Return the command that schedules the smaller plan with so many seats."""
    return ScheduleChange(
        subscription_id=subscription.subscription_id,
        effective_at=end_of(subscription),
        items=(base(stage), seats(stage, quantity)),
    )
