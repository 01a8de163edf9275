"""The stages of the suites about commands: the provider in memory, and Stripe's gateway on a fake Stripe."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import attrs
from aiohttp import web

from billing_core.errors import GatewayUnavailableError
from billing_core.model import CustomerId, InvoiceId, PriceId, SubscriptionId, SubscriptionSnapshot
from billing_core.operations.call_limits import CallLimits
from billing_core.operations.commands import Command, PriceChoice
from billing_core.operations.results import Performed
from billing_core.testing.operations.provider_stage import Behavior
from billing_memory.operations.fake_gateway import FakeGateway
from billing_stripe.client import Backoff, CallPolicy, StripeClient, StripeRequest, open_client
from billing_stripe.client.breaker import CircuitPolicy
from billing_stripe.client.local_limiter import LocalCallLimiter
from billing_stripe.gateway import StripeGateway
from billing_stripe.operations.answers import rows_in, subscription_in
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import Clock, FakeStripe, fake_stripe, faults
from billing_stripe.testing.fake_stripe.billing.attachment import attach_to

_NO_WAIT: Final = Backoff(timedelta(0), timedelta(0))
ONE_ATTEMPT: Final = CallPolicy(attempts=1, backoff=_NO_WAIT, lock_backoff=_NO_WAIT, load_backoff=_NO_WAIT)
IMPATIENT: Final = attrs.evolve(ONE_ATTEMPT, attempt_timeout=timedelta(milliseconds=150))
CARDS: Final = {
    "pays": "pm_card_visa",
    "declines": "pm_card_chargeCustomerFail",
    "asks": "pm_card_authenticationRequired",
}


class MemoryStage:
    """Arranges the provider in memory."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway

    def price(self, name: str, *, amount: int, metered: bool = False) -> PriceChoice:
        self._gateway.add_price(name, unit_amount=amount, metered=metered)
        return PriceChoice(plan_code=name, role="metered" if metered else "base", lookup_key=name)

    def unknown_price(self) -> PriceChoice:
        self._gateway.refuse_price("unknown")
        return PriceChoice(lookup_key="unknown")

    async def card(self, customer_id: CustomerId, behavior: Behavior = "pays") -> str:
        return self._gateway.add_payment_method(customer_id, behavior=behavior)

    async def own_card(self, subscription_id: SubscriptionId) -> str:
        customer_id = self._gateway.subscriptions[subscription_id].customer_id
        return self._gateway.add_payment_method(customer_id, default=False, subscription_id=subscription_id)

    async def open_invoice(self, customer_id: CustomerId) -> InvoiceId:
        own = [each for each in self._gateway.invoices.values() if each.customer_id == customer_id]
        return [each.invoice_id for each in own if each.status == "open"][-1]

    async def subscriptions(self, customer_id: CustomerId) -> Sequence[SubscriptionSnapshot]:
        return [each for each in self._gateway.subscriptions.values() if each.customer_id == customer_id]

    def lose_answer(self, *, call: int = 1) -> None:
        self._gateway.fail(GatewayUnavailableError("cut off", outcome_unknown=True), carried_out=True)

    def be_unavailable(self) -> None:
        self._gateway.fail(GatewayUnavailableError("no connection"))


MADE: Final[tuple[type[Any], ...]] = (
    objects.Customer,
    objects.Subscription,
    objects.SubscriptionSchedule,
    objects.Invoice,
    objects.InvoiceItem,
    objects.PaymentMethod,
    objects.SetupIntent,
    objects.TaxId,
)
"""The kinds of objects that commands make or change."""


@attrs.define
class OnStep:
    """A fault that strikes once, in the call of a command with this number."""

    step: int
    fault: faults.Fault
    struck: bool = False

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse | None:
        if self.struck or not request.headers.get("Idempotency-Key", "").endswith(f".{self.step}"):
            return None
        self.struck = True
        return await self.fault.strike(request, closing)


ALWAYS: Final = 1_000_000


class SaltedGateway(StripeGateway):
    """A gateway whose keys differ from one case to the next, so that cases can share a fake Stripe."""

    salt = ""

    async def perform(self, command: Command, key: str) -> Performed:
        return await super().perform(command, key + self.salt)

    async def find_out(self, command: Command, key: str) -> Performed | None:
        return await super().find_out(command, key + self.salt)


