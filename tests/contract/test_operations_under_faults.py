"""Every operation under every fault: carried out once, never twice, never lost, and its caller is told the truth.

Each case runs an operation on a fake Stripe through the real runner, log and gateway. Three things can happen to it: a
fault in one of its calls; the end of its process at one of its awaits; and both are followed by other processes, which
repeat the caller's request or settle what was left. At the end, Stripe must look as after one undisturbed run.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

import attrs
import pytest
from tests.provider_stages import MADE, StripeStage, stripe_stage

from billing_core.errors import BillingError, GatewayError
from billing_core.model import CustomerId, InvoiceId, TenantId
from billing_core.operations.commands import (
    ApplyPromotionCode,
    CancelAtPeriodEnd,
    CancelNow,
    ChangeItems,
    Command,
    CreateCheckoutSession,
    CreateCustomer,
    CreateSetupIntent,
    DetachPaymentMethod,
    ExpireCheckoutSession,
    GiveCredit,
    ItemChange,
    OwnDefault,
    PauseCollection,
    PauseSubscription,
    PayInvoice,
    ResumeCollection,
    ResumeSubscription,
    ScheduleChange,
    SetBillingContact,
    SetDefaultPaymentMethod,
    SetSeats,
    StartSubscription,
    TaxId,
    WithdrawCancellation,
    WithdrawPendingUpdate,
    WithdrawScheduledChange,
)
from billing_core.operations.performing import OperationPerformer, OperationPolicy
from billing_core.operations.results import Performed
from billing_core.operations.runner import OperationOutcome, OperationRunner
from billing_core.operations.settling import OperationSettler
from billing_core.operations.stored import OperationRequest, StoredOperation
from billing_core.testing.operations.page_operations import checkout_of
from billing_core.testing.operations.provider_stage import (
    base,
    bigger,
    create_customer,
    current,
    end_of,
    item_of,
    seats,
    start,
    unpaid_upgrade,
)
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.operations.log import MemoryOperationLog
from billing_stripe.gateway import StripeGateway
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import Account, Clock, faults

pytestmark = pytest.mark.stripe

T = TypeVar("T")

POLICY: Final = OperationPolicy(wait=timedelta(0), poll=timedelta(0))
NOON: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
MOST_RUNS: Final = 6
"""Processes that one request is given to come to its end."""


# --- operations ---------------------------------------------------------------------------------------------------

Arrange = Callable[[StripeStage], Awaitable[Command]]
"""Brings Stripe into the state before an operation, and returns its command."""


async def starting(stage: StripeStage) -> Command:
    customer_id = await create_customer(stage.gateway, stage)
    items = (base(stage), seats(stage, 5))
    return StartSubscription(tenant_id=TenantId("acme"), customer_id=customer_id, items=items, payment="on_file")


async def changing(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    change = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=bigger(stage).price, quantity=1)
    return ChangeItems(subscription_id=subscription.subscription_id, changed=(change,))


async def waiting_change(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    await stage.card(subscription.customer_id, "declines")
    change = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=bigger(stage).price, quantity=1)
    return ChangeItems(subscription_id=subscription.subscription_id, changed=(change,))


async def scheduling(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    return ScheduleChange(
        subscription_id=subscription.subscription_id, effective_at=end_of(subscription), items=(seats(stage, 2),)
    )


async def rescheduling(stage: StripeStage) -> Command:
    scheduled = await scheduling(stage)
    assert isinstance(scheduled, ScheduleChange)
    performed = await stage.gateway.perform(scheduled, "bo_scheduled")
    release = str(getattr(performed.snapshot, "schedule_id", None))
    return attrs.evolve(scheduled, items=(seats(stage, 3),), release_schedule=release)


async def seating(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    item_id = item_of(subscription, seats(stage, 5)).item_id
    return SetSeats(subscription_id=subscription.subscription_id, item_id=item_id, quantity=9)


async def seating_under_a_schedule(stage: StripeStage) -> Command:
    reschedule = await rescheduling(stage)
    assert isinstance(reschedule, ScheduleChange)
    customer_id = next(stage.fake.account.all(objects.Subscription)).customer_id
    (subscription,) = await stage.subscriptions(CustomerId(customer_id))
    item_id = item_of(subscription, seats(stage, 5)).item_id
    return SetSeats(
        subscription_id=subscription.subscription_id,
        item_id=item_id,
        quantity=9,
        former_quantity=5,
        reschedule=reschedule,
    )


async def refused_change(stage: StripeStage) -> Command:
    """A change that is refused after its first call, which has to be undone."""
    reschedule = await rescheduling(stage)
    assert isinstance(reschedule, ScheduleChange)
    customer_id = next(stage.fake.account.all(objects.Subscription)).customer_id
    (subscription,) = await stage.subscriptions(CustomerId(customer_id))
    change = ItemChange(item_id=item_of(subscription, base(stage)).item_id, price=stage.unknown_price(), quantity=1)
    return ChangeItems(
        subscription_id=subscription.subscription_id,
        changed=(change,),
        release_schedule=reschedule.release_schedule,
    )


async def withdrawing_a_schedule(stage: StripeStage) -> Command:
    scheduled = await rescheduling(stage)
    assert isinstance(scheduled, ScheduleChange)
    return WithdrawScheduledChange(
        subscription_id=scheduled.subscription_id, schedule_id=str(scheduled.release_schedule)
    )


async def withdrawing_a_pending_update(stage: StripeStage) -> Command:
    subscription, _ = await unpaid_upgrade(stage.gateway, stage)
    return WithdrawPendingUpdate(subscription_id=subscription.subscription_id)


async def canceling(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    return CancelNow(subscription_id=subscription.subscription_id)


async def ending(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    return CancelAtPeriodEnd(subscription_id=subscription.subscription_id)


async def ending_under_a_schedule(stage: StripeStage) -> Command:
    scheduled = await rescheduling(stage)
    assert isinstance(scheduled, ScheduleChange)
    return CancelAtPeriodEnd(subscription_id=scheduled.subscription_id, release_schedule=scheduled.release_schedule)


async def continuing(stage: StripeStage) -> Command:
    command = await ending(stage)
    assert isinstance(command, CancelAtPeriodEnd)
    await stage.gateway.perform(command, "bo_ending")
    return WithdrawCancellation(subscription_id=command.subscription_id, at_period_end=True)


async def pausing(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    return PauseSubscription(subscription_id=subscription.subscription_id)


async def resuming(stage: StripeStage) -> Command:
    command = await pausing(stage)
    assert isinstance(command, PauseSubscription)
    await stage.gateway.perform(command, "bo_pausing")
    return ResumeSubscription(subscription_id=command.subscription_id)


async def pausing_collection(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    return PauseCollection(subscription_id=subscription.subscription_id)


async def resuming_collection(stage: StripeStage) -> Command:
    command = await pausing_collection(stage)
    assert isinstance(command, PauseCollection)
    await stage.gateway.perform(command, "bo_pausing")
    return ResumeCollection(subscription_id=command.subscription_id)


async def creating_a_customer(stage: StripeStage) -> Command:
    return CreateCustomer(tenant_id=TenantId("acme"), email="team@example.com")


async def setting_a_contact(stage: StripeStage) -> Command:
    customer_id = await create_customer(stage.gateway, stage, card=None)
    first = SetBillingContact(customer_id=customer_id, add_tax_ids=(TaxId(type="eu_vat", value="DE000000000"),))
    await stage.gateway.perform(first, "bo_first")
    contact = await stage.gateway.billing_contact(customer_id)
    assert contact is not None
    return SetBillingContact(
        customer_id=customer_id,
        name="Acme",
        add_tax_ids=(TaxId(type="eu_vat", value="DE123456789"),),
        remove_tax_ids=tuple(tax_id.tax_id for tax_id in contact.tax_ids),
    )


async def collecting_a_card(stage: StripeStage) -> Command:
    return CreateSetupIntent(customer_id=await create_customer(stage.gateway, stage, card=None))


async def setting_a_default(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    former = (await stage.gateway.payment_methods(subscription.customer_id))[0].payment_method_id
    await stage.own_card(subscription.subscription_id)
    own = (await current(stage, subscription)).payment_method_id or ""
    return SetDefaultPaymentMethod(
        customer_id=subscription.customer_id,
        payment_method_id=former,
        former=await stage.card(subscription.customer_id),
        outranking=(OwnDefault(subscription_id=subscription.subscription_id, payment_method_id=own),),
    )


async def detaching(stage: StripeStage) -> Command:
    customer_id = await create_customer(stage.gateway, stage, card=None)
    return DetachPaymentMethod(customer_id=customer_id, payment_method_id=await stage.card(customer_id))


async def paying(stage: StripeStage) -> Command:
    subscription, invoice_id = await unpaid_upgrade(stage.gateway, stage)
    await stage.card(subscription.customer_id)
    return PayInvoice(invoice_id=InvoiceId(invoice_id))


async def applying_a_code(stage: StripeStage) -> Command:
    subscription = await start(stage.gateway, stage)
    code = stage.promotion_code("SPRING", percent_off=20)
    return ApplyPromotionCode(subscription_id=subscription.subscription_id, promotion_code_id=code)


async def giving_credit(stage: StripeStage) -> Command:
    customer_id = await create_customer(stage.gateway, stage, card=None)
    return GiveCredit(customer_id=customer_id, amount=500, currency="usd")


async def opening_a_checkout(stage: StripeStage) -> Command:
    customer_id = await create_customer(stage.gateway, stage, card=None)
    return checkout_of(customer_id, stage)


async def opening_another_checkout(stage: StripeStage) -> Command:
    command = await opening_a_checkout(stage)
    assert isinstance(command, CreateCheckoutSession)
    former = await stage.gateway.perform(command, "bo_former")
    return attrs.evolve(command, expire=(str(former.result.object_id),))


async def closing_a_checkout(stage: StripeStage) -> Command:
    former = await stage.gateway.perform(await opening_a_checkout(stage), "bo_former")
    return ExpireCheckoutSession(session_id=str(former.result.object_id))


OPERATIONS: Final[Mapping[str, Arrange]] = {
    arrange.__name__: arrange
    for arrange in (
        starting,
        changing,
        waiting_change,
        refused_change,
        scheduling,
        rescheduling,
        seating,
        seating_under_a_schedule,
        withdrawing_a_schedule,
        withdrawing_a_pending_update,
        canceling,
        ending,
        ending_under_a_schedule,
        continuing,
        pausing,
        resuming,
        pausing_collection,
        resuming_collection,
        creating_a_customer,
        setting_a_contact,
        collecting_a_card,
        setting_a_default,
        detaching,
        paying,
        applying_a_code,
        giving_credit,
        opening_a_checkout,
        opening_another_checkout,
        closing_a_checkout,
    )
}


# --- faults -------------------------------------------------------------------------------------------------------

FAULTS: Final[Mapping[str, tuple[faults.Fault, faults.Point]]] = {
    "500": (faults.server_error(), "before"),
    "stored 500": (faults.server_error(), "executing"),
    "stored 500 of a call that was carried out": (faults.server_error(), "executed"),
    "500 after the call was carried out": (faults.server_error(), "answering"),
    "too much load": (faults.rate_limited(), "before"),
    "locked": (faults.lock_timeout(), "before"),
    "conflict": (faults.conflict(), "before"),
    "cut body": (faults.DroppedBody(), "answering"),
    "stall": (faults.Stall(), "answering"),
    "html": (faults.html(), "answering"),
    "html in place of the call": (faults.html(502), "before"),
    "no answer": (faults.Hang(), "before"),
    "no answer after the call was carried out": (faults.Hang(), "answering"),
    "reset": (faults.Reset(), "before"),
    "reset after the call was carried out": (faults.Reset(), "answering"),
}
SLOW: Final = frozenset({"stall", "no answer", "no answer after the call was carried out"})
"""Faults that last until the client gives up."""
REPEATED: Final = (
    "stored 500",
    "stored 500 of a call that was carried out",
    "too much load",
    "reset after the call was carried out",
)
"""Faults that differ in what a repeated call meets."""
every_fault = pytest.mark.parametrize("fault", FAULTS)
every_repetition = pytest.mark.parametrize("fault", REPEATED)


# --- Stripe's state -----------------------------------------------------------------------------------------------

_ID: Final = re.compile(r"\b(bo|cs|cus|credgr|in|ii|il|pm|pi|seti|si|sub_sched|sub|txi|di)_[A-Za-z0-9_]{8,}")
RANDOM: Final = frozenset({"client_secret", "hosted_invoice_url", "invoice_pdf", "invoice_prefix", "number", "url"})
"""Fields that differ from one object to the next."""
OVER: Final = frozenset({"released", "canceled", "completed"})


def _shown(account: Account, source: Any) -> str | None:
    """Render an object without ids; None for a schedule that has no effect any more."""
    rendered = account.show(source, "2026-10-28.endive")
    if isinstance(source, objects.SubscriptionSchedule):
        if source.status in OVER:
            return None  # one that was released is made again where that is undone
        rendered = {name: rendered[name] for name in ("phases", "status", "end_behavior")}
    steady = {name: value for name, value in rendered.items() if name not in RANDOM}
    return _ID.sub(r"\1", json.dumps(steady, sort_keys=True))


# --- processes ----------------------------------------------------------------------------------------------------


class Yielding:
    """A port whose every call lets other tasks run before and after, so that a process can end there."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            result = await method(*args, **kwargs)
            await asyncio.sleep(0)
            return result

        return call


