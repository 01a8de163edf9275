"""Each decision is carried out once, whatever fails in between, and its caller is told the truth."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NoReturn

import attrs
import pytest
from tests.unit.core.conftest import until
from tests.unit.core.operations.crashing import Crashed, Crashing

from billing_app.container.parts import operation_policy
from billing_app.settings import GatewaySettings
from billing_core.errors import (
    BillingError,
    GatewayAuthenticationError,
    GatewayCardDeclinedError,
    GatewayConflictError,
    GatewayDefectError,
    GatewayError,
    GatewayIdempotencyConflictError,
    GatewayInvalidRequestError,
    GatewayNotFoundError,
    GatewayPermissionError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
    StoreUnavailableError,
)
from billing_core.model import SubscriptionId, TenantId
from billing_core.operations.commands import CancelNow, Command
from billing_core.operations.errors import (
    IdempotencyConflictError,
    OperationFailedError,
    OperationInProgressError,
    OperationRefusedError,
    Refusal,
)
from billing_core.operations.performing import OperationPerformer, OperationPolicy
from billing_core.operations.pruning import OperationPruner
from billing_core.operations.results import OperationResult, Performed
from billing_core.operations.runner import OperationOutcome, OperationReport, OperationRunner
from billing_core.operations.settling import OperationSettler, SettlingReport
from billing_core.operations.stored import KEY_LIFETIME, OperationRequest, Resolution, StoredOperation
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.operations.log import MemoryOperationLog

POLICY = OperationPolicy(wait=timedelta(0), poll=timedelta(0))
REQUEST = OperationRequest(
    tenant_id=TenantId("acme"), operation="cancel", request_id="r1", subject="sub_1", arguments_hash="a1", actor="ada"
)
OTHER = attrs.evolve(REQUEST, request_id="r2")
COMMAND = CancelNow(subscription_id=SubscriptionId("sub_1"))
UNKNOWN = GatewayUnavailableError("cut off", outcome_unknown=True)
SPENT = GatewayUnavailableError("stored 500", outcome_unknown=True, replayed=True)
REFUSALS = [
    GatewayCardDeclinedError("declined", decline_code="insufficient_funds", request_id="req_1"),
    GatewayInvalidRequestError("refused", parameter="items"),
    GatewayNotFoundError("gone"),
]
NOT_SENT = [
    GatewayUnavailableError("refused connection"),
    GatewayRateLimitedError("too many"),
    GatewayAuthenticationError("key"),
    GatewayPermissionError("key"),
]


class Provider:
    """An `OperationGateway` that makes one object per key, and answers a known key as it did before."""

    def __init__(self) -> None:
        self.made: dict[str, OperationResult] = {}
        self.asked: list[str] = []
        self.before: list[Exception] = []
        """Errors of the next calls, before anything is made."""
        self.after: list[BaseException] = []
        """Errors of the next calls, once the object is made."""
        self.searched: list[str] = []
        self.secret: str | None = None
        self.hidden: GatewayError | None = None
        """The error of every look."""

    async def perform(self, command: Command, key: str) -> Performed:
        self.asked.append(key)
        if self.before:
            raise self.before.pop(0)
        if key not in self.made:
            self.made[key] = OperationResult(object_id=f"made_{len(self.made) + 1}", client_secret=self.secret)
        if self.after:
            raise self.after.pop(0)
        return Performed(result=self.made[key])

    async def find_out(self, command: Command, key: str) -> Performed | None:
        self.searched.append(key)
        if self.hidden is not None:
            raise self.hidden
        return Performed(result=self.made[key].without_secrets()) if key in self.made else None


class World:
    """A store and a provider, and processes that come and go."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.database = MemoryDatabase()
        self.provider = Provider()
        self.kept: list[tuple[str, Performed]] = []
        self.reports: list[OperationReport] = []
        self.log = MemoryOperationLog(self.database, self.clock)
        self.keeping: list[Exception] = []
        self.bugs: list[Exception] = []

    async def keep(self, operation: StoredOperation, performed: Performed) -> None:
        if self.keeping:
            raise self.keeping.pop(0)
        self.kept.append((operation.key, performed))

    def performer(self, log: Any = None, gateway: Any = None, keep: Any = None) -> OperationPerformer:
        return OperationPerformer(
            log=log or self.log,
            gateway=gateway or self.provider,
            keep=keep or self.keep,
            policy=POLICY,
            report_bug=lambda _, bug: self.bugs.append(bug),
        )

    async def run(
        self,
        request: OperationRequest = REQUEST,
        decide: Callable[[], Awaitable[Command]] | None = None,
        **ports: Any,
    ) -> OperationOutcome:
        async def command() -> Command:
            return COMMAND

        log = ports.get("log") or self.log
        policy = ports.pop("policy", POLICY)
        runner = OperationRunner(log=log, performer=self.performer(**ports), policy=policy, observe=self.reports.append)
        return await runner.run(request, decide or command)

    async def settle(self, **ports: Any) -> SettlingReport:
        settler = OperationSettler(
            log=self.log, performer=self.performer(**ports), policy=POLICY, every=timedelta(1), observe=lambda _: None
        )
        return await settler.run_once()

    async def statuses(self) -> list[str]:
        return [each.status.value for each in self.database.operations.values()]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_request_is_decided_stored_performed_kept_and_resolved(world: World) -> None:
    """In this order: the command is in the log before the provider is asked, the answer kept before it is resolved."""
    seen: list[tuple[str, str | None, bool]] = []

    async def decide() -> Command:
        seen.append(("decide", *await stored()))
        return COMMAND

    async def stored() -> tuple[str | None, bool]:
        (operation,) = world.database.operations.values()
        return operation.status.value, operation.command == COMMAND

    class Watched(Provider):
        async def perform(self, command: Command, key: str) -> Performed:
            seen.append(("perform", *await stored()))
            return await super().perform(command, key)

    async def keep(operation: StoredOperation, performed: Performed) -> None:
        seen.append(("keep", *await stored()))

    outcome = await world.run(decide=decide, gateway=Watched(), keep=keep)
    assert seen == [("decide", "begun", False), ("perform", "begun", True), ("keep", "begun", True)]
    assert (outcome.result.object_id, outcome.repeated) == ("made_1", False)
    assert await world.statuses() == ["done"]


