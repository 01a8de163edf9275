"""The stages of the suites about commands: the provider in memory, and Stripe's gateway on a fake Stripe."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from aiohttp import web

from billing_core.errors import GatewayUnavailableError
from billing_core.model import CustomerId, InvoiceId, PriceId, SubscriptionId, SubscriptionSnapshot
from billing_core.operations.call_limits import UNLIMITED
from billing_core.operations.commands import Command, PriceChoice
from billing_core.operations.results import Performed, PromotionCode
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
from billing_stripe.testing.fake_stripe.billing.checkouts import complete

_NO_WAIT: Final = Backoff(timedelta(0), timedelta(0))
ONE_ATTEMPT: Final = CallPolicy(attempts=1, backoff=_NO_WAIT, lock_backoff=_NO_WAIT, load_backoff=_NO_WAIT)
TWO_ATTEMPTS: Final = attrs.evolve(ONE_ATTEMPT, attempts=2)
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

    def now(self) -> datetime:
        return self._gateway.now()

    async def complete_checkout(self, session_id: str) -> None:
        self._gateway.complete_checkout(session_id)

    def set_up_portal(self) -> None:
        """The portal in memory needs no configuration."""

    async def last_total(self, customer_id: CustomerId) -> int:
        return [each.total for each in self._gateway.invoices.values() if each.customer_id == customer_id][-1]

    def promotion_code(self, code: str, *, percent_off: int, active: bool = True) -> str:
        found = PromotionCode(
            promotion_code_id=f"promo_{code}",
            code=code,
            percent_off=percent_off,
            duration="once",
            usable=active,
        )
        self._gateway.add_promotion_code(found)
        return found.promotion_code_id

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
    objects.CheckoutSession,
    objects.CreditGrant,
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

    def __init__(
        self, fake: FakeStripe, client: StripeClient, impatient: StripeClient, persistent: StripeClient
    ) -> None:
        self.fake = fake
        self.gateway = SaltedGateway(client)
        self.plain = StripeGateway(client)
        self.impatient = StripeGateway(impatient)
        """A gateway that waits for answers for a moment only."""
        self.persistent = StripeGateway(persistent)
        """A gateway that makes every call twice if need be, as in production."""
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

    def now(self) -> datetime:
        return self.fake.account.now

    async def complete_checkout(self, session_id: str) -> None:
        account = self.fake.account
        with account.transaction():
            complete(account, account.get(objects.CheckoutSession, session_id), CARDS["pays"])

    def set_up_portal(self) -> None:
        made_at = self.fake.account.now
        self.fake.put(objects.PortalConfiguration(configuration_id="bpc_1", created_at=made_at, is_default=True))

    async def last_total(self, customer_id: CustomerId) -> int:
        own = (each for each in self.fake.account.all(objects.Invoice) if each.customer_id == customer_id)
        return next(own).total

    def promotion_code(self, code: str, *, percent_off: int, active: bool = True) -> str:
        made_at = self.fake.account.now
        coupon = objects.Coupon(coupon_id=f"coupon_{code}", percent_off=percent_off, created_at=made_at)
        found = objects.PromotionCode(
            promotion_code_id=f"promo_{code}", code=code, coupon=coupon, active=active, created_at=made_at
        )
        self.fake.put(coupon, found)
        return found.promotion_code_id

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
        _open_client(fake, TWO_ATTEMPTS) as persistent,
    ):
        yield StripeStage(fake, client, impatient, persistent)


@asynccontextmanager
async def _open_client(fake: FakeStripe, policy: CallPolicy) -> AsyncIterator[StripeClient]:
    unlimited = LocalCallLimiter(UNLIMITED)
    async with open_client(
        secret_key=fake.secret_key,
        api_version="2026-10-28.endive",
        base_url=fake.url,
        policy=policy,
        limiter=unlimited,
        circuit=CircuitPolicy(failures=1_000_000),
    ) as client:
        yield client
