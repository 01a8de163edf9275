"""The contract of OperationLog."""

import asyncio
from datetime import timedelta
from typing import Final

import attrs
import pytest

from billing_core.events import Effect
from billing_core.inbox.ports import EventInbox
from billing_core.model import CustomerId, SubscriptionId
from billing_core.operations.commands import Address, CancelNow, CreateSetupIntent, SetBillingContact, TaxId
from billing_core.operations.errors import GIVEN_UP, IdempotencyConflictError, LeaseLostError, OperationFailure
from billing_core.operations.ports import OperationLog
from billing_core.operations.results import OperationResult
from billing_core.operations.stored import (
    KEY_LIFETIME,
    OperationBacklog,
    OperationRequest,
    OperationStatus,
    Resolution,
    Standing,
    StoredOperation,
)
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import applied, claimed
from billing_core.testing.builders import ACME, AT, GLOBEX, provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG, Elapse

REQUEST: Final = OperationRequest(
    tenant_id=ACME,
    operation="cancel",
    request_id="r1",
    subject="sub_1",
    arguments_hash="a1",
    actor="ada",
)
COMMAND: Final = CancelNow(subscription_id=SubscriptionId("sub_1"))
CONTACT_COMMAND: Final = SetBillingContact(
    customer_id=CustomerId("cus_1"),
    email="ada@acme.example",
    name="Ada",
    phone="+49 30 1234",
    address=Address(line1="Main Street 1"),
    add_tax_ids=(TaxId(type="eu_vat", value="DE123456789"),),
    remove_tax_ids=("txi_1",),
)
RESULT: Final = OperationResult(object_id="sub_1", object_status="canceled")
DONE: Final = Resolution(status=OperationStatus.DONE, result=RESULT, request_id="req_1")
REFUSED: Final = Resolution(
    status=OperationStatus.REFUSED,
    failure=OperationFailure(code="card_declined", user_text="Declined.", decline_code="expired_card"),
)
NOT_DONE: Final = Resolution(status=OperationStatus.NOT_DONE)
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)


def asked(request_id: str, subject: str = "sub_1") -> OperationRequest:
    """Return another request."""
    return attrs.evolve(REQUEST, request_id=request_id, subject=subject)


async def begun(log: OperationLog, request: OperationRequest = REQUEST) -> StoredOperation:
    """Begin a request that nothing is in the way of."""
    answer = await log.begin(request, lease=LONG)
    assert answer.standing is Standing.OURS
    return answer.operation