class Ending(Awaitable[T]):
    """A coroutine that is never continued after the await with this number: its process has ended."""

    def __init__(self, work: Coroutine[Any, Any, T], at: int | None = None) -> None:
        self._work = work
        self._at = at
        self.awaits = 0
        self.ended = asyncio.Event()

    def __await__(self) -> Generator[Any, Any, T]:
        proceed: Callable[[], Any] = partial(self._work.send, None)
        while True:
            try:
                awaited = proceed()
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            self.awaits += 1
            try:
                if self.awaits == self._at:
                    self.ended.set()
                    yield from asyncio.Event().wait().__await__()
                value = yield awaited
            except BaseException as thrown:  # the error of what was awaited; or the test is over, and cleans up
                proceed = partial(self._work.throw, thrown)
            else:
                proceed = partial(self._work.send, value)


@attrs.define
class World:
    """One tenant's request, the store, and Stripe; processes come and go."""

    stage: StripeStage
    command: Command
    others: frozenset[str]
    """The ids of objects that are not of this world."""
    clock: ManualClock = attrs.field(factory=ManualClock)
    log: MemoryOperationLog = attrs.field(init=False)
    before: list[str] = attrs.field(init=False)
    dead: list[asyncio.Task[Any]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.log = MemoryOperationLog(MemoryDatabase(), self.clock)
        self.before = self.state()

    def state(self) -> list[str]:
        """Return all objects that an operation may make or change, without ids: two equal ones are two."""
        account = self.stage.fake.account
        sources = [source for kind in MADE for source in account.all(kind)]
        shown = [_shown(account, each) for each in sources if account.kind_of(type(each)).key(each) not in self.others]
        return sorted(each for each in shown if each is not None)

    async def request(self, gateway: StripeGateway | None = None) -> OperationOutcome:
        """Make the caller's request, in a new process."""
        performer = self._performer(gateway or self.stage.plain)
        runner = OperationRunner(log=Yielding(self.log), performer=performer, policy=POLICY, observe=lambda _: None)
        request = OperationRequest(
            tenant_id=TenantId("acme"),
            operation=self.command.operation,
            request_id=self.stage.salt,
            subject="subject",
            arguments_hash="a1",
            actor="ada",
        )

        async def decide() -> Command:
            return self.command

        return await runner.run(request, decide)

    async def request_and_end(self, at: int) -> bool:
        """Make the request in a process that ends at its await with this number. False if it came to its end before."""
        process = Ending(self.request(), at)

        async def run() -> None:
            with suppress(BillingError):
                await process

        task, ended = asyncio.create_task(run()), asyncio.create_task(process.ended.wait())
        await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        self.dead.append(task)
        return not task.done()

    async def settle(self) -> None:
        """Let a worker settle what is unresolved, in a new process, once its lease has run out."""
        self.clock.advance(timedelta(minutes=20))
        settler = OperationSettler(
            log=self.log,
            performer=self._performer(self.stage.plain),
            policy=POLICY,
            every=timedelta(1),
            observe=lambda _: None,
        )
        await settler.run_once()

    def _performer(self, gateway: StripeGateway) -> OperationPerformer:
        async def keep(operation: StoredOperation, performed: Performed) -> None:
            await asyncio.sleep(0)

        return OperationPerformer(log=Yielding(self.log), gateway=gateway, keep=keep, policy=POLICY)

    async def to_the_end(self, *, by_worker: bool) -> OperationOutcome | BillingError:
        """Repeat the request, or settle first, until the caller knows how it ended."""
        for _ in range(MOST_RUNS):
            self.clock.advance(timedelta(minutes=20))
            if by_worker:
                await self.settle()
            reply = await self.answer()
            if not isinstance(reply, GatewayError) or not reply.retryable:
                return reply
        raise AssertionError(f"still not known after {MOST_RUNS} processes: {reply!r}")

    async def answer(self, gateway: StripeGateway | None = None) -> OperationOutcome | BillingError:
        """Return the answer to the caller, which must be true."""
        try:
            return await self.request(gateway)
        except BillingError as error:
            reply = error
        unknown = isinstance(reply, GatewayError) and reply.outcome_unknown
        assert unknown or self.state() == self.before, f"not in force, it said: {reply!r}"
        return reply

    async def close(self) -> None:
        """Let ended processes release what they hold in this one."""
        for task in self.dead:
            task.cancel()
        await asyncio.gather(*self.dead, return_exceptions=True)


@attrs.frozen
class Undisturbed:
    """An operation that nothing happens to."""

    awaits: int
    calls: int
    refused: bool
    after: list[str]


async def world(stage: StripeStage, arrange: Arrange) -> World:
    """Return a world with customers of its own."""
    others = stage.next_case()
    command = await arrange(stage)
    return World(stage, command, others)


async def undisturbed(stage: StripeStage, arrange: Arrange) -> Undisturbed:
    """Run an operation without a fault, for comparison."""
    quiet = await world(stage, arrange)
    sent = len(stage.fake.requests)
    process = Ending(quiet.request())
    refused = False
    try:
        await process
    except GatewayError:
        refused = True
    keys = {request.headers.get("Idempotency-Key", "") for request in stage.fake.requests[sent:]}
    return Undisturbed(process.awaits, len(keys - {""}), refused, quiet.state())


@attrs.frozen
class Operation:
    """An operation, on a fake Stripe that all its cases share."""

    stage: StripeStage
    arrange: Arrange
    quiet: Undisturbed

    async def world(self) -> World:
        """Return the state before the operation, with customers of its own."""
        return await world(self.stage, self.arrange)

    async def check_end(self, run: World, *, by_worker: bool) -> None:
        """Let other processes bring a request to its end, which has to be that of an undisturbed one."""
        self.stage.fake.clear_faults()  # on a busy machine, a client may give up before its call reaches the fault
        reply = await run.to_the_end(by_worker=by_worker)
        assert isinstance(reply, BillingError) == self.quiet.refused, reply
        assert run.state() == self.quiet.after
        assert await run.log.unresolved(limit=10) == []


@pytest.fixture(scope="module", params=OPERATIONS.values(), ids=list(OPERATIONS))
async def operation(request: pytest.FixtureRequest) -> AsyncIterator[Operation]:
    async with stripe_stage(clock=Clock(NOON)) as stage:
        yield Operation(stage, request.param, await undisturbed(stage, request.param))


# --- the table ----------------------------------------------------------------------------------------------------


@every_fault
async def test_a_fault_in_any_call(operation: Operation, fault: str) -> None:
    """The answer to the caller is true, and repeating the request, or a worker, brings it to its one end."""
    stage, (kind, at) = operation.stage, FAULTS[fault]
    slow = fault in SLOW
    for call, by_worker in zip(range(1, 1 + (1 if slow else operation.quiet.calls)), itertools.cycle((False, True))):
        run = await operation.world()
        stage.fail(kind, at=at, step=call)
        await run.answer(stage.impatient if slow else None)
        await operation.check_end(run, by_worker=by_worker)


@every_repetition
async def test_a_fault_that_a_call_is_repeated_after(operation: Operation, fault: str) -> None:
    """The client itself sends the call again; Stripe may answer with the failure that it has stored for the key."""
    kind, at = FAULTS[fault]
    for call in range(1, operation.quiet.calls + 1):
        run = await operation.world()
        operation.stage.fail(kind, at=at, step=call)
        await run.answer(operation.stage.persistent)
        await operation.check_end(run, by_worker=False)


async def test_the_end_of_the_process_at_any_await(operation: Operation) -> None:
    """Another process finishes it: on the caller's next request, or by itself."""
    for at, by_worker in zip(range(1, operation.quiet.awaits + 1), itertools.cycle((False, True))):
        run = await operation.world()
        await run.request_and_end(at)
        await operation.check_end(run, by_worker=by_worker)
        await run.close()


@every_repetition
async def test_a_fault_and_the_end_of_the_process(operation: Operation, fault: str) -> None:
    """The process that repeats what met a fault ends in the middle; the next one finishes it."""
    kind, at = FAULTS[fault]
    run = await operation.world()
    operation.stage.fail(kind, at=at, step=1)
    await run.answer()
    await run.request_and_end(operation.quiet.awaits // 2)
    await operation.check_end(run, by_worker=True)
    await run.close()
