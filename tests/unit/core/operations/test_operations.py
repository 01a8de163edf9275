"""The operations that applications call, over the whole loop in memory: each is shown at once, and once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.unit.core.operations.accounts import PLANS
from tests.unit.core.operations.accounts import price as monthly_price

from billing_app.container import Container, memory_adapters
from billing_app.settings import CatalogSettings, Settings
from billing_core.errors import GatewayCardDeclinedError, GatewayInvalidRequestError, GatewayUnavailableError
from billing_core.model import (
    CustomerId,
    InvoiceId,
    Plan,
    PriceId,
    PriceSnapshot,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
    TenantRecord,
    TenantRules,
)
from billing_core.operations.checkouts import CheckoutOptions, ConfirmedCheckout
from billing_core.operations.commands import (
    Address,
    Cancellation,
    CancelNow,
    CheckoutReturn,
    Command,
    CreateCheckoutSession,
    StartSubscription,
    TaxId,
)
from billing_core.operations.decisions.changing import PlanChange
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.errors import OperationInProgressError, OperationRefusedError, Refusal
from billing_core.operations.facade import Operations
from billing_core.operations.items import Terms
from billing_core.operations.previews import ChangePreview
from billing_core.operations.requests import Caller
from billing_core.operations.results import PromotionCode
from billing_core.operations.runner import OperationOutcome
from billing_core.payloads import BillingEventPayload, loads
from billing_core.state.ports import Changes
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, provenance
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.operations.fake_gateway import FakeGateway

MONTHLY = Terms(interval="month", interval_count=1)
BACK = CheckoutReturn(success_url="https://app.example/done?id={CHECKOUT_SESSION_ID}", cancel_url="https://app.example")


class Site:
    """An application's process with everything in memory."""

    def __init__(self, tenants: TenantRules | None = None, plans: tuple[Plan, ...] = PLANS) -> None:
        self.clock = ManualClock(AT)
        self.provider = FakeGateway(self.clock)
        self.database = MemoryDatabase()
        for plan in plans:
            for price in plan.prices:
                self.provider.add_price(
                    price.price_id or price.lookup_key or "",
                    unit_amount=price.amount or 0,
                    interval=price.interval or "month",
                    currency=price.currency or "usd",
                    metered=price.role == "metered",
                )
        self.settings = Settings(catalog=CatalogSettings(plans=plans), tenants=tenants or TenantRules())
        self.performed: list[Command] = []
        self._requests = 0
        self.process()

    def process(self) -> Site:
        """Begin again with another process over the same provider and database."""
        adapters = memory_adapters(self.settings, database=self.database, clock=self.clock)
        self.container = Container(
            settings=self.settings,
            **adapters,
            operation_gateway=self.provider,
            preview_gateway=self.provider,
            billing_reader=self.provider,
        )
        perform = self.provider.perform

        async def recorded(command: Command, key: str) -> Any:
            self.performed.append(command)
            return await perform(command, key)

        self.provider.perform = recorded  # type: ignore[method-assign] # to see the commands
        return self

    @property
    def operations(self) -> Operations:
        """The facade."""
        operations = self.container.operations()
        assert isinstance(operations, Operations)
        return operations

    def caller(self, tenant_id: TenantId = ACME) -> Caller:
        """Return a new decision."""
        self._requests += 1
        return Caller(tenant_id=tenant_id, request_id=f"r{self._requests}", actor="ada")

    async def start(self, plan_code: str = "basic", tenant_id: TenantId = ACME, **wanted: Any) -> SubscriptionId:
        """Start a subscription that pays, and return its id."""
        caller = self.caller(tenant_id)
        customer_id = await self.operations.customers.ensure(caller)
        self.provider.add_payment_method(customer_id)
        new = NewSubscription(plan_code=plan_code, **{"terms": MONTHLY, **wanted})
        outcome = await self.operations.subscriptions.start(self.caller(tenant_id), new, payment="on_file")
        return SubscriptionId(outcome.result.object_id or "")

    async def shown(self, tenant_id: TenantId = ACME) -> SubscriptionSnapshot:
        """Return the subscription that the tenant sees last."""
        state = await self.container.tenant_reader().state(tenant_id)
        return state.subscriptions[0].snapshot

    async def messages(self, tenant_id: TenantId = ACME) -> list[BillingEventPayload]:
        """Return all messages of a tenant."""
        history = await self.container.history().events(tenant_id, after=0, limit=100)
        return [loads(message.payload) for message in history]


@pytest.fixture
def site() -> Site:
    return Site()


async def refused(asking: Awaitable[object]) -> Refusal:
    """Return the reason for which an operation is refused."""
    with pytest.raises(OperationRefusedError) as raised:
        await asking
    return raised.value.refusal


# --- start ------------------------------------------------------------------------------------------------------------


