"""From a call to Stripe and back by webhook: each operation is one message about the subscription, shown at once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from tests.integration.test_operation_kills import stock

from billing_app.container import Container, memory_adapters
from billing_app.secret import Secret
from billing_app.settings import CatalogSettings, Settings, StripeSettings, Switches
from billing_core.model import Plan, PlanPrice, PriceId, SeatBounds, SubscriptionId, SubscriptionSnapshot
from billing_core.operations.call_limits import UNLIMITED
from billing_core.operations.decisions.changing import PlanChange
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.facade import Operations
from billing_core.operations.requests import Caller
from billing_core.payloads import BillingEventPayload, loads
from billing_core.testing.builders import ACME
from billing_memory.gateway import MemoryGateway
from billing_stripe.client import open_client
from billing_stripe.client.local_limiter import LocalCallLimiter
from billing_stripe.gateway import StripeGateway
from billing_stripe.testing import encode, sign
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe

SECRET: Final = "whsec_echoes"


def plan(plan_code: str, amount: int, **fields: Any) -> Plan:
    """Return a plan with one monthly price."""
    price = PlanPrice(price_id=PriceId(f"price_{plan_code}"), interval="month", amount=amount, currency="usd")
    return Plan(plan_code=plan_code, group="main", prices=(price,), **fields)


PLANS: Final = (
    plan("basic", 900),
    plan("pro", 4900),
    plan("team", 1200, seats=SeatBounds(), trial_days=14),
)


class Site:
    """A process in memory that asks a fake Stripe, and gets its events when the test says so."""

    def __init__(self, fake: FakeStripe, gateway: StripeGateway) -> None:
        settings = Settings(
            switches=Switches(billing=True, retry_worker=False),
            stripe=StripeSettings(webhook_secrets=(Secret(SECRET),)),
            catalog=CatalogSettings(plans=PLANS),
        )
        self.fake = fake
        self.container = Container(
            **memory_adapters(settings),
            settings=settings,
            gateway=MemoryGateway(),
            operation_gateway=gateway,
            preview_gateway=gateway,
            billing_reader=gateway,
        )
        self._delivered = 0
        self._requests = 0

    @property
    def operations(self) -> Operations:
        """The facade."""
        operations = self.container.operations()
        assert isinstance(operations, Operations)
        return operations

    @property
    def caller(self) -> Caller:
        """A new decision."""
        self._requests += 1
        return Caller(tenant_id=ACME, request_id=f"r{self._requests}", actor="test")

    async def deliver(self, *, order: random.Random | None = None) -> int:
        """Deliver the events that were not delivered yet, in any order and twice; return how many there were."""
        entries = self.fake.account.journal.entries[self._delivered :]
        self._delivered += len(entries)
        bodies = [encode(entry.render("2026-10-28.endive")) for entry in entries]
        if order is not None:
            bodies = [*bodies, *bodies]
            order.shuffle(bodies)
        intake = self.container.intake()
        for body in bodies:
            await intake.receive(body, sign(body, SECRET, datetime.now(UTC)))
            await self.work()
        return len(entries)

    async def work(self) -> None:
        """Process everything that is due."""
        while claims := await self.container.queue().claim(limit=100, lease=timedelta(minutes=1)):
            await self.container.batches().process(claims)

    async def shown(self) -> SubscriptionSnapshot:
        """Return the subscription that the tenant sees."""
        (held,) = (await self.container.tenant_reader().state(ACME)).subscriptions
        return held.snapshot

    async def messages(self) -> list[BillingEventPayload]:
        """Return the messages about subscriptions."""
        history = await self.container.history().events(ACME, after=0, limit=1000)
        found = [loads(message.payload) for message in history]
        return [message for message in found if message.event_type.startswith("subscription.")]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with (
        fake_stripe() as fake,
        open_client(
            secret_key=fake.secret_key,
            api_version="2026-10-28.endive",
            base_url=fake.url,
            limiter=LocalCallLimiter(UNLIMITED),
        ) as client,
    ):
        stock(fake)
        yield Site(fake, StripeGateway(client))


Ask = Callable[[Site, SubscriptionId], Awaitable[object]]
OPERATIONS: Final[Mapping[str, tuple[Ask, str]]] = {
    "seats": (lambda s, id_: s.operations.subscriptions.set_seats(s.caller, id_, 9), "subscription.seats_changed"),
    "change": (
        lambda s, id_: s.operations.subscriptions.change(
            s.caller, PlanChange(subscription_id=id_, plan_code="pro", when="now")
        ),
        "subscription.plan_changed",
    ),
    "downgrade": (
        lambda s, id_: s.operations.subscriptions.change(
            s.caller, PlanChange(subscription_id=id_, plan_code="basic", when="period_end")
        ),
        "subscription.plan_change_scheduled",
    ),
    "cancel later": (
        lambda s, id_: s.operations.subscriptions.cancel_at_period_end(s.caller, id_),
        "subscription.cancellation_scheduled",
    ),
    "pause collection": (
        lambda s, id_: s.operations.subscriptions.pause_collection(s.caller, id_),
        "subscription.paused",
    ),
    "cancel now": (
        lambda s, id_: s.operations.subscriptions.cancel_now(s.caller, id_),
        "subscription.canceled",
    ),
}


async def start(site: Site) -> SubscriptionId:
    """Start a subscription with a trial."""
    outcome = await site.operations.subscriptions.start(site.caller, NewSubscription(plan_code="team", seats=5))
    return SubscriptionId(outcome.result.object_id or "")


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_is_one_message_and_its_event_none(site: Site, operation: str, seed: int | None) -> None:
    """The answer is shown before any webhook; its events confirm it silently, in any order, also twice."""
    order = None if seed is None else random.Random(seed)
    subscription_id = await start(site)
    assert [message.event_type for message in await site.messages()] == ["subscription.created"]
    await site.deliver(order=order)
    assert len(await site.messages()) == 1
    ask, event_type = OPERATIONS[operation]
    await ask(site, subscription_id)
    shown = await site.shown()
    announced = await site.messages()
    assert [(each.event_type, each.source.kind) for each in announced[1:]] == [(event_type, "operation")]
    assert await site.deliver(order=order) > 0
    assert await site.messages() == announced
    assert await site.shown() == shown