async def test_the_same_request_is_carried_out_once(world: World) -> None:
    """Further ones return the stored outcome, and decide nothing: the state has changed since."""

    async def undecidable() -> NoReturn:
        raise AssertionError("decided again")

    first = await world.run()
    again = await world.run(decide=undecidable)
    assert again == attrs.evolve(first, repeated=True)
    assert len(world.provider.asked) == len(world.kept) == 1


async def test_a_request_waits_for_the_one_in_progress_about_its_subject(world: World) -> None:
    """For as long as the policy says; then its caller has to come again."""
    answer = asyncio.Event()

    class Slow(Provider):
        async def perform(self, command: Command, key: str) -> Performed:
            world.provider.asked.append(key)
            await answer.wait()
            return Performed(result=OperationResult(object_id="slow"))

    patient = OperationPolicy(wait=timedelta(minutes=5), poll=timedelta(milliseconds=1))
    slow = asyncio.create_task(world.run(gateway=Slow()))
    await until(lambda: len(world.provider.asked) == 1)
    with pytest.raises(OperationInProgressError):
        await world.run(OTHER)
    waiting = asyncio.create_task(world.run(OTHER, policy=patient))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    answer.set()
    assert (await slow).result.object_id == "slow"
    assert (await waiting).result.object_id == "made_1"


async def test_many_of_the_same_request_at_once_are_carried_out_once(world: World) -> None:
    """The others get its outcome, or learn that it takes too long."""
    outcomes = await asyncio.gather(*(world.run() for _ in range(8)), return_exceptions=True)
    assert len(world.provider.made) == 1
    others = [each for each in outcomes if not isinstance(each, OperationOutcome)]
    assert all(isinstance(each, OperationInProgressError) for each in others)


async def test_other_arguments_under_one_request_id_are_refused(world: World) -> None:
    """Before and after the end of the first."""
    await world.run()
    with pytest.raises(IdempotencyConflictError):
        await world.run(attrs.evolve(REQUEST, arguments_hash="a2"))