async def test_a_start_creates_the_customer_and_is_shown_at_once(site: Site) -> None:
    """The customer is linked, the subscription has its plan, and one message says what caused it."""
    outcome = await site.operations.subscriptions.start(
        site.caller(), NewSubscription(plan_code="basic"), email="ada@example.com", name="Ada"
    )
    assert (outcome.result.status, outcome.result.client_secret is not None) == ("requires_action", True)
    shown = await site.shown()
    assert (shown.subscription_id, shown.plan_code) == (outcome.result.object_id, "basic")
    (customer,) = await site.container.tenant_reader().customers(ACME)
    assert customer.customer_id == shown.customer_id
    (message,) = [each for each in await site.messages() if each.subscription is not None]
    assert (message.source.kind, message.source.id) == ("operation", outcome.key)
    contact = await site.operations.customers.contact(ACME)
    assert (contact.email, contact.name) == ("ada@example.com", "Ada")


async def test_a_repeated_start_shows_the_first_outcome_with_its_secret(site: Site) -> None:
    """Nothing is started again, and the browser can still confirm."""
    caller, wanted = site.caller(), NewSubscription(plan_code="basic")
    first = await site.operations.subscriptions.start(caller, wanted)
    again = await site.operations.subscriptions.start(caller, wanted)
    assert again == attrs.evolve(first, repeated=True)
    assert len(site.provider.subscriptions) == 1


async def test_two_starts_at_once_make_one_subscription_and_one_customer(site: Site) -> None:
    """The second is decided once the first is known."""
    wanted = NewSubscription(plan_code="basic")
    outcomes = await asyncio.gather(
        *(site.operations.subscriptions.start(site.caller(), wanted) for _ in range(4)), return_exceptions=True
    )
    started = [each for each in outcomes if isinstance(each, OperationOutcome)]
    others = [each for each in outcomes if not isinstance(each, OperationOutcome)]
    assert len(started) == len(site.provider.subscriptions) == 1
    assert all(isinstance(each, OperationRefusedError | OperationInProgressError) for each in others)
    assert len(await site.container.tenant_reader().customers(ACME)) == 1


async def test_a_refused_start_leaves_no_customer(site: Site) -> None:
    """It is decided before the customer is created."""
    asking = site.operations.subscriptions.start(site.caller(), NewSubscription(plan_code="gone"))
    assert await refused(asking) is Refusal.UNKNOWN_PLAN
    assert await site.container.tenant_reader().customers(ACME) == []
    assert site.performed == []


async def test_a_repeated_request_gets_its_first_answer_whatever_has_changed_since(site: Site) -> None:
    """The state is part of the first decision, not of what the caller asks for."""
    subscription_id = await site.start()
    credit, portal = site.caller(), site.caller()
    flow: Any = {"return_url": "https://a.example", "flow": "subscription_cancel", "subscription_id": subscription_id}
    given = await site.operations.credits.give(credit, amount=500, currency="usd")
    opened = await site.operations.payment_methods.create_portal_session(portal, **flow)
    await site.operations.subscriptions.cancel_now(site.caller(), subscription_id)
    other = CustomerId("cus_0")
    site.database.tables.customers[other] = attrs.evolve(customer(other), tenant_id=ACME)
    again = await site.operations.credits.give(credit, amount=500, currency="usd")
    assert (again.result, again.repeated) == (given.result, True)
    reopened = await site.operations.payment_methods.create_portal_session(portal, **flow)
    assert (reopened.result.object_id, reopened.repeated) == (opened.result.object_id, True)


async def test_a_link_that_an_operation_made_says_so(site: Site) -> None:
    """Among the decisions of operators, it is not taken for one of them."""
    caller = site.caller()
    await site.operations.customers.ensure(caller)
    ((_, logged),) = site.database.tables.decisions.items()
    (operation,) = site.database.operations.values()
    assert (logged.decision.actor, logged.decision.reason) == (caller.actor, f"created by operation {operation.key}")


async def test_a_lost_answer_starts_nothing_twice(site: Site) -> None:
    """The same request finds the subscription that was started."""
    caller, wanted = site.caller(), NewSubscription(plan_code="basic")
    await site.operations.customers.ensure(site.caller())
    site.provider.fail(GatewayUnavailableError("cut off", outcome_unknown=True), carried_out=True)
    with pytest.raises(GatewayUnavailableError):
        await site.operations.subscriptions.start(caller, wanted)
    outcome = await site.operations.subscriptions.start(caller, wanted)
    assert [outcome.result.object_id] == list(site.provider.subscriptions)


async def test_a_declined_card_starts_nothing(site: Site) -> None:
    """Another card is another decision."""
    customer_id = await site.operations.customers.ensure(site.caller())
    site.provider.add_payment_method(customer_id, behavior="declines")
    wanted = NewSubscription(plan_code="basic")
    with pytest.raises(GatewayCardDeclinedError):
        await site.operations.subscriptions.start(site.caller(), wanted, payment="off_session")
    site.provider.add_payment_method(customer_id)
    outcome = await site.operations.subscriptions.start(site.caller(), wanted, payment="off_session")
    assert outcome.result.status == "done"


