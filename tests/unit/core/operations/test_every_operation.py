"""Every operation, with every fault and after every crash: the provider ends as it would have without.

No object is made twice, none is lost, and the caller learns the truth.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
import pytest
from tests.unit.core.operations.accounts import PLANS
from tests.unit.core.operations.crashing import Crashed, Crashing

from billing_core.errors import (
    BillingError,
    GatewayAuthenticationError,
    GatewayConflictError,
    GatewayError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)
from billing_core.model import BillingRules, SubscriptionId
from billing_core.operations.answers import AnswerKeeper
from billing_core.operations.commands import CheckoutReturn, TaxId
from billing_core.operations.decisions.changing import PlanChange
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.facade import Operations, compose_operations
from billing_core.operations.items import Terms
from billing_core.operations.performing import OperationPerformer, OperationPolicy
from billing_core.operations.requests import Caller
from billing_core.operations.runner import OperationRunner
from billing_core.operations.settling import OperationSettler
from billing_core.operations.stored import KEY_LIFETIME
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_core.testing.builders import ACME, AT
from billing_core.testing.scripted import ScriptedProvider
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.operations.fake_gateway import FakeGateway
from billing_memory.operations.log import MemoryOperationLog
from billing_memory.state.repository import MemoryRepository

POLICY: Final = OperationPolicy(wait=timedelta(0), poll=timedelta(0))
MONTHLY: Final = Terms(interval="month", interval_count=1)
RETURNS: Final = CheckoutReturn(return_url="https://app.example/done")
CALLER: Final = Caller(tenant_id=ACME, request_id="the-decision", actor="ada")

UNKNOWN = GatewayUnavailableError("cut off", outcome_unknown=True)
FAULTS: Final[Mapping[str, tuple[GatewayError, bool]]] = {
    "answer lost": (UNKNOWN, True),
    "request lost": (UNKNOWN, False),
    "stored failure, done": (GatewayUnavailableError("500", outcome_unknown=True, replayed=True), True),
    "stored failure, not done": (GatewayUnavailableError("500", outcome_unknown=True, replayed=True), False),
    "in progress": (GatewayConflictError("409", outcome_unknown=True), True),
    "not sent": (GatewayUnavailableError("refused connection"), False),
    "too many": (GatewayRateLimitedError("429"), False),
    "key revoked": (GatewayAuthenticationError("401"), False),
}


class World:
    """A provider, a database, and processes over them that come and go."""

    def __init__(self) -> None:
        self.clock = ManualClock(AT)
        self.provider = FakeGateway(ManualClock(AT))  # stands still: equal ends are equal in every field
        self.database = MemoryDatabase()
        for price in (price for plan in PLANS for price in plan.prices):
            self.provider.add_price(
                price.price_id or price.lookup_key or "",
                unit_amount=price.amount or 0,
                interval=price.interval or "month",
                metered=price.role == "metered",
            )

    def process(self, countdown: list[int] | None = None) -> Operations:
        """Return the operations of a new process, which ends after so many steps, if that is given."""
        log: Any = MemoryOperationLog(self.database, self.clock)
        provider: Any = self.provider
        if countdown is not None:
            log, provider = Crashing(log, countdown), Crashing(provider, countdown)
        repository, rules = MemoryRepository(self.database, self.clock), RulesBook(BillingRules(plans=PLANS))
        service = BillingService(unit_of_work=repository, translator=ScriptedProvider(), rules=rules)
        answers = AnswerKeeper(service=service, publish=lambda _: None, refetch=None)
        performer = OperationPerformer(log=log, gateway=provider, keep=answers.keep, policy=POLICY)
        self.settler = OperationSettler(
            log=log, performer=performer, policy=POLICY, every=POLICY.lease, observe=lambda _: None
        )
        return compose_operations(
            runner=OperationRunner(log=log, performer=performer, policy=POLICY, observe=lambda _: None),
            stored=repository,
            rules=rules,
            reader=self.provider,
            previews=self.provider,
            answers=answers,
            clock=self.clock,
        )

    async def settle(self) -> None:
        """Do what a worker does once everything is due."""
        self.process()
        await self.settler.run_once()

    @property
    def subscription_id(self) -> SubscriptionId:
        """The first subscription."""
        return next(iter(self.provider.subscriptions))

    def end(self) -> Mapping[str, object]:
        """Return everything that the provider has; of a checkout all but the hour of the decision."""
        state = vars(self.provider._state)
        checkouts = {id_: attrs.evolve(each, expires_at=AT) for id_, each in state["checkouts"].items()}
        return {**{name: value for name, value in state.items() if isinstance(value, dict)}, "checkouts": checkouts}


Ask = Callable[[World, Operations], Awaitable[object]]


async def nothing(world: World) -> None:
    """Begin with an empty account."""


async def customer(world: World) -> None:
    """Begin with a customer that has two payment methods."""
    caller = attrs.evolve(CALLER, request_id="before")
    customer_id = await world.process().customers.ensure(caller)
    world.provider.add_payment_method(customer_id)
    world.provider.add_payment_method(customer_id, default=False)


async def team(world: World, **wanted: Any) -> None:
    """Begin with a subscription of five seats."""
    await customer(world)
    new = NewSubscription(plan_code="team", terms=MONTHLY, seats=5)
    await world.process().subscriptions.start(attrs.evolve(CALLER, request_id="start"), new, payment="on_file")


def after(ask: Ask) -> Callable[[World], Awaitable[None]]:
    """Begin with a subscription about which something was asked."""

    async def begin(world: World) -> None:
        await team(world)
        global_caller = world.process()
        await ask(world, global_caller)

    return begin


OTHER: Final = attrs.evolve(CALLER, request_id="earlier")


@attrs.frozen(kw_only=True)
class Case:
    """An operation, and the account that it needs."""

    ask: Ask
    begin: Callable[[World], Awaitable[None]] = team


def change(caller: Caller, plan_code: str, **fields: Any) -> Ask:
    """Ask for another plan."""

    async def ask(world: World, operations: Operations) -> object:
        wanted = PlanChange(subscription_id=world.subscription_id, plan_code=plan_code, **fields)
        return await operations.subscriptions.change(caller, wanted)

    return ask


async def _first_checkout(world: World) -> None:
    await world.process().checkout.create(OTHER, NewSubscription(plan_code="basic"), RETURNS)


UNTIL: Final[datetime] = AT + timedelta(days=40)
CASES: Final[Mapping[str, Case]] = {
    "create customer": Case(begin=nothing, ask=lambda _, o: o.customers.ensure(CALLER, email="ada@example.com")),
    "start": Case(
        begin=customer,
        ask=lambda _, o: o.subscriptions.start(
            CALLER, NewSubscription(plan_code="pro", terms=MONTHLY), payment="on_file"
        ),
    ),
    "start with a customer": Case(
        begin=nothing, ask=lambda _, o: o.subscriptions.start(CALLER, NewSubscription(plan_code="basic"))
    ),
    "change now": Case(ask=change(CALLER, "counted", when="now")),
    "change later": Case(ask=change(CALLER, "basic")),
    "change what is scheduled": Case(begin=after(change(OTHER, "basic")), ask=change(CALLER, "counted", when="now")),
    "undo": Case(begin=after(change(OTHER, "basic")), ask=lambda w, o: o.subscriptions.undo(CALLER, w.subscription_id)),
    "set seats": Case(ask=lambda w, o: o.subscriptions.set_seats(CALLER, w.subscription_id, 9)),
    "set seats before a change": Case(
        begin=after(change(OTHER, "counted", when="period_end")),
        ask=lambda w, o: o.subscriptions.set_seats(CALLER, w.subscription_id, 9),
    ),
    "cancel now": Case(ask=lambda w, o: o.subscriptions.cancel_now(CALLER, w.subscription_id)),
    "cancel later": Case(ask=lambda w, o: o.subscriptions.cancel_at_period_end(CALLER, w.subscription_id)),
    "cancel what is scheduled": Case(
        begin=after(change(OTHER, "basic")),
        ask=lambda w, o: o.subscriptions.cancel_at_period_end(CALLER, w.subscription_id),
    ),
    "withdraw the end": Case(
        begin=after(lambda w, o: o.subscriptions.cancel_at_period_end(OTHER, w.subscription_id)),
        ask=lambda w, o: o.subscriptions.undo(CALLER, w.subscription_id),
    ),
    "pause": Case(ask=lambda w, o: o.subscriptions.pause(CALLER, w.subscription_id)),
    "resume": Case(
        begin=after(lambda w, o: o.subscriptions.pause(OTHER, w.subscription_id)),
        ask=lambda w, o: o.subscriptions.resume(CALLER, w.subscription_id),
    ),
    "pause collection": Case(
        ask=lambda w, o: o.subscriptions.pause_collection(CALLER, w.subscription_id, resumes_at=UNTIL)
    ),
    "resume collection": Case(
        begin=after(lambda w, o: o.subscriptions.pause_collection(OTHER, w.subscription_id)),
        ask=lambda w, o: o.subscriptions.resume_collection(CALLER, w.subscription_id),
    ),
    "checkout": Case(
        begin=nothing, ask=lambda _, o: o.checkout.create(CALLER, NewSubscription(plan_code="basic"), RETURNS)
    ),
    "second checkout": Case(
        begin=_first_checkout,
        ask=lambda _, o: o.checkout.create(CALLER, NewSubscription(plan_code="team"), RETURNS),
    ),
    "portal": Case(
        begin=customer, ask=lambda _, o: o.payment_methods.create_portal_session(CALLER, return_url="https://a.example")
    ),
    "setup intent": Case(begin=customer, ask=lambda _, o: o.payment_methods.create_setup_intent(CALLER)),
    "default payment method": Case(
        begin=customer,
        ask=lambda w, o: o.payment_methods.set_default(CALLER, [*w.provider._state.payment_methods][1]),
    ),
    "detach payment method": Case(
        begin=customer,
        ask=lambda w, o: o.payment_methods.detach(CALLER, _second(w)),
    ),
    "give credit": Case(begin=customer, ask=lambda _, o: o.credits.give(CALLER, amount=500, currency="usd")),
    "set contact": Case(
        begin=customer,
        ask=lambda _, o: o.customers.set_contact(
            CALLER, name="Acme", add_tax_ids=[TaxId(type="eu_vat", value="DE123456789")]
        ),
    ),
}


def _second(world: World) -> str:
    """Return the payment method that is not the default one; it may be gone already."""
    return "pm_fake000003"


by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


_ENDS: Final[dict[int, Mapping[str, object]]] = {}


async def undisturbed(case: Case) -> Mapping[str, object]:
    """Return what the provider has if nothing fails."""
    if id(case) not in _ENDS:
        world = World()
        await case.begin(world)
        await case.ask(world, world.process())
        _ENDS[id(case)] = world.end()
    return _ENDS[id(case)]


@by_case
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("who", ["caller", "worker", "caller after a day"])
async def test_a_fault_changes_neither_the_end_nor_the_truth(case: Case, fault: str, who: str) -> None:
    """The same request leads to the end that it would have had, in any process and at any time."""
    error, carried_out = FAULTS[fault]
    world, expected = World(), await undisturbed(case)
    await case.begin(world)
    before = dict(world.end())
    world.provider.fail(error, carried_out=carried_out)
    try:
        await case.ask(world, world.process())
    except GatewayError as error_seen:
        if not error_seen.outcome_unknown:
            assert _same(world.end(), before), "the caller was told that nothing was done"
        world.clock.advance(KEY_LIFETIME if "day" in who else POLICY.retry_at_most)
        if who == "worker":
            await world.settle()
        await case.ask(world, world.process())
    assert _same(world.end(), expected)
    await case.ask(world, world.process())
    assert _same(world.end(), expected), "asking once more did it again"


def _same(found: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    return {key: repr(value) for key, value in found.items()} == {key: repr(value) for key, value in wanted.items()}


async def crash(case: Case, point: int) -> World | None:
    """Return the world after a process ended at a point of an operation; None if there is no such point."""
    world = World()
    await case.begin(world)
    try:
        await case.ask(world, world.process([point]))
    except Crashed:
        return world
    return None


@by_case
@pytest.mark.parametrize("who", ["caller", "worker"])
async def test_after_a_crash_at_any_point_the_end_is_the_same(case: Case, who: str) -> None:
    """Before and after each await of the log and of the provider; another process goes on."""
    expected = await undisturbed(case)
    points = 0
    for point in itertools.count(1):
        world = await crash(case, point)
        if world is None:
            break
        points += 1
        world.clock.advance(POLICY.lease)
        if who == "worker":
            await world.settle()
        await case.ask(world, world.process())
        assert _same(world.end(), expected), f"point {point}"
    assert points >= 8


@by_case
async def test_the_same_request_from_many_processes_is_carried_out_once(case: Case) -> None:
    """Each is told the outcome, or that it is in progress."""
    world, expected = World(), await undisturbed(case)
    await case.begin(world)
    outcomes = await asyncio.gather(*(case.ask(world, world.process()) for _ in range(5)), return_exceptions=True)
    failed = [each for each in outcomes if isinstance(each, BaseException)]
    assert len(failed) < len(outcomes)
    assert all(isinstance(each, BillingError) and each.code == "conflict" for each in failed)
    assert _same(world.end(), expected)