async def test_what_we_refuse_leaves_no_trace(world: World) -> None:
    """The provider was not asked, so the request may be made again once the reason is gone."""

    async def refuse() -> NoReturn:
        raise OperationRefusedError(Refusal.NO_SUBSCRIPTION)

    with pytest.raises(OperationRefusedError):
        await world.run(decide=refuse)
    assert (world.provider.asked, await world.statuses()) == ([], [])
    assert not (await world.run()).repeated


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.code)
async def test_what_the_provider_refuses_stays_refused(world: World, error: GatewayError) -> None:
    """The same decision gets the same answer, in our words, without a call; a new one is free."""
    world.provider.before = [error]
    with pytest.raises(type(error)):
        await world.run()
    with pytest.raises(OperationFailedError) as again:
        await world.run()
    assert again.value.code == error.code
    assert again.value.user_text == f"{error.user_text} This request was answered before. Start a new one to try again."
    assert again.value.decline_code == getattr(error, "decline_code", None)
    assert again.value.parameter == getattr(error, "parameter", None)
    assert len(world.provider.asked) == 1
    assert not (await world.run(OTHER)).repeated


@pytest.mark.parametrize("error", NOT_SENT, ids=lambda error: error.code)
async def test_what_was_surely_not_done_may_be_tried_again(world: World, error: GatewayError) -> None:
    """By the same request, under the next key, with a decision by the state of then."""
    world.provider.before = [error]
    with pytest.raises(type(error)):
        await world.run()
    assert await world.statuses() == ["not_done"]
    outcome = await world.run()
    first, second = world.provider.asked
    assert (first != second, outcome.key, outcome.repeated) == (True, second, False)
    assert await world.settle() == SettlingReport()


async def test_an_unknown_outcome_is_settled_by_the_same_request(world: World) -> None:
    """Under the same key, so that nothing is done twice."""
    world.provider.after = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError) as raised:
        await world.run()
    assert raised.value.outcome_unknown
    outcome = await world.run()
    assert (outcome.result.object_id, len(world.provider.made)) == ("made_1", 1)
    assert [performed.result.object_id for _, performed in world.kept] == ["made_1"]


@pytest.mark.parametrize("failing", ["before", "after"])
async def test_an_unknown_outcome_is_settled_by_a_worker(world: World, failing: str) -> None:
    """Once it is due, whether it was done or not; the caller is told what came of it."""
    setattr(world.provider, failing, [UNKNOWN])
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    assert (await world.settle()).settlements == ()
    world.clock.advance(POLICY.retry_after)
    report = await world.settle()
    assert [each.result for each in report.settlements] == ["done"]
    assert report.backlog.count == 0
    assert (await world.run()).repeated
    assert len(world.provider.made) == len(world.kept) == 1


async def test_a_key_in_use_is_an_unknown_outcome(world: World) -> None:
    """A call with it is on its way: under another key, it would be carried out twice."""
    world.provider.before = [GatewayConflictError("in use")]
    with pytest.raises(GatewayConflictError):
        await world.run()
    assert await world.statuses() == ["begun"]
    await world.run()
    assert len(set(world.provider.asked)) == 1


async def test_another_operation_about_the_object_waits_for_the_settlement(world: World) -> None:
    """It decides by what the unresolved one did, so that one is settled first."""
    world.provider.after = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError):
        await world.run()

    async def decide() -> Command:
        assert await world.statuses() == ["done", "begun"]
        return COMMAND

    assert not (await world.run(OTHER, decide)).repeated
    assert len(world.provider.made) == 2


async def test_while_the_provider_is_away_nothing_else_happens_to_the_object(world: World) -> None:
    """The second caller is told to wait, and both outcomes stay in order."""
    world.provider.after = [UNKNOWN]
    world.provider.before = [UNKNOWN]
    for request in (REQUEST, OTHER):
        with pytest.raises(GatewayUnavailableError):
            await world.run(request)
    assert await world.statuses() == ["begun"]