async def test_promotion_codes_are_found_before_they_are_used(site: Site) -> None:
    """As the customer writes them; one that cannot be used is refused."""
    code = PromotionCode(promotion_code_id="promo_1", code="SPRING", percent_off=20, duration="once", usable=True)
    site.provider.add_promotion_code(code)
    site.provider.add_promotion_code(attrs.evolve(code, promotion_code_id="promo_2", code="WINTER", usable=False))
    assert await site.operations.credits.promotion_code(ACME, "spring") == code
    wanted = NewSubscription(plan_code="basic")
    for unusable in ("winter", "unknown"):
        asking = site.operations.subscriptions.start(site.caller(), wanted, promotion_code=unusable)
        assert await refused(asking) is Refusal.UNKNOWN_PROMOTION_CODE
    await site.operations.subscriptions.start(site.caller(), wanted, promotion_code="spring")
    started = site.performed[-1]
    assert isinstance(started, StartSubscription)
    assert started.promotion_code_id == "promo_1"


async def test_where_customers_are_shared_the_payer_is_named(site: Site) -> None:
    """No customer is created for one of several tenants; elsewhere only the tenant's own customer pays."""
    wanted = NewSubscription(plan_code="basic")
    customer_id = await site.operations.customers.ensure(site.caller(GLOBEX))
    asking = site.operations.subscriptions.start(site.caller(), wanted, payer=customer_id)
    assert await refused(asking) is Refusal.NO_CUSTOMER
    shared = Site(TenantRules(link="subscription"))
    shared.provider = site.provider
    operations = shared.process().operations
    assert await refused(operations.subscriptions.start(shared.caller(), wanted)) is Refusal.NO_CUSTOMER
    await operations.subscriptions.start(shared.caller(), wanted, payer=customer_id)
    assert (await shared.shown()).customer_id == customer_id
    await operations.checkout.create(shared.caller(GLOBEX), wanted, BACK, payer=customer_id)
    assert await shared.container.tenant_reader().customers(ACME) == []


# --- change -----------------------------------------------------------------------------------------------------------


async def preview(site: Site, wanted: PlanChange) -> ChangePreview:
    """Return the preview of a change."""
    return await site.operations.subscriptions.preview_change(ACME, wanted)


async def test_a_preview_says_what_is_due_and_is_confirmed_by_its_id(site: Site) -> None:
    """For the same instant, however long the customer thinks."""
    wanted = PlanChange(subscription_id=await site.start(), plan_code="pro")
    site.clock.advance(timedelta(days=15))
    found = await preview(site, wanted)
    assert (found.plan_code, found.effective_at, found.replaces) == ("pro", None, ())
    assert (found.total_now, found.next_total) == (2000, 5000)
    site.clock.advance(timedelta(minutes=5))
    outcome = await site.operations.subscriptions.change(site.caller(), wanted, preview=found.preview_id)
    assert outcome.result.status == "done"
    assert (await site.shown()).plan_code == "pro"


async def set_seats(site: Site, subscription_id: SubscriptionId) -> None:
    await site.operations.subscriptions.set_seats(site.caller(), subscription_id, 7)


async def cancel_later(site: Site, subscription_id: SubscriptionId) -> None:
    await site.operations.subscriptions.pause_collection(site.caller(), subscription_id)
    site.provider.add_price("price_pro", unit_amount=5001)


@pytest.mark.parametrize("move", [set_seats, cancel_later], ids=["quantities", "prices"])
async def test_a_preview_is_outdated_once_anything_moved(
    site: Site, move: Callable[[Site, SubscriptionId], Awaitable[None]]
) -> None:
    """The customer agreed to other amounts: nothing is changed."""
    subscription_id = await site.start("team", seats=5)
    wanted = PlanChange(subscription_id=subscription_id, plan_code="pro", when="now")
    found = await preview(site, wanted)
    await move(site, subscription_id)
    before = len(site.performed)
    asking = site.operations.subscriptions.change(site.caller(), wanted, preview=found.preview_id)
    assert await refused(asking) is Refusal.PREVIEW_OUTDATED
    assert len(site.performed) == before


async def test_a_preview_confirms_nothing_else(site: Site) -> None:
    """Neither another plan nor an invented id."""
    subscription_id = await site.start()
    found = await preview(site, PlanChange(subscription_id=subscription_id, plan_code="pro"))
    other = PlanChange(subscription_id=subscription_id, plan_code="team")
    for preview_id in (found.preview_id, "pv_0_" + "0" * 40, "anything"):
        asking = site.operations.subscriptions.change(site.caller(), other, preview=preview_id)
        assert await refused(asking) is Refusal.PREVIEW_OUTDATED