class OperationLogContract(Suite):
    """Decisions, each stored before it is sent. A binding provides `operation_log`, empty, and `elapse`."""

    async def test_a_new_request_is_leased_and_has_no_command(self, operation_log: OperationLog) -> None:
        """It is the first try, under a key of its own."""
        first, second = await begun(operation_log), await begun(operation_log, asked("r2", "sub_2"))
        assert (first.request, first.number, first.status) == (REQUEST, 1, OperationStatus.BEGUN)
        assert (first.command, first.result, first.failure, first.planned_at) == (None, None, None, None)
        assert first.key != second.key
        assert first.age == timedelta()

    async def test_a_request_is_the_same_in_its_tenant_and_operation_only(self, operation_log: OperationLog) -> None:
        """Request ids are the callers' own: two of them may choose the same."""
        requests = [
            REQUEST,
            attrs.evolve(REQUEST, tenant_id=GLOBEX, subject="sub_2"),
            attrs.evolve(REQUEST, operation="pause", subject="sub_3"),
        ]
        operations = [await begun(operation_log, request) for request in requests]
        assert [each.request for each in operations] == requests
        assert len({each.key for each in operations}) == 3

    async def test_a_command_is_stored_before_it_is_sent(self, operation_log: OperationLog, elapse: Elapse) -> None:
        """With the instant, from which the age of its key is counted; its lease begins again."""
        operation = await begun(operation_log)
        await elapse(MINUTE)
        planned = await operation_log.plan(operation, COMMAND, lease=LONG)
        assert planned.command == COMMAND
        assert planned.planned_at is not None
        assert planned.planned_at >= operation.begun_at + MINUTE
        assert planned.leased_until >= operation.leased_until + MINUTE
        await elapse(MINUTE)
        (stored,) = await operation_log.unresolved(limit=10)
        assert stored == planned
        assert MINUTE <= stored.age < 2 * MINUTE

    async def test_a_key_expires_by_the_time_of_the_store(self, operation_log: OperationLog, elapse: Elapse) -> None:
        """An hour before the provider may forget it, counted from the command."""
        planned = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        assert not planned.key_expired
        await elapse(KEY_LIFETIME)
        (stored,) = await operation_log.unresolved(limit=1)
        assert stored.key_expired

    async def test_a_resolved_request_returns_its_outcome(self, operation_log: OperationLog) -> None:
        """However often it is made again; nothing is leased for it."""
        for number, resolution in enumerate([DONE, REFUSED]):
            request = asked(f"r{number}", f"sub_{number}")
            operation = await operation_log.plan(await begun(operation_log, request), COMMAND, lease=LONG)
            assert await operation_log.resolve(operation, resolution)
            for _ in range(2):
                answer = await operation_log.begin(request, lease=LONG)
                assert answer.standing is Standing.RESOLVED
                assert answer.operation.status is resolution.status
                assert (answer.operation.result, answer.operation.failure) == (resolution.result, resolution.failure)
                assert answer.operation.resolved_at is not None

    async def test_secrets_of_results_are_not_stored(self, operation_log: OperationLog) -> None:
        """Neither client secrets nor URLs."""
        command = CreateSetupIntent(customer_id=CustomerId("cus_1"))
        operation = await operation_log.plan(await begun(operation_log), command, lease=LONG)
        result = OperationResult(object_id="seti_1", client_secret="hidden", url="https://hidden")  # noqa: S106
        await operation_log.resolve(operation, Resolution(status=OperationStatus.DONE, result=result))
        answer = await operation_log.begin(REQUEST, lease=LONG)
        assert answer.operation.result == OperationResult(object_id="seti_1", secrets_left_out=True)

    @pytest.mark.parametrize("resolution", [None, DONE, NOT_DONE], ids=["unresolved", "done", "not done"])
    async def test_other_arguments_are_a_conflict(
        self, operation_log: OperationLog, resolution: Resolution | None
    ) -> None:
        """The caller made a new decision and kept the request id: neither outcome would be the right answer."""
        operation = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        if resolution is not None:
            await operation_log.resolve(operation, resolution)
        with pytest.raises(IdempotencyConflictError):
            await operation_log.begin(attrs.evolve(REQUEST, arguments_hash="a2"), lease=LONG)
        assert (await operation_log.begin(REQUEST, lease=LONG)).operation.request == REQUEST

    async def test_a_request_that_was_not_done_is_tried_again_under_the_next_key(
        self, operation_log: OperationLog
    ) -> None:
        """Nothing of the first try is reused. A done one gets no further try."""
        first = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        await operation_log.resolve(first, NOT_DONE)
        second = await begun(operation_log)
        assert (second.number, second.command) == (2, None)
        assert second.key != first.key
        await operation_log.resolve(await operation_log.plan(second, COMMAND, lease=LONG), DONE)
        answer = await operation_log.begin(REQUEST, lease=LONG)
        assert (answer.standing, answer.operation.number) == (Standing.RESOLVED, 2)

    async def test_a_leased_request_is_in_progress(self, operation_log: OperationLog, elapse: Elapse) -> None:
        """Until its lease runs out; then it goes on under the same key, with the same command."""
        planned = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        waiting = await operation_log.begin(REQUEST, lease=LONG)
        assert (waiting.standing, waiting.operation.operation_id) == (Standing.IN_PROGRESS, planned.operation_id)
        await elapse(LONG)
        again = await begun(operation_log)
        assert (again.key, again.command, again.planned_at) == (planned.key, COMMAND, planned.planned_at)
        assert again.attempts > planned.attempts

    async def test_operations_about_one_subject_come_one_after_another(self, operation_log: OperationLog) -> None:
        """The second waits for the first, also if it is another tenant's."""
        first = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        other = attrs.evolve(REQUEST, tenant_id=GLOBEX, request_id="r2")
        waiting = await operation_log.begin(other, lease=LONG)
        assert (waiting.standing, waiting.operation.request) == (Standing.IN_PROGRESS, REQUEST)
        await operation_log.resolve(first, REFUSED)
        assert (await begun(operation_log, other)).number == 1

    async def test_an_unresolved_operation_is_settled_before_the_next(
        self, operation_log: OperationLog, elapse: Elapse
    ) -> None:
        """It is leased to the caller that is held up; the next one may not begin while its outcome is unknown."""
        first = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        await elapse(LONG)
        blocked = await operation_log.begin(asked("r2"), lease=LONG)
        assert blocked.standing is Standing.BLOCKED
        assert (blocked.operation.key, blocked.operation.command) == (first.key, COMMAND)
        assert (await operation_log.begin(asked("r3"), lease=LONG)).standing is Standing.IN_PROGRESS
        assert await operation_log.resolve(blocked.operation, DONE)
        assert (await begun(operation_log, asked("r2"))).request == asked("r2")

    async def test_one_of_many_callers_gets_the_lease(self, operation_log: OperationLog) -> None:
        """Of the same request, and of different ones about one subject."""
        same = await asyncio.gather(*(operation_log.begin(REQUEST, lease=LONG) for _ in range(8)))
        assert sorted(each.standing.value for each in same) == ["in_progress"] * 7 + ["ours"]
        requests = [asked(f"r{number}", "sub_2") for number in range(8)]
        different = await asyncio.gather(*(operation_log.begin(request, lease=LONG) for request in requests))
        assert sorted(each.standing.value for each in different) == ["in_progress"] * 7 + ["ours"]

    async def test_a_lost_lease_changes_nothing(self, operation_log: OperationLog, elapse: Elapse) -> None:
        """The former holder can neither plan nor resolve nor give up what another one works on."""
        lost = await begun(operation_log)
        await elapse(LONG)
        held = await begun(operation_log)
        with pytest.raises(LeaseLostError):
            await operation_log.plan(lost, COMMAND, lease=LONG)
        assert not await operation_log.resolve(lost, DONE)
        await operation_log.withdraw(lost)
        await operation_log.release(lost, due_in=timedelta())
        assert list(await operation_log.unresolved(limit=10)) == [held]
        assert await operation_log.claim_due(lease=LONG, limit=10) == []
        assert (await operation_log.plan(held, COMMAND, lease=LONG)).command == COMMAND

    async def test_a_command_is_planned_once(self, operation_log: OperationLog) -> None:
        """It may have been sent: nothing replaces it."""
        planned = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        with pytest.raises(LeaseLostError):
            await operation_log.plan(planned, attrs.evolve(COMMAND, invoice_usage=False), lease=LONG)
        assert [each.command for each in await operation_log.unresolved(limit=10)] == [COMMAND]

    async def test_an_outcome_stays(self, operation_log: OperationLog) -> None:
        """It is written once, also by the holder of the lease."""
        planned = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        assert await operation_log.resolve(planned, DONE)
        assert not await operation_log.resolve(planned, NOT_DONE)
        assert (await operation_log.begin(REQUEST, lease=LONG)).operation.status is OperationStatus.DONE

    async def test_a_withdrawn_request_is_as_if_it_had_never_been(self, operation_log: OperationLog) -> None:
        """Its request id is free, also for other arguments, and so is its subject."""
        await operation_log.withdraw(await begun(operation_log))
        assert await operation_log.unresolved(limit=10) == []
        again = await begun(operation_log, attrs.evolve(REQUEST, arguments_hash="a2"))
        assert again.number == 1

    async def test_an_operation_with_a_command_is_not_withdrawn(self, operation_log: OperationLog) -> None:
        """It may have been sent."""
        planned = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        await operation_log.withdraw(planned)
        assert list(await operation_log.unresolved(limit=10)) == [planned]

    async def test_a_released_operation_is_free_at_once_and_due_later(
        self, operation_log: OperationLog, elapse: Elapse
    ) -> None:
        """The caller that asks again need not wait for the worker's next attempt."""
        released = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        await operation_log.release(released, due_in=10 * MINUTE)
        assert await operation_log.claim_due(lease=LONG, limit=10) == []
        again = await begun(operation_log)
        assert again.attempts > released.attempts
        await operation_log.release(again, due_in=10 * MINUTE)
        await elapse(10 * MINUTE)
        (due,) = await operation_log.claim_due(lease=LONG, limit=10)
        assert (due.key, due.command) == (released.key, COMMAND)
        assert await operation_log.claim_due(lease=LONG, limit=10) == []

    async def test_abandoned_operations_are_due_when_their_leases_run_out(
        self, operation_log: OperationLog, elapse: Elapse
    ) -> None:
        """The longest due first, one without a command among them; resolved ones never are."""
        for number in range(3):
            await begun(operation_log, asked(f"r{number}", f"sub_{number}"))
            await elapse(MINUTE)
        resolved = await operation_log.plan(await begun(operation_log, asked("r3", "sub_3")), COMMAND, lease=MINUTE)
        await operation_log.resolve(resolved, DONE)
        assert await operation_log.claim_due(lease=LONG, limit=10) == []
        await elapse(LONG)
        claimed = [each.request.request_id for each in await operation_log.claim_due(lease=LONG, limit=2)]
        claimed += [each.request.request_id for each in await operation_log.claim_due(lease=LONG, limit=2)]
        assert claimed == ["r0", "r1", "r2"]

    async def test_each_due_operation_is_claimed_once(self, operation_log: OperationLog, elapse: Elapse) -> None:
        """By any number of workers."""
        for number in range(4):
            await begun(operation_log, asked(f"r{number}", f"sub_{number}"))
        await elapse(LONG)
        claimed = await asyncio.gather(*(operation_log.claim_due(lease=LONG, limit=4) for _ in range(4)))
        assert sorted(each.request.request_id for batch in claimed for each in batch) == ["r0", "r1", "r2", "r3"]

    async def test_unresolved_operations_are_listed_and_counted(
        self, operation_log: OperationLog, elapse: Elapse
    ) -> None:
        """Oldest first, leased or not, for operators."""
        assert await operation_log.unresolved(limit=10) == []
        assert await operation_log.backlog() == OperationBacklog()
        for number in range(3):
            await begun(operation_log, asked(f"r{number}", f"sub_{number}"))
            await elapse(MINUTE)
        await operation_log.resolve(await begun(operation_log, asked("r3", "sub_3")), NOT_DONE)
        assert [each.request.request_id for each in await operation_log.unresolved(limit=2)] == ["r0", "r1"]
        backlog = await operation_log.backlog()
        assert backlog.count == 3
        assert backlog.oldest is not None
        assert 3 * MINUTE <= backlog.oldest < 4 * MINUTE

    # --- given up -------------------------------------------------------------------------------------------------

    async def test_an_operation_is_found_by_its_key(self, operation_log: OperationLog) -> None:
        """In any status, with the reason why the last attempt left it unresolved."""
        assert await operation_log.find("bo_unknown") is None
        planned = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        assert await operation_log.find(planned.key) == planned
        await operation_log.release(planned, due_in=MINUTE, error="unavailable: cut off")
        released = await operation_log.find(planned.key)
        assert released is not None
        assert released.last_error == "unavailable: cut off"

    async def test_an_operation_that_is_given_up_is_over(self, operation_log: OperationLog, elapse: Elapse) -> None:
        """Its subject is free, its request is never sent again, and the log keeps who decided that, and why."""
        stuck = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        await operation_log.release(stuck, due_in=timedelta())
        assert await operation_log.give_up(stuck, actor="grace", reason="looked it up")
        assert await operation_log.unresolved(limit=10) == []
        await elapse(LONG)
        assert await operation_log.claim_due(lease=LONG, limit=10) == []
        answer = await operation_log.begin(REQUEST, lease=LONG)
        assert (answer.standing, answer.operation.status) == (Standing.RESOLVED, OperationStatus.GIVEN_UP)
        assert (answer.operation.given_up_by, answer.operation.given_up_reason) == ("grace", "looked it up")
        assert answer.operation.failure == GIVEN_UP
        assert (await begun(operation_log, asked("r2"))).number == 1

    async def test_an_operation_in_progress_is_not_given_up(self, operation_log: OperationLog, elapse: Elapse) -> None:
        """Nor is one that was taken over or resolved since it was read."""
        planned = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        assert not await operation_log.give_up(planned, actor="grace", reason="impatient")
        await elapse(LONG)
        (taken,) = await operation_log.claim_due(lease=LONG, limit=1)
        await operation_log.release(taken, due_in=timedelta())
        assert not await operation_log.give_up(planned, actor="grace", reason="impatient")
        (again,) = await operation_log.claim_due(lease=LONG, limit=1)
        await operation_log.resolve(again, DONE)
        assert not await operation_log.give_up(again, actor="grace", reason="impatient")
        found = await operation_log.find(planned.key)
        assert found is not None
        assert (found.status, found.given_up_by) == (OperationStatus.DONE, None)

    # --- retention ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("ending", ["done", "refused", "not done", "given up"])
    async def test_contact_details_are_deleted_with_the_outcome(self, operation_log: OperationLog, ending: str) -> None:
        """They are stored only as long as they may have to be sent again."""
        planned = await operation_log.plan(await begun(operation_log), CONTACT_COMMAND, lease=LONG)
        assert planned.command == CONTACT_COMMAND
        if ending == "given up":
            await operation_log.release(planned, due_in=timedelta())
            await operation_log.give_up(planned, actor="grace", reason="looked it up")
        else:
            resolution = {"done": DONE, "refused": REFUSED, "not done": NOT_DONE}[ending]
            await operation_log.resolve(planned, resolution)
        found = await operation_log.find(planned.key)
        assert found is not None
        assert found.command == SetBillingContact(customer_id=CustomerId("cus_1"), remove_tax_ids=("txi_1",))

    async def test_old_operations_are_deleted_a_bounded_number_at_a_time(
        self, operation_log: OperationLog, elapse: Elapse
    ) -> None:
        """Begin with the longest resolved ones; unresolved ones are never deleted."""
        pending = await operation_log.plan(await begun(operation_log, asked("r9", "sub_9")), COMMAND, lease=LONG)
        for number, resolution in enumerate([DONE, REFUSED, NOT_DONE]):
            operation = await begun(operation_log, asked(f"r{number}", f"sub_{number}"))
            await operation_log.resolve(await operation_log.plan(operation, COMMAND, lease=LONG), resolution)
            await elapse(MINUTE)
        assert await operation_log.prune(older_than=4 * MINUTE, limit=10) == 0
        await elapse(LONG)
        young = await operation_log.plan(await begun(operation_log, asked("r4", "sub_4")), COMMAND, lease=LONG)
        await operation_log.resolve(young, DONE)
        assert [await operation_log.prune(older_than=4 * MINUTE, limit=2) for _ in range(3)] == [2, 1, 0]
        assert (await operation_log.begin(asked("r4", "sub_4"), lease=LONG)).standing is Standing.RESOLVED
        assert [each.key for each in await operation_log.unresolved(limit=10)] == [pending.key]
        again = await begun(operation_log, asked("r0", "sub_0"))
        assert (again.number, again.command) == (1, None)

    async def test_notes_of_the_events_of_old_operations_are_deleted(
        self, operation_log: OperationLog, unit_of_work: UnitOfWork, inbox: EventInbox, elapse: Elapse
    ) -> None:
        """An answer that could come after such an event is settled by reading."""
        claims = [await claimed(inbox, provider_event(f"evt_{number}")) for number in range(3)]
        async with unit_of_work.transaction() as transaction:
            await transaction.hold(claims)
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(echoes={claim.dispatch_id: "bo_1" for claim in claims}))
            await transaction.settle([applied(claim, effect=Effect.STALE, sequence=None) for claim in claims])
        assert await operation_log.prune(older_than=400 * DAY, limit=10) == 0
        await elapse(401 * DAY)
        assert [await operation_log.prune(older_than=400 * DAY, limit=2) for _ in range(3)] == [2, 1, 0]
        async with unit_of_work.transaction() as transaction:
            assert list(await transaction.echoes("bo_1")) == []

    async def test_notes_of_young_events_are_kept(
        self, operation_log: OperationLog, unit_of_work: UnitOfWork, inbox: EventInbox
    ) -> None:
        """However many old ones there are."""
        young = attrs.evolve(provider_event("evt_young"), received_at=AT + 9_000 * DAY)
        claims = [await claimed(inbox, provider_event("evt_old")), await claimed(inbox, young)]
        async with unit_of_work.transaction() as transaction:
            await transaction.hold(claims)
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(echoes={claim.dispatch_id: "bo_1" for claim in claims}))
            await transaction.settle([applied(claim, effect=Effect.STALE, sequence=None) for claim in claims])
        assert await operation_log.prune(older_than=timedelta(microseconds=1), limit=10) == 1
        async with unit_of_work.transaction() as transaction:
            assert [event.key.event_id for event in await transaction.echoes("bo_1")] == ["evt_young"]