@pytest.mark.parametrize("error", [*NOT_SENT, UNKNOWN], ids=lambda error: error.code)
async def test_an_unknown_outcome_stays_unknown_until_the_provider_answers(world: World, error: GatewayError) -> None:
    """A later call that surely was not sent says nothing about the first one. Attempts grow apart."""
    world.provider.before = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    pauses = []
    for _ in range(3):
        world.provider.before = [error]
        world.clock.advance(POLICY.retry_at_most)
        (settlement,) = (await world.settle()).settlements
        assert settlement.result == error.code
        pauses.append(world.database.operations_due[1] - world.clock.now())
    assert pauses == [2 * POLICY.retry_after, 4 * POLICY.retry_after, 8 * POLICY.retry_after]
    assert len(set(world.provider.asked)) == 1
    assert not (await world.run()).repeated


@pytest.mark.parametrize("made", [True, False])
async def test_a_key_that_may_have_expired_is_not_sent_again(world: World, made: bool) -> None:
    """The outcome is found out by reading: one that was not done is tried again only if its caller asks for it."""
    setattr(world.provider, "after" if made else "before", [UNKNOWN])
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    (key,) = world.provider.asked
    world.clock.advance(KEY_LIFETIME)
    report = await world.settle()
    assert [each.result for each in report.settlements] == ["done" if made else "not_done"]
    assert (world.provider.asked, world.provider.searched) == ([key], [key])
    outcome = await world.run()
    assert outcome.repeated is made
    assert (outcome.key == key) is made
    assert len(world.provider.made) == 1


async def test_a_caller_who_asks_after_a_day_is_not_told_to_ask_again(world: World) -> None:
    """An old try that turns out as not done is followed by the next one at once."""
    world.provider.before = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    world.clock.advance(KEY_LIFETIME)
    outcome = await world.run()
    assert (outcome.result.object_id, outcome.repeated) == ("made_1", False)
    assert await world.statuses() == ["not_done", "done"]


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize(
    "error",
    [SPENT, GatewayIdempotencyConflictError("other parameters"), GatewayNotFoundError("gone", outcome_unknown=True)],
    ids=lambda error: error.code,
)
async def test_a_spent_key_is_settled_by_reading(world: World, error: GatewayError, made: bool) -> None:
    """The provider stored its own failure under the key: asking again would only repeat it."""
    setattr(world.provider, "after" if made else "before", [error])
    if made:
        assert (await world.run()).result.object_id == "made_1"
    else:
        with pytest.raises(GatewayUnavailableError) as raised:
            await world.run()
        assert not raised.value.outcome_unknown
        assert (await world.run()).result.object_id == "made_1"
        assert len(set(world.provider.asked)) == 2
    assert len(world.provider.made) == 1


async def test_a_refusal_of_a_later_attempt_does_not_deny_the_first(world: World) -> None:
    """It may be about something that is gone by now, such as a price that the first attempt still found."""
    world.provider.after = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    world.provider.before = [GatewayInvalidRequestError("no such price")]
    outcome = await world.run()
    assert (outcome.result.object_id, outcome.repeated) == ("made_1", False)
    assert await world.statuses() == ["done"]


async def test_a_refusal_of_a_later_attempt_holds_if_nothing_was_done(world: World) -> None:
    """The first one never arrived; and a refusal that the provider repeats needs no second look."""
    world.provider.before = [UNKNOWN, GatewayInvalidRequestError("no such price")]
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    with pytest.raises(GatewayInvalidRequestError):
        await world.run()
    assert (await world.statuses(), len(world.provider.searched)) == (["refused"], 1)
    world.provider.before = [UNKNOWN, GatewayCardDeclinedError("declined", replayed=True)]
    with pytest.raises(GatewayUnavailableError):
        await world.run(OTHER)
    with pytest.raises(GatewayCardDeclinedError):
        await world.run(OTHER)
    assert len(world.provider.searched) == 1


@pytest.mark.parametrize("expired", [True, False])
async def test_an_error_of_the_look_says_nothing_about_the_command(world: World, expired: bool) -> None:
    """It is looked up again later: what was made must not be told as refused."""
    world.provider.after = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    if expired:
        world.clock.advance(KEY_LIFETIME)
    else:
        world.provider.before = [SPENT]
    world.provider.hidden = GatewayInvalidRequestError("no such price")
    with pytest.raises(GatewayInvalidRequestError) as raised:
        await world.run()
    assert raised.value.outcome_unknown
    assert await world.statuses() == ["begun"]
    world.provider.hidden = None
    assert (await world.run()).result.object_id == "made_1"


