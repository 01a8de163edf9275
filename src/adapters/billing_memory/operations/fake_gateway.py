"""A gateway to a payment provider in process, for tests of applications and our own.

gateway = FakeGateway()
gateway.add_price("price_pro", unit_amount=4900)
...
gateway.add_payment_method(customer_id, behavior="declines")
gateway.fail(GatewayUnavailableError("cut off", outcome_unknown=True), carried_out=True)
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import attrs

from billing_core.errors import GatewayCardDeclinedError, GatewayError
from billing_core.model import CustomerId, InvoiceId, InvoiceSnapshot, SubscriptionId, SubscriptionSnapshot, TenantId
from billing_core.operations.commands import Command, PriceChoice, StartSubscription
from billing_core.operations.results import (
    BillingContact,
    Checkout,
    CommandPreview,
    CreditBalance,
    CustomerPaymentMethod,
    InvoicePreview,
    Performed,
    PromotionCode,
)
from billing_core.state.ports import Clock
from billing_memory.clock import SystemClock
from billing_memory.operations.provider import customers, previews, subscriptions
from billing_memory.operations.provider.objects import Behavior, FakePaymentMethod, FakePrice
from billing_memory.operations.provider.state import ProviderState

_HANDLERS: Final = {**subscriptions.HANDLERS, **customers.HANDLERS}


@attrs.frozen
class _Failure:
    error: GatewayError
    carried_out: bool


class FakeGateway:
    """An `OperationGateway`, `PreviewGateway` and `BillingReader` with a state of its own.

    Prices that were not added cost nothing. Without a payment method nothing is started that costs, and what is charged
    is declined. Months have 30 days. Taxes, discounts and balances do not change amounts, and time changes nothing by
    itself: use the fake Stripe for that.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._state = ProviderState(clock or SystemClock())
        self._performed: dict[str, tuple[Command, Performed]] = {}
        self._declined: dict[str, GatewayCardDeclinedError] = {}
        self._failures: list[_Failure] = []
        self.keys: list[str] = []
        """The keys of all commands that were to be performed, repeated ones too."""

    # --- what tests do to it -------------------------------------------------------------------------------------

    def add_price(
        self,
        name: str,
        *,
        unit_amount: int = 0,
        currency: str = "usd",
        interval: str = "month",
        metered: bool = False,
    ) -> FakePrice:
        """Add a price, by its id or its lookup key."""
        price_id = name if name.startswith("price_") else f"price_{name}"
        price = FakePrice(
            price_id=price_id, unit_amount=unit_amount, currency=currency, interval=interval, metered=metered
        )
        self._state.prices[name] = price
        return price

    def refuse_price(self, name: str) -> None:
        """Let the provider not know a price, named by its id or its lookup key."""
        self._state.unknown_prices.add(name)

    def add_payment_method(
        self,
        customer_id: CustomerId,
        *,
        behavior: Behavior = "pays",
        default: bool = True,
        subscription_id: SubscriptionId | None = None,
    ) -> str:
        """Attach a payment method to a customer and return its id.

        Args:
            customer_id: the customer.
            behavior: what happens when it is charged.
            default: whether it becomes the customer's default.
            subscription_id: a subscription whose own default it becomes.
        """
        customer = self._state.customer(customer_id)
        name = self._state.new_id("pm")
        self._state.payment_methods[name] = FakePaymentMethod(
            payment_method_id=name, customer_id=customer_id, behavior=behavior
        )
        if default:
            self._state.customers[customer_id] = attrs.evolve(customer, default_payment_method=name)
        if subscription_id is not None:
            self._state.put(attrs.evolve(self._state.live(subscription_id), payment_method_id=name))
        return name

    def add_promotion_code(self, code: PromotionCode) -> None:
        """Add a promotion code."""
        self._state.promotion_codes[code.code] = code

    def fail(self, error: GatewayError, *, carried_out: bool = False) -> None:
        """Let the next command fail; failures queue up.

        Args:
            error: it is raised. Where the command is carried out, it has to have `outcome_unknown`.
            carried_out: whether the command is carried out all the same, and only its answer is lost.
        """
        if carried_out and not error.outcome_unknown:
            raise ValueError("an error without outcome_unknown says that nothing was carried out")
        self._failures.append(_Failure(error, carried_out))

    def complete_checkout(self, session_id: str) -> SubscriptionSnapshot:
        """Complete an open checkout session as the customer would: with a card that pays."""
        session = self._state.checkout(session_id)
        if session.status != "open":
            raise ValueError(f"{session_id} is {session.status}")
        self.add_payment_method(session.customer_id)
        command = StartSubscription(
            tenant_id=session.tenant_id,
            customer_id=session.customer_id,
            items=session.items,
            payment="on_file",
            trial=session.trial,
        )
        outcome = subscriptions.start(self._state, command)
        started = SubscriptionId(str(outcome.result.object_id))
        self._state.checkouts[session_id] = attrs.evolve(session, status="complete", subscription_id=started)
        return self.subscriptions[started]

    def confirm(self, invoice_id: InvoiceId) -> InvoiceSnapshot:
        """Pay an open invoice as the customer does in the browser."""
        return self._state.paid(self._state.invoice(invoice_id))

    def now(self) -> datetime:
        """Return the provider's time, in whole seconds."""
        return self._state.now()

    @property
    def subscriptions(self) -> dict[SubscriptionId, SubscriptionSnapshot]:
        """All subscriptions, the oldest first."""
        return dict(self._state.subscriptions)

    @property
    def invoices(self) -> dict[InvoiceId, InvoiceSnapshot]:
        """All invoices, the oldest first."""
        return dict(self._state.invoices)

    # --- OperationGateway ----------------------------------------------------------------------------------------

    async def perform(self, command: Command, key: str) -> Performed:
        """See OperationGateway. Keys are kept for good, also those of declined payments.

        Raises: ValueError if a key is used for another command.
        """
        self.keys.append(key)
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None and not failure.carried_out:
            raise failure.error
        performed = self._once(command, key)
        if failure is not None:
            raise failure.error
        return performed

    async def find_out(self, command: Command, key: str) -> Performed | None:
        """See OperationGateway."""
        known = self._performed.get(key)
        if known is None:
            return None
        return attrs.evolve(self._as_it_is_now(known[1]), result=known[1].result.without_secrets())

    def _once(self, command: Command, key: str) -> Performed:
        known = self._performed.get(key)
        if known is not None:
            if known[0] != command:
                raise ValueError(f"{key} belongs to another command")
            return self._as_it_is_now(known[1])
        if key in self._declined:
            raise self._declined[key]
        try:
            with self._state.all_or_nothing():
                performed = _HANDLERS[type(command)](self._state, command)
        except GatewayCardDeclinedError as error:
            self._declined[key] = error
            raise
        self._performed[key] = (command, performed)
        return performed

    def _as_it_is_now(self, performed: Performed) -> Performed:
        """Return an outcome with its subscription or invoice as it is now."""
        match performed.snapshot:
            case SubscriptionSnapshot(subscription_id=subscription_id):
                snapshot = self._state.subscriptions[subscription_id]
                return attrs.evolve(performed, snapshot=snapshot, answered_at=self._state.now())
            case InvoiceSnapshot(invoice_id=invoice_id):
                return attrs.evolve(performed, snapshot=self._state.invoices[invoice_id], answered_at=self._state.now())
            case _:
                return performed

    # --- PreviewGateway ------------------------------------------------------------------------------------------

    async def preview(self, command: Command) -> CommandPreview:
        """See PreviewGateway. Amounts are those of whole prices, and of parts of periods by the second."""
        return previews.preview(self._state, command)

    async def upcoming(self, subscription_id: SubscriptionId, prices: Sequence[PriceChoice]) -> InvoicePreview | None:
        """See PreviewGateway."""
        return previews.upcoming(self._state, subscription_id, prices)

    # --- BillingReader -------------------------------------------------------------------------------------------

    async def payment_methods(self, customer_id: CustomerId) -> Sequence[CustomerPaymentMethod]:
        """See BillingReader."""
        customer = self._state.customers.get(customer_id)
        if customer is None:
            return ()
        methods = [
            CustomerPaymentMethod(
                payment_method_id=method.payment_method_id,
                type="card",
                brand="visa",
                last4="4242",
                exp_month=12,
                exp_year=2034,
                default=method.payment_method_id == customer.default_payment_method,
            )
            for method in self._state.payment_methods.values()
            if method.customer_id == customer_id
        ]
        return tuple(sorted(methods, key=lambda method: not method.default))

    async def billing_contact(self, customer_id: CustomerId) -> BillingContact | None:
        """See BillingReader."""
        customer = self._state.customers.get(customer_id)
        if customer is None:
            return None
        return BillingContact(
            email=customer.snapshot.email,
            name=customer.snapshot.name,
            phone=customer.phone,
            address=customer.address,
            tax_ids=customer.tax_ids,
        )

    async def credit_balance(self, customer_id: CustomerId, currency: str) -> CreditBalance:
        """See BillingReader."""
        customer = self._state.customers.get(customer_id)
        given = () if customer is None else customer.grants
        grants = tuple(grant for grant in given if grant.currency == currency)
        now = self._state.now()
        usable = [grant for grant in grants if grant.expires_at is None or grant.expires_at > now]
        return CreditBalance(available=sum(grant.amount for grant in usable), currency=currency, grants=grants)

    async def promotion_code(self, code: str, customer_id: CustomerId | None) -> PromotionCode | None:
        """See BillingReader."""
        known = {name.lower(): found for name, found in self._state.promotion_codes.items()}
        return known.get(code.lower())

    async def open_checkout_sessions(self, customer_id: CustomerId, tenant_id: TenantId) -> Sequence[str]:
        """See BillingReader."""
        sessions = self._state.checkouts.values()
        own = [each for each in sessions if (each.customer_id, each.tenant_id) == (customer_id, tenant_id)]
        return tuple(each.session_id for each in own if each.status == "open")

    async def subscriptions_of(self, customer_id: CustomerId, tenant_id: TenantId) -> Sequence[SubscriptionSnapshot]:
        """See BillingReader."""
        found = [each for each in self._state.subscriptions.values() if each.customer_id == customer_id]
        return tuple(each for each in found if self._state.tenants.get(each.subscription_id, tenant_id) == tenant_id)

    async def checkout(self, session_id: str) -> Checkout | None:
        """See BillingReader."""
        session = self._state.checkouts.get(session_id)
        if session is None:
            return None
        started = session.subscription_id
        return Checkout(
            session_id=session_id,
            status=session.status,
            tenant_id=session.tenant_id,
            customer_id=session.customer_id,
            subscription=None if started is None else self._state.subscriptions[started],
            answered_at=self._state.now(),
        )

    async def invoice_pdf(self, invoice_id: InvoiceId) -> str | None:
        """See BillingReader."""
        invoice = self._state.invoices.get(invoice_id)
        if invoice is None or invoice.status == "draft":
            return None
        return f"https://provider.example/invoices/{invoice_id}.pdf"