async def test_a_preview_is_confirmed_within_an_hour(site: Site) -> None:
    """An old one would give back time that was used: with fewer seats as of weeks ago."""
    subscription_id = await site.start("team", seats=40)
    site.clock.advance(timedelta(days=1))
    subscriptions = site.operations.subscriptions
    found = await subscriptions.preview_seats(ACME, subscription_id, 2)
    site.clock.advance(timedelta(days=27))
    asking = subscriptions.set_seats(site.caller(), subscription_id, 2, preview=found.preview_id)
    assert await refused(asking) is Refusal.PREVIEW_OUTDATED


async def test_a_preview_is_not_of_the_future(site: Site) -> None:
    """An invented one would make an upgrade cost nothing."""
    wanted = PlanChange(subscription_id=await site.start(), plan_code="pro")
    site.clock.advance(timedelta(days=20))
    found = await preview(site, wanted)
    site.clock.advance(-timedelta(days=20))
    asking = site.operations.subscriptions.change(site.caller(), wanted, preview=found.preview_id)
    assert await refused(asking) is Refusal.PREVIEW_OUTDATED


async def test_a_change_that_is_not_paid_is_pending(site: Site) -> None:
    """The plan stays, the change is shown as scheduled, and can be withdrawn."""
    subscription_id = await site.start()
    customer_id = (await site.shown()).customer_id
    site.provider.add_payment_method(customer_id, behavior="declines")
    outcome = await site.operations.subscriptions.change(
        site.caller(), PlanChange(subscription_id=subscription_id, plan_code="pro")
    )
    assert outcome.result.status == "pending"
    shown = await site.shown()
    assert (shown.plan_code, [each.kind for each in shown.scheduled_changes]) == ("basic", ["pending_update"])
    await site.operations.subscriptions.undo(site.caller(), subscription_id)
    assert (await site.shown()).scheduled_changes == ()


async def test_a_downgrade_is_scheduled_and_can_be_withdrawn(site: Site) -> None:
    """It is shown with its date and plan."""
    subscription_id = await site.start("pro", trial=False)
    wanted = PlanChange(subscription_id=subscription_id, plan_code="basic")
    found = await preview(site, wanted)
    assert (found.effective_at, found.now, found.next_total) == (AT + timedelta(days=30), None, 1000)
    outcome = await site.operations.subscriptions.change(site.caller(), wanted, preview=found.preview_id)
    assert (outcome.result.status, outcome.result.effective_at) == ("pending", AT + timedelta(days=30))
    (coming,) = (await site.shown()).scheduled_changes
    assert (coming.kind, coming.plan_code, coming.effective_at) == ("plan_change", "basic", AT + timedelta(days=30))
    await site.operations.subscriptions.undo(site.caller(), subscription_id)
    shown = await site.shown()
    assert (shown.plan_code, shown.scheduled_changes) == ("pro", ())


async def test_seats_are_previewed_and_set(site: Site) -> None:
    """In absolute numbers."""
    subscription_id = await site.start("team", seats=5)
    found = await site.operations.subscriptions.preview_seats(ACME, subscription_id, 8)
    assert found.next_total == 1000 + 1000 + 8 * 900 + 3 * 900
    await site.operations.subscriptions.set_seats(site.caller(), subscription_id, 8, preview=found.preview_id)
    assert (await site.shown()).seat_count == 8


async def test_a_change_whose_answer_was_lost_is_not_undone_by_the_next_one(site: Site) -> None:
    """The process ends before it keeps the answer; the next decision rests on the seats that the provider has."""
    subscription_id = await site.start("counted", seats=3)
    caller = site.caller()
    site.provider.fail(GatewayUnavailableError("cut off", outcome_unknown=True), carried_out=True)
    with pytest.raises(GatewayUnavailableError):
        await site.operations.subscriptions.set_seats(caller, subscription_id, 5)
    site.process()
    await site.operations.subscriptions.set_seats(caller, subscription_id, 5)
    assert (await site.shown()).seat_count == 5
    await site.operations.subscriptions.change(
        site.caller(), PlanChange(subscription_id=subscription_id, plan_code="solo_seat", when="now")
    )
    assert site.provider.subscriptions[subscription_id].items[0].quantity == 5


async def test_the_seats_follow_the_applications_count(site: Site) -> None:
    """Many calls at once count twice: once for the first, and once for all that came meanwhile."""
    subscription_id = await site.start("team", seats=5)
    members, counts = 5, 0
    counting = asyncio.Event()
    counting.set()

    async def count(tenant_id: TenantId) -> int:
        nonlocal counts
        counts, counted = counts + 1, members
        await counting.wait()
        return counted

    sync = site.operations.seat_sync(count)
    assert await sync.sync(ACME, subscription_id) is None
    counting.clear()
    before, calls = len(site.performed), []
    for number in range(6, 21):
        members = number
        calls.append(asyncio.create_task(sync.sync(ACME, subscription_id)))
        await asyncio.sleep(0)
    counting.set()
    outcomes = await asyncio.gather(*calls)
    assert (counts, len(site.performed) - before) == (3, 2)
    assert (await site.shown()).seat_count == 20
    assert outcomes[0] != outcomes[1] == outcomes[-1]
    members = 0
    await sync.sync(ACME, subscription_id)
    assert (await site.shown()).seat_count == 2