async def test_calls_that_take_too_long_have_an_unknown_outcome(world: World) -> None:
    """They are given up before the lease runs out."""

    class Slow(Provider):
        async def perform(self, command: Command, key: str) -> Performed:
            await asyncio.Event().wait()
            raise AssertionError

    assert POLICY.call_timeout < POLICY.lease
    runner = OperationRunner(
        log=world.log,
        performer=OperationPerformer(
            log=world.log, gateway=Slow(), keep=world.keep, policy=attrs.evolve(POLICY, call_timeout=timedelta(0))
        ),
        policy=POLICY,
        observe=world.reports.append,
    )

    async def decide() -> Command:
        return COMMAND

    with pytest.raises(GatewayUnavailableError) as raised:
        await runner.run(REQUEST, decide)
    assert raised.value.outcome_unknown
    assert await world.statuses() == ["begun"]


async def test_secrets_are_shown_again_while_the_key_lives(world: World) -> None:
    """They are not stored: the provider is asked for its answer again, and nothing is kept a second time."""
    world.provider.secret = "hidden"
    assert (await world.run()).result.client_secret == "hidden"
    again = await world.run()
    assert (again.result.client_secret, again.repeated) == ("hidden", True)
    assert len(world.provider.made) == len(world.kept) == 1
    world.clock.advance(KEY_LIFETIME)
    late = await world.run()
    assert (late.result.client_secret, late.result.secrets_left_out) == (None, True)
    assert len(world.provider.asked) == 2


async def test_an_answer_that_cannot_be_stored_now_is_kept_later(world: World) -> None:
    """The caller is told that the store is away; the provider is asked again under the same key."""
    world.keeping = [StoreUnavailableError("away")]
    with pytest.raises(StoreUnavailableError):
        await world.run()
    world.clock.advance(POLICY.lease)
    assert [each.result for each in (await world.settle()).settlements] == ["done"]
    assert len(world.kept) == len(world.provider.made) == 1


async def test_an_answer_that_can_never_be_kept_holds_up_nothing(world: World) -> None:
    """The object's events say the same; the operation is done all the same."""
    world.keeping = [BillingError("contradicts our state")]
    assert (await world.run()).result.object_id == "made_1"
    assert await world.statuses() == ["done"]


async def test_processes_settle_operations_side_by_side(world: World) -> None:
    """Each is leased in its turn: while one process waits for the provider, another one settles the rest."""
    for request in (REQUEST, attrs.evolve(OTHER, subject="sub_2")):
        world.provider.before = [UNKNOWN]
        with pytest.raises(GatewayUnavailableError):
            await world.run(request)
    world.clock.advance(POLICY.retry_after)
    elsewhere: list[SettlingReport] = []

    class Slow(Provider):
        async def perform(self, command: Command, key: str) -> Performed:
            elsewhere.append(await world.settle())
            return await world.provider.perform(command, key)

    here = await world.settle(gateway=Slow())
    assert [len(report.settlements) for report in (here, *elsewhere)] == [1, 1]
    assert await world.statuses() == ["done", "done"]


async def test_a_bug_about_one_operation_holds_up_no_other(world: World) -> None:
    """It stays unresolved and is tried again later."""
    for request in (REQUEST, attrs.evolve(OTHER, subject="sub_2")):
        world.provider.before = [UNKNOWN]
        with pytest.raises(GatewayUnavailableError):
            await world.run(request)
    world.provider.before = [ZeroDivisionError()]
    world.clock.advance(POLICY.retry_after)
    report = await world.settle()
    assert [each.result for each in report.settlements] == ["internal_error", "done"]
    assert report.backlog.count == 1
    world.clock.advance(POLICY.pause(attempts=2))  # which is sooner than its lease would have ended
    assert [each.result for each in (await world.settle()).settlements] == ["done"]