class StripeStage:
    """Arranges a fake Stripe."""

    def __init__(self, fake: FakeStripe, client: StripeClient, impatient: StripeClient) -> None:
        self.fake = fake
        self.gateway = SaltedGateway(client)
        self.plain = StripeGateway(client)
        self.impatient = StripeGateway(impatient)
        """A gateway that waits for answers for a moment only."""
        self._client = client
        self._cases = 0
        fake.put(objects.Product(product_id="prod_app", name="App"))

    def price(self, name: str, *, amount: int, metered: bool = False) -> PriceChoice:
        price = objects.Price(
            price_id=f"price_{name}", product_id="prod_app", unit_amount=amount, lookup_key=name, metered=metered
        )
        self.fake.put(price)
        return PriceChoice(plan_code=name, role="metered" if metered else "base", lookup_key=name)

    def unknown_price(self) -> PriceChoice:
        return PriceChoice(price_id=PriceId("price_unknown"))

    @property
    def salt(self) -> str:
        return self.gateway.salt

    def next_case(self) -> frozenset[str]:
        """Let the keys of the next case differ, drop all faults, and return the ids of the objects so far."""
        self._cases += 1
        self.gateway.salt = f"case{self._cases}"
        self.fake.clear_faults()
        account = self.fake.account
        return frozenset(str(account.kind_of(kind).key(each)) for kind in MADE for each in account.all(kind))

    async def card(self, customer_id: CustomerId, behavior: Behavior = "pays") -> str:
        account = self.fake.account
        with account.transaction():
            method = attach_to(account, CARDS[behavior], customer_id)
            customer = account.get(objects.Customer, customer_id)
            account.update(attrs.evolve(customer, default_payment_method_id=method.payment_method_id))
        return method.payment_method_id

    async def own_card(self, subscription_id: SubscriptionId) -> str:
        account = self.fake.account
        with account.transaction():
            subscription = account.get(objects.Subscription, subscription_id)
            method = attach_to(account, CARDS["pays"], subscription.customer_id)
            account.update(attrs.evolve(subscription, default_payment_method_id=method.payment_method_id))
        return method.payment_method_id

    async def open_invoice(self, customer_id: CustomerId) -> InvoiceId:
        own = [each for each in self.fake.account.all(objects.Invoice) if each.customer_id == customer_id]
        return InvoiceId(next(str(each.invoice_id) for each in own if each.status == "open"))

    async def subscriptions(self, customer_id: CustomerId) -> Sequence[SubscriptionSnapshot]:
        params = {"customer": customer_id, "status": "all", "limit": 100, "expand": ["data.schedule"]}
        listed = (await self._client.call(StripeRequest(operation="list_subscriptions", params=params))).data
        snapshots = [subscription_in(row) for row in reversed(rows_in(listed))]
        return [snapshot for snapshot in snapshots if snapshot is not None]

    def lose_answer(self, *, call: int = 1) -> None:
        self.fail(faults.Reset(), at="answering", step=call)

    def be_unavailable(self) -> None:
        self.fail(faults.rate_limited(), at="before", step=1)

    def fail(self, fault: faults.Fault, *, at: faults.Point, step: int) -> OnStep:
        """Inject a fault into one call of the next command that has so many."""
        on_step = OnStep(step, fault)
        self.fake.fail("*", on_step, times=ALWAYS, at=at)
        return on_step


@asynccontextmanager
async def stripe_stage(clock: Clock | None = None) -> AsyncIterator[StripeStage]:
    """Run a fake Stripe, with clients that make one attempt and keep no limits, so that every fault is seen."""
    async with (
        fake_stripe(seed="contract", clock=clock) as fake,
        _open_client(fake, ONE_ATTEMPT) as client,
        _open_client(fake, IMPATIENT) as impatient,
    ):
        yield StripeStage(fake, client, impatient)


@asynccontextmanager
async def _open_client(fake: FakeStripe, policy: CallPolicy) -> AsyncIterator[StripeClient]:
    unlimited = LocalCallLimiter(CallLimits(rate=1e9, endpoint_rate=1e9, in_flight=1_000_000))
    async with open_client(
        secret_key=fake.secret_key,
        api_version="2026-10-28.endive",
        base_url=fake.url,
        policy=policy,
        limiter=unlimited,
        circuit=CircuitPolicy(failures=1_000_000),
    ) as client:
        yield client