# --- ends and pauses --------------------------------------------------------------------------------------------------


async def test_an_end_is_scheduled_withdrawn_and_made(site: Site) -> None:
    """Each is shown at once."""
    subscriptions, subscription_id = site.operations.subscriptions, await site.start()
    reason = Cancellation(feedback="too_expensive")
    await subscriptions.cancel_at_period_end(site.caller(), subscription_id, reason=reason)
    assert (await site.shown()).cancellation_scheduled
    await subscriptions.undo(site.caller(), subscription_id, "cancellation")
    assert not (await site.shown()).cancellation_scheduled
    await subscriptions.cancel_now(site.caller(), subscription_id, reason=reason)
    shown = await site.shown()
    assert (shown.status, shown.cancellation_feedback) == ("canceled", "too_expensive")
    types = [message.event_type for message in await site.messages()]
    assert types[-3:] == [
        "subscription.cancellation_scheduled",
        "subscription.cancellation_withdrawn",
        "subscription.canceled",
    ]


async def test_pauses_of_both_kinds(site: Site) -> None:
    """Of everything, and of payments only."""
    subscriptions, subscription_id = site.operations.subscriptions, await site.start()
    await subscriptions.pause(site.caller(), subscription_id)
    assert (await site.shown()).status == "paused"
    await subscriptions.resume(site.caller(), subscription_id)
    assert (await site.shown()).status == "active"
    until = AT + timedelta(days=60)
    await subscriptions.pause_collection(site.caller(), subscription_id, behavior="void", resumes_at=until)
    shown = await site.shown()
    assert (shown.status, shown.collection_paused, shown.pause_behavior) == ("active", True, "void")
    await subscriptions.resume_collection(site.caller(), subscription_id)
    assert not (await site.shown()).collection_paused


# --- tenants ----------------------------------------------------------------------------------------------------------


async def test_a_tenant_reaches_nothing_of_another_tenant(site: Site) -> None:
    """By no id that it may have guessed."""
    subscription_id = await site.start()
    customer_id = (await site.shown()).customer_id
    method_id = site.provider.add_payment_method(customer_id)
    await site.operations.customers.ensure(site.caller(GLOBEX))
    operations, count = site.operations, len(site.performed)
    (invoice_id, *_) = site.provider.invoices
    for asking, reason in (
        (operations.subscriptions.cancel_now(site.caller(GLOBEX), subscription_id), Refusal.NO_SUBSCRIPTION),
        (operations.subscriptions.set_seats(site.caller(GLOBEX), subscription_id, 3), Refusal.NO_SUBSCRIPTION),
        (operations.subscriptions.pause_collection(site.caller(GLOBEX), subscription_id), Refusal.NO_SUBSCRIPTION),
        (operations.payment_methods.set_default(site.caller(GLOBEX), method_id), Refusal.UNKNOWN_PAYMENT_METHOD),
        (operations.payment_methods.detach(site.caller(GLOBEX), method_id), Refusal.UNKNOWN_PAYMENT_METHOD),
        (operations.invoices.pay(site.caller(GLOBEX), invoice_id), Refusal.UNKNOWN_INVOICE),
        (operations.invoices.pdf(GLOBEX, invoice_id), Refusal.UNKNOWN_INVOICE),
        (operations.checkout.expire(site.caller(GLOBEX), "cs_1"), Refusal.UNKNOWN_CHECKOUT),
    ):
        assert await refused(asking) is reason
    assert len(site.performed) == count


async def test_a_tenant_without_a_customer_can_look_but_not_manage(site: Site) -> None:
    """Empty lists where there is nothing, and a reason where something is needed."""
    operations = site.operations
    assert await operations.payment_methods.list(ACME) == ()
    assert (await operations.credits.balance(ACME, "usd")).available == 0
    assert await operations.invoices.list(ACME) == []
    asking = operations.payment_methods.create_portal_session(site.caller(), return_url="https://app.example")
    assert await refused(asking) is Refusal.NO_CUSTOMER
    assert await refused(operations.customers.contact(ACME)) is Refusal.NO_CUSTOMER