async def test_a_bug_leaves_an_operation_that_is_tried_again(world: World) -> None:
    """At once by its caller, later by a worker, and each attempt is counted: its lease does not have to run out."""
    world.provider.before = [KeyError("x"), KeyError("x"), KeyError("x")]
    for _ in range(2):
        with pytest.raises(GatewayDefectError) as raised:
            await world.run()
        assert raised.value.outcome_unknown
        assert isinstance(raised.value.__cause__, KeyError)
    (stuck,) = await world.log.unresolved(limit=10)
    assert (stuck.attempts, stuck.last_error) == (2, "internal_error: KeyError")
    world.clock.advance(POLICY.retry_at_most)
    assert [each.result for each in (await world.settle()).settlements] == ["internal_error"]
    world.clock.advance(POLICY.retry_at_most)
    assert [each.result for each in (await world.settle()).settlements] == ["done"]
    assert [type(bug) for bug in world.bugs] == [GatewayDefectError] * 3
    assert (await world.run()).repeated


async def test_a_bug_in_settling_is_reported(world: World) -> None:
    """With its traceback; the operation is due again."""

    class Faulty(MemoryOperationLog):
        async def resolve(self, operation: StoredOperation, resolution: Resolution) -> None:
            raise ZeroDivisionError

    world.provider.before = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    world.clock.advance(POLICY.retry_at_most)
    report = await world.settle(log=Faulty(world.database, world.clock))
    assert [each.result for each in report.settlements] == ["bug"]
    assert [type(bug) for bug in world.bugs] == [ZeroDivisionError]
    world.clock.advance(POLICY.retry_at_most)
    assert [each.result for each in (await world.settle()).settlements] == ["done"]


async def test_a_bug_before_anything_is_sent_leaves_nothing_open(world: World) -> None:
    """The gateway knows that: the request may be made again, and its subject is free."""
    world.provider.before = [GatewayDefectError("TypeError")]
    with pytest.raises(GatewayDefectError):
        await world.run()
    assert await world.statuses() == ["not_done"]
    assert not (await world.run(OTHER)).repeated


async def test_a_bug_in_keeping_an_answer_holds_up_nothing(world: World) -> None:
    """The outcome is known, and is told; the bug is reported."""
    world.keeping = [ZeroDivisionError()]
    assert (await world.run()).result.object_id == "made_1"
    assert await world.statuses() == ["done"]
    assert [type(bug) for bug in world.bugs] == [ZeroDivisionError]


async def test_a_command_of_another_release_is_left_to_that_release(world: World) -> None:
    """It may have been sent: it is neither withdrawn nor decided again."""
    begun = await world.log.begin(REQUEST, lease=POLICY.lease)
    planned = await world.log.plan(begun.operation, COMMAND, lease=POLICY.lease)
    world.database.operations[planned.operation_id] = attrs.evolve(planned, command=None)
    world.clock.advance(POLICY.lease)
    for request in (REQUEST, OTHER):
        with pytest.raises(GatewayDefectError, match="cannot read"):
            await world.run(request)
    world.clock.advance(POLICY.retry_at_most)
    assert [each.result for each in (await world.settle()).settlements] == ["internal_error"]
    assert world.provider.asked == []
    assert await world.statuses() == ["begun"]


async def test_a_request_that_was_given_up_says_so(world: World) -> None:
    """Its key is spent: the caller has to look and decide again, and other operations go on."""
    world.provider.before = [UNKNOWN]
    with pytest.raises(GatewayUnavailableError):
        await world.run()
    (stuck,) = await world.log.unresolved(limit=10)
    await world.log.give_up(stuck, actor="grace", reason="looked it up")
    with pytest.raises(OperationFailedError) as again:
        await world.run()
    assert again.value.code == "given_up"
    assert len(world.provider.asked) == 1
    assert not (await world.run(OTHER)).repeated


async def test_old_operations_are_deleted_in_steps(world: World) -> None:
    """Until none is left that is old enough."""
    for number in range(3):
        await world.run(attrs.evolve(REQUEST, request_id=f"r{number}", subject=f"sub_{number}"))
    pruner = OperationPruner(log=world.log, older_than=timedelta(days=30), every=timedelta(1), observe=lambda _: None)
    assert (await pruner.run_once()).deleted == 0
    world.clock.advance(timedelta(days=31))
    assert (await pruner.run_once()).deleted == 3
    assert await world.statuses() == []