async def test_two_plans_at_once_are_one_trial() -> None:
    """Also where they are of different groups, so that the tenant may have both."""
    plans = tuple(
        Plan(plan_code=code, group=code, trial_days=14, prices=(monthly_price(code),)) for code in ("left", "right")
    )
    site = Site(plans=plans)
    await site.operations.customers.ensure(site.caller())
    perform = site.provider.perform

    async def slowly(command: Command, key: str) -> Any:
        await asyncio.sleep(0.01)
        return await perform(command, key)

    site.provider.perform = slowly  # type: ignore[method-assign] # so that both are decided before one is done
    start = site.operations.subscriptions.start
    await asyncio.gather(*(start(site.caller(), NewSubscription(plan_code=plan.plan_code)) for plan in plans))
    started = [each.trial_ends_at is not None for each in site.provider.subscriptions.values()]
    assert sorted(started) == [False, True]


# --- checkout ---------------------------------------------------------------------------------------------------------


async def test_a_checkout_expires_the_one_before_it(site: Site) -> None:
    """Two open ones would make two subscriptions."""
    checkout, wanted = site.operations.checkout, NewSubscription(plan_code="pro", terms=MONTHLY)
    options = CheckoutOptions(allow_promotion_codes=True, automatic_tax=True)
    first = await checkout.create(site.caller(), wanted, BACK, options=options)
    command = site.performed[-1]
    assert isinstance(command, CreateCheckoutSession)
    assert (command.expires_at, command.trial is not None) == (AT + timedelta(hours=1), True)
    assert (command.allow_promotion_codes, command.automatic_tax) == (True, True)
    assert first.result.url is not None
    second = await checkout.create(site.caller(), wanted, BACK)
    customer_id = command.customer_id
    assert list(await site.provider.open_checkout_sessions(customer_id, ACME)) == [second.result.object_id]
    await checkout.expire(site.caller(), second.result.object_id or "")
    assert await site.provider.open_checkout_sessions(customer_id, ACME) == ()


async def test_a_start_expires_an_open_checkout(site: Site) -> None:
    """It would make a second subscription, and a second trial."""
    wanted = NewSubscription(plan_code="pro", terms=MONTHLY)
    opened = await site.operations.checkout.create(site.caller(), wanted, BACK)
    await site.operations.subscriptions.start(site.caller(), wanted)
    with pytest.raises(ValueError, match="is expired"):
        site.provider.complete_checkout(opened.result.object_id or "")
    assert len(site.provider.subscriptions) == 1


async def test_a_start_is_refused_once_the_checkout_was_completed(site: Site) -> None:
    """Between the decision and the call, and before its webhook."""
    wanted = NewSubscription(plan_code="pro", terms=MONTHLY)
    opened = await site.operations.checkout.create(site.caller(), wanted, BACK)
    perform = site.provider.perform

    async def late(command: Command, key: str) -> Any:
        site.provider.complete_checkout(opened.result.object_id or "")
        return await perform(command, key)

    site.provider.perform = late  # type: ignore[method-assign] # the customer is faster
    asking = site.operations.subscriptions.start(site.caller(), wanted)
    assert await refused(asking) is Refusal.ALREADY_SUBSCRIBED
    assert len(site.provider.subscriptions) == 1


async def test_a_checkout_that_was_completed_counts_before_its_webhook(site: Site) -> None:
    """For a start, for another checkout, and for the trial."""
    wanted = NewSubscription(plan_code="pro", terms=MONTHLY)
    opened = await site.operations.checkout.create(site.caller(), wanted, BACK)
    started = site.provider.complete_checkout(opened.result.object_id or "")
    assert await refused(site.operations.subscriptions.start(site.caller(), wanted)) is Refusal.ALREADY_SUBSCRIBED
    assert await refused(site.operations.checkout.create(site.caller(), wanted, BACK)) is Refusal.ALREADY_SUBSCRIBED
    await site.provider.perform(CancelNow(subscription_id=started.subscription_id), "bo_elsewhere")
    again = attrs.evolve(wanted, trial=True)
    assert await refused(site.operations.subscriptions.start(site.caller(), again)) is Refusal.TRIAL_USED


async def test_a_checkout_of_another_tenant_of_the_customer_stays_open(site: Site) -> None:
    """One customer pays for both: each has its own."""
    customer_id = await site.operations.customers.ensure(site.caller())
    shared = Site(TenantRules(link="subscription"))
    shared.provider = site.provider
    checkout, wanted = shared.process().operations.checkout, NewSubscription(plan_code="basic", terms=MONTHLY)
    first = await checkout.create(shared.caller(ACME), wanted, BACK, payer=customer_id)
    second = await checkout.create(shared.caller(GLOBEX), wanted, BACK, payer=customer_id)
    for tenant_id, opened in ((ACME, first), (GLOBEX, second)):
        assert list(await shared.provider.open_checkout_sessions(customer_id, tenant_id)) == [opened.result.object_id]


async def test_a_completed_checkout_is_shown_when_the_customer_comes_back(site: Site) -> None:
    """Before the webhook; another tenant cannot confirm it."""
    checkout = site.operations.checkout
    outcome = await checkout.create(site.caller(), NewSubscription(plan_code="basic"), BACK)
    session_id = outcome.result.object_id or ""
    assert await checkout.confirm(ACME, session_id, actor="ada") == ConfirmedCheckout(status="open")
    started = site.provider.complete_checkout(session_id)
    assert await refused(checkout.confirm(GLOBEX, session_id, actor="eve")) is Refusal.UNKNOWN_CHECKOUT
    assert await refused(checkout.confirm(ACME, "cs_unknown", actor="ada")) is Refusal.UNKNOWN_CHECKOUT
    for _ in range(2):
        confirmed = await checkout.confirm(ACME, session_id, actor="ada")
        assert confirmed == ConfirmedCheckout(status="complete", subscription_id=started.subscription_id)
    assert (await site.shown()).plan_code == "basic"
    assert len([each for each in await site.messages() if each.subscription is not None]) == 1


async def test_a_checkout_of_a_shared_customer_is_of_one_tenant(site: Site) -> None:
    """Another tenant that the customer pays for can neither confirm it nor see what it started."""
    customer_id = await site.operations.customers.ensure(site.caller())
    shared = Site(TenantRules(link="subscription"))
    shared.provider = site.provider
    operations = shared.process().operations
    wanted = NewSubscription(plan_code="basic", terms=MONTHLY)
    await operations.subscriptions.start(shared.caller(), wanted, payer=customer_id)
    opened = await operations.checkout.create(shared.caller(GLOBEX), wanted, BACK, payer=customer_id)
    session_id = opened.result.object_id or ""
    started = shared.provider.complete_checkout(session_id)
    asking = operations.checkout.confirm(ACME, session_id, actor="eve")
    assert await refused(asking) is Refusal.UNKNOWN_CHECKOUT
    state = await shared.container.tenant_reader().state(ACME)
    assert started.subscription_id not in [each.snapshot.subscription_id for each in state.subscriptions]


# --- payment methods, invoices, credit, contact -----------------------------------------------------------------------


async def test_payment_methods_are_added_chosen_and_removed(site: Site) -> None:
    """Only the tenant's own; the default moves also where a subscription has its own."""
    methods = site.operations.payment_methods
    intent = await methods.create_setup_intent(site.caller())
    assert intent.result.client_secret is not None
    await site.start()
    customer_id = (await site.shown()).customer_id
    second = site.provider.add_payment_method(customer_id, default=False)
    assert [each.default for each in await methods.list(ACME)] == [True, False]
    await methods.set_default(site.caller(), second)
    assert (await methods.list(ACME))[0].payment_method_id == second
    first = (await methods.list(ACME))[1].payment_method_id
    await methods.detach(site.caller(), first)
    assert [each.payment_method_id for each in await methods.list(ACME)] == [second]
    assert await refused(methods.detach(site.caller(), first)) is Refusal.UNKNOWN_PAYMENT_METHOD


async def test_the_portal_opens_at_the_wanted_place(site: Site) -> None:
    """A flow about a subscription needs one of the tenant's."""
    methods, subscription_id = site.operations.payment_methods, await site.start()
    outcome = await methods.create_portal_session(
        site.caller(), return_url="https://app.example", flow="subscription_cancel", subscription_id=subscription_id
    )
    assert outcome.result.url is not None
    asking = methods.create_portal_session(site.caller(), return_url="https://app.example", flow="subscription_update")
    assert await refused(asking) is Refusal.NO_SUBSCRIPTION


async def test_a_portal_that_is_not_set_up_is_said_to_be(site: Site) -> None:
    """An operator has to act, not the customer; the same request gets the same answer."""
    await site.operations.customers.ensure(site.caller())
    site.provider.fail(GatewayInvalidRequestError("no configuration", parameter="configuration"))
    caller = site.caller()
    for _ in range(2):
        asking = site.operations.payment_methods.create_portal_session(caller, return_url="https://app.example")
        assert await refused(asking) is Refusal.PORTAL_NOT_CONFIGURED


async def test_a_subscription_in_classic_mode_cannot_be_paused(site: Site) -> None:
    """Stripe refuses it in words about its own parameters; the same request gets the same answer."""
    subscription_id, caller = await site.start(), site.caller()
    site.provider.fail(GatewayInvalidRequestError("classic", parameter="type"))
    for _ in range(2):
        assert await refused(site.operations.subscriptions.pause(caller, subscription_id)) is Refusal.NOT_PAUSABLE