async def test_a_request_without_a_decision_is_withdrawn_by_a_worker(world: World) -> None:
    """Its process ended before it decided: nothing was sent, and what it would have decided is not known."""
    await world.log.begin(REQUEST, lease=POLICY.lease)
    world.clock.advance(POLICY.lease)
    assert [each.result for each in (await world.settle()).settlements] == ["withdrawn"]
    assert await world.statuses() == []


async def test_each_request_is_reported_once(world: World) -> None:
    """With the command, its plan and the result, whatever that is."""
    world.provider.before = [REFUSALS[0]]
    with pytest.raises(GatewayCardDeclinedError):
        await world.run()
    await world.run(OTHER)
    await world.run(OTHER)
    assert [(each.command, each.result) for each in world.reports] == [
        ("cancel_now", "card_declined"),
        ("cancel_now", "done"),
        ("cancel_now", "repeated"),
    ]


async def test_a_request_is_reported_with_the_time_that_it_took(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for others included."""
    seconds = itertools.count(1000, 3)
    monkeypatch.setattr("billing_core.operations.runner.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    await world.run()
    assert [each.seconds for each in world.reports] == [6]  # the clock was read for the deadline, too


@pytest.mark.parametrize("policy", [OperationPolicy(), operation_policy(GatewaySettings())])
def test_a_lease_outlasts_the_calls_that_are_made_under_it(policy: OperationPolicy) -> None:
    """Otherwise another process would perform an operation while its first call is still on its way."""
    assert policy.lease > policy.call_timeout


# --- crashes ----------------------------------------------------------------------------------------------------------


async def crash(world: World, point: int) -> bool:
    """Run a request in a process that ends at a point; return whether there is such a point."""
    countdown = [point]
    ports = {
        "log": Crashing(world.log, countdown),
        "gateway": Crashing(world.provider, countdown),
        "keep": Crashing(world.keep, countdown),
    }
    try:
        await world.run(**ports)
    except Crashed:
        return True
    return False


async def crash_points() -> list[int]:
    """Return every point at which a process can end: before and after each await of a port."""
    return [point for point in itertools.takewhile(lambda _: True, range(1, 40)) if await crash(World(), point)]


def test_there_are_points_to_crash_at() -> None:
    """Five awaits: begin, plan, perform, keep, resolve."""
    assert asyncio.run(crash_points()) == list(range(1, 11))


@pytest.mark.parametrize("point", range(1, 11))
@pytest.mark.parametrize("who", ["caller", "worker", "worker, then caller", "other operation", "caller after a day"])
async def test_after_a_crash_at_any_point_nothing_is_lost_or_done_twice(world: World, point: int, who: str) -> None:
    """Another process goes on: the object is made once, its answer is kept, and the caller learns of it."""
    assert await crash(world, point)
    world.clock.advance(KEY_LIFETIME if "day" in who else POLICY.lease)
    if "worker" in who:
        await world.settle()
    if who == "other operation":
        await world.run(OTHER)
        assert len(world.provider.made) == (1 if point <= 3 else 2)
    await world.run()
    made = {key: result for key, result in world.provider.made.items() if "r2" not in key}
    outcome = await world.run()
    assert outcome.repeated
    assert outcome.result.object_id in {result.object_id for result in made.values()}
    assert len(world.provider.made) == (2 if who == "other operation" else 1)
    assert set(await world.statuses()) <= {"done", "not_done"}
    assert {key for key, _ in world.kept} >= set(world.provider.made)


@pytest.mark.parametrize("point", range(1, 11))
async def test_a_crash_during_the_settlement_is_settled_too(world: World, point: int) -> None:
    """Two processes end one after the other at any two points."""
    for other in range(1, 9):
        fresh = World()
        await crash(fresh, point)
        fresh.clock.advance(POLICY.lease)
        await crash(fresh, other)
        fresh.clock.advance(POLICY.lease)
        await fresh.settle()
        assert (await fresh.run()).result.object_id == "made_1"
        assert len(fresh.provider.made) == 1