async def test_an_open_invoice_is_paid(site: Site) -> None:
    """With another card than the one that was declined; a paid one counts as done."""
    subscription_id = await site.start()
    customer_id = (await site.shown()).customer_id
    site.provider.add_payment_method(customer_id, behavior="declines")
    await site.operations.subscriptions.change(
        site.caller(), PlanChange(subscription_id=subscription_id, plan_code="pro")
    )
    invoice_id = next(id_ for id_, invoice in site.provider.invoices.items() if invoice.status == "open")
    await site.container.service().ingest_invoice_snapshot(
        site.provider.invoices[invoice_id], provisional("bo_invoice")
    )
    assert [each.snapshot.invoice_id for each in await site.operations.invoices.list(ACME)] == [invoice_id]
    assert (await site.operations.invoices.pdf(ACME, invoice_id)).endswith(".pdf")
    asking = site.operations.invoices.pay(site.caller(), invoice_id, payment_method_id="pm_other")
    assert await refused(asking) is Refusal.UNKNOWN_PAYMENT_METHOD
    method_id = site.provider.add_payment_method(customer_id, default=False)
    for _ in range(2):
        outcome = await site.operations.invoices.pay(site.caller(), invoice_id, payment_method_id=method_id)
        assert outcome.result.status == "done"
    assert site.provider.invoices[invoice_id].status == "paid"
    assert await refused(site.operations.invoices.pay(site.caller(), InvoiceId("in_x"))) is Refusal.UNKNOWN_INVOICE


def provisional(key: str) -> Any:
    """Return the basis of an answer."""
    from billing_core.state.provisional import ProvisionalBasis

    return ProvisionalBasis(tenant_id=ACME, operation_key=key, answered_at=AT)


async def test_credit_is_given_once(site: Site) -> None:
    """In one currency."""
    await site.operations.customers.ensure(site.caller())
    caller = site.caller()
    for _ in range(2):
        await site.operations.credits.give(caller, amount=500, currency="usd")
    assert (await site.operations.credits.balance(ACME, "usd")).available == 500
    assert (await site.operations.credits.balance(ACME, "eur")).available == 0
    with pytest.raises(ValueError, match="amount"):
        await site.operations.credits.give(site.caller(), amount=0, currency="usd")


async def test_the_billing_contact_is_set(site: Site) -> None:
    """With address and tax id."""
    customers = site.operations.customers
    await customers.ensure(site.caller())
    await customers.set_contact(
        site.caller(),
        email="billing@acme.example",
        address=Address(line1="Main St 1", city="Berlin", country="DE"),
        add_tax_ids=[TaxId(type="eu_vat", value="DE123456789")],
    )
    contact = await customers.contact(ACME)
    assert contact.email == "billing@acme.example"
    assert contact.address is not None
    assert contact.address["city"] == "Berlin"
    assert [each.value for each in contact.tax_ids] == ["DE123456789"]


# --- plans ------------------------------------------------------------------------------------------------------------


async def test_plans_are_listed_with_amounts_from_wherever_they_are_known(site: Site) -> None:
    """From the file, else from the provider's own record of the price."""
    record = TenantRecord(
        tenant_id=None,
        snapshot=PriceSnapshot(
            price_id=PriceId("price_x"), lookup_key="unpriced_monthly", currency="usd", unit_amount=1200
        ),
        provenance=provenance(),
    )
    await save(site.container.unit_of_work(), Changes(records=[record]))
    plans = {plan.plan_code: plan for plan in await site.operations.plans.list()}
    assert list(plans) == [plan.plan_code for plan in PLANS]
    assert [(price.amount, price.interval) for price in plans["pro"].prices if price.role == "base"] == [
        (5000, "month"),
        (48000, "year"),
        (13500, "month"),
    ]
    (unpriced,) = plans["unpriced"].prices
    assert (unpriced.amount, unpriced.currency) == (1200, "usd")
    assert (plans["team"].seats, plans["pro"].trial_days, plans["support"].addon) == (PLANS[2].seats, 14, True)
    assert not hasattr(unpriced, "price_id")


def test_there_are_no_operations_without_a_provider(tmp_path: Path) -> None:
    """A process without a key can show state, and ask for nothing."""
    settings = Settings()
    assert Container(settings=settings, **memory_adapters(settings)).operations() is None


async def test_a_change_and_a_start_of_one_group_come_one_after_the_other(site: Site) -> None:
    """The second one sees the first, and is refused."""
    site.provider.add_payment_method(await site.operations.customers.ensure(site.caller()))
    addon = await site.operations.subscriptions.start(
        site.caller(), NewSubscription(plan_code="support"), payment="on_file"
    )
    wanted = PlanChange(
        subscription_id=SubscriptionId(addon.result.object_id or ""), plan_code="pro", terms=MONTHLY, when="now"
    )
    perform = site.provider.perform

    async def slow(command: Command, key: str) -> Any:
        await asyncio.sleep(0.01)
        return await perform(command, key)

    site.provider.perform = slow  # type: ignore[method-assign] # both decide before one is shown
    change = site.operations.subscriptions.change(site.caller(), wanted)
    start = site.operations.subscriptions.start(site.caller(), NewSubscription(plan_code="basic"), payment="on_file")
    ends = await asyncio.gather(change, start, return_exceptions=True)
    assert sum(isinstance(end, OperationOutcome) for end in ends) == 1
