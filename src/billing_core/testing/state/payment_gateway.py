"""The contract of PaymentGateway."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import attrs

from billing_core.errors import (
    GatewayAuthenticationError,
    GatewayError,
    GatewayInvalidRequestError,
    GatewayPermissionError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)
from billing_core.events import Translation
from billing_core.model import (
    CustomerId,
    CustomerSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    InvoiceLine,
    InvoiceSnapshot,
    ItemId,
    ItemSnapshot,
    LineId,
    Period,
    PriceId,
    Snapshot,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
)
from billing_core.state.ports import PaymentGateway
from billing_core.testing.suite import Suite

ACME = TenantId("acme")
_NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
_MONTH = Period(start=_NOW, end=_NOW + timedelta(days=31))

CUSTOMER = CustomerSnapshot(
    customer_id=CustomerId("cus_1"),
    email="team@example.com",
    name="Acme",
    delinquent=True,
    payment_method_id="pm_1",
)

UNKNOWN = ("none_1", "", ".", "..", "../invoices/in_1", "in_1/lines", "cus_1?a=b", "cus_1#a", "ü 1", "%2e")
"""Ids that the provider does not know, or would never assign."""

SUBSCRIPTION = SubscriptionSnapshot(
    subscription_id=SubscriptionId("sub_1"),
    customer_id=CUSTOMER.customer_id,
    status="active",
    currency="eur",
    collection_method="charge_automatically",
    cancel_at_period_end=True,
    canceled_at=_NOW,
    cancellation_reason="cancellation_requested",
    payment_method_id="pm_1",
    items=tuple(
        ItemSnapshot(
            item_id=ItemId(f"si_{number:03}"),
            price_id=PriceId(f"price_{number:03}"),
            product_id="prod_app",
            usage_type="licensed",
            quantity=number,
            interval="month",
            interval_count=1,
            unit_amount=1900,
            period=_MONTH,
        )
        for number in range(1, 18)
    ),
)


def invoice(invoice_id: str, *, lines: int) -> InvoiceSnapshot:
    """Return an open invoice; each of its lines bills one cent more than the one before."""
    total = lines * (lines + 1) // 2
    return InvoiceSnapshot(
        invoice_id=InvoiceId(invoice_id),
        customer_id=CUSTOMER.customer_id,
        status="open",
        currency="eur",
        subscription_id=SUBSCRIPTION.subscription_id,
        number="ACME-0001",
        amount_due=total,
        amount_remaining=total,
        subtotal=total,
        total=total,
        billing_reason="subscription_cycle",
        collection_method="charge_automatically",
        created_at=_NOW,
        period=_MONTH,
        attempt_count=1,
        lines=tuple(
            InvoiceLine(
                line_id=LineId(f"il_{number:04}"),
                amount=number,
                quantity=1,
                price_id=PriceId(f"price_{number:04}"),
                product_id="prod_app",
                subscription_item_id=ItemId(f"si_{number:04}"),
                description=f"Line {number}",
                period=_MONTH,
            )
            for number in range(1, lines + 1)
        ),
    )


class ProviderStage(Protocol):
    """The provider behind a gateway, as far as the suites arrange it. Each test gets one that holds nothing."""

    def hold(self, snapshot: Snapshot, *, tenant_id: TenantId | None = None) -> None:
        """Store an object as shown, whose metadata names the tenant, or replace it."""
        ...

    def forget(self, snapshot: Snapshot) -> None:
        """Remove an object without a trace."""
        ...

    def fail(self, error: type[GatewayError]) -> None:
        """Let the next call end in this error, and only that one."""
        ...


class PaymentGatewayContract(Suite):
    """Current objects, whole; None for what does not exist; errors that say whether a retry helps.

    A binding provides `stage`, and `gateway`, which reads what the stage holds.
    """

    async def test_a_subscription_is_fetched_with_all_its_items(
        self, stage: ProviderStage, gateway: PaymentGateway
    ) -> None:
        """Even when the provider shows only the first of them."""
        stage.hold(SUBSCRIPTION, tenant_id=ACME)
        fetched = await gateway.fetch_subscription(SUBSCRIPTION.subscription_id)
        assert _undated(fetched) == Translation(
            customer_id=CUSTOMER.customer_id, tenant_hint=ACME, snapshots=(SUBSCRIPTION,)
        )

    async def test_an_ended_subscription_is_still_there(self, stage: ProviderStage, gateway: PaymentGateway) -> None:
        """The end is a status, not an absence."""
        ended = attrs.evolve(SUBSCRIPTION, status="canceled", ended_at=_NOW, items=SUBSCRIPTION.items[:1])
        stage.hold(ended)
        fetched = await gateway.fetch_subscription(ended.subscription_id)
        assert _undated(fetched) == Translation(customer_id=ended.customer_id, snapshots=(ended,))

    async def test_an_invoice_is_fetched_with_all_its_lines(
        self, stage: ProviderStage, gateway: PaymentGateway
    ) -> None:
        """Whether they fit into the provider's first page, fill it exactly, or take several more."""
        for lines in (0, 1, 10, 11, 110, 111, 250):
            whole = invoice(f"in_{lines}", lines=lines)
            stage.hold(whole, tenant_id=ACME)
            fetched = await gateway.fetch_invoice(whole.invoice_id)
            assert fetched is not None
            assert fetched.snapshots == (whole,)
            assert fetched.missing == ()

    async def test_an_object_is_fetched_as_it_is_now(self, stage: ProviderStage, gateway: PaymentGateway) -> None:
        """Nothing is remembered between two calls."""
        draft = attrs.evolve(invoice("in_1", lines=2), status="draft")
        for status in ("draft", "open", "uncollectible"):
            current = attrs.evolve(draft, status=status)
            stage.hold(current, tenant_id=ACME)
            fetched = await gateway.fetch_invoice(current.invoice_id)
            assert _undated(fetched) == Translation(
                customer_id=CUSTOMER.customer_id, tenant_hint=ACME, snapshots=(current,)
            )

    async def test_a_customer_is_fetched_with_the_tenant_it_names(
        self, stage: ProviderStage, gateway: PaymentGateway
    ) -> None:
        """Metadata is a hint, and passed on as one."""
        stage.hold(CUSTOMER, tenant_id=ACME)
        fetched = await gateway.fetch_customer(CUSTOMER.customer_id)
        assert fetched == Translation(customer_id=CUSTOMER.customer_id, tenant_hint=ACME, snapshots=(CUSTOMER,))

    async def test_a_deleted_customer_is_known_to_be_deleted(
        self, stage: ProviderStage, gateway: PaymentGateway
    ) -> None:
        """That says more than that the id is unknown."""
        deleted = CustomerSnapshot(customer_id=CUSTOMER.customer_id, deleted=True)
        stage.hold(deleted)
        fetched = await gateway.fetch_customer(CUSTOMER.customer_id)
        assert fetched == Translation(customer_id=CUSTOMER.customer_id, snapshots=(deleted,))

    async def test_entitlements_are_fetched_with_all_features(
        self, stage: ProviderStage, gateway: PaymentGateway
    ) -> None:
        """Their number does not matter: the provider has one list per customer, which may be empty."""
        stage.hold(CUSTOMER)
        for count in (0, 1, 100, 101, 250):
            features = tuple(f"feature_{number:03}" for number in range(count))
            entitled = EntitlementsSnapshot(customer_id=CUSTOMER.customer_id, features=features)
            stage.hold(entitled)
            fetched = await gateway.fetch_entitlements(CUSTOMER.customer_id)
            assert fetched == Translation(customer_id=CUSTOMER.customer_id, snapshots=(entitled,))

    async def test_an_unknown_object_is_none(self, stage: ProviderStage, gateway: PaymentGateway) -> None:
        """Unknown ids, and ids that no provider would assign, are an answer and no error."""
        stage.hold(CUSTOMER)
        stage.hold(SUBSCRIPTION)
        stage.hold(invoice("in_1", lines=1))
        for name in UNKNOWN:
            assert await gateway.fetch_subscription(SubscriptionId(name)) is None
            assert await gateway.fetch_invoice(InvoiceId(name)) is None
            assert await gateway.fetch_customer(CustomerId(name)) is None
            assert await gateway.fetch_entitlements(CustomerId(name)) is None

    async def test_an_object_that_is_gone_is_none(self, stage: ProviderStage, gateway: PaymentGateway) -> None:
        """A deleted draft, for example."""
        draft = invoice("in_1", lines=1)
        stage.hold(draft)
        stage.forget(draft)
        assert await gateway.fetch_invoice(draft.invoice_id) is None

    async def test_concurrent_calls_get_their_own_answers(self, stage: ProviderStage, gateway: PaymentGateway) -> None:
        """Pages of one invoice never end up in another."""
        wanted = [invoice(f"in_{lines}", lines=lines) for lines in (3, 30, 120, 12, 1, 101)]
        for one in wanted:
            stage.hold(one, tenant_id=ACME)
        fetched = await asyncio.gather(*(gateway.fetch_invoice(one.invoice_id) for one in wanted))
        assert [one.snapshots for one in fetched if one is not None] == [(one,) for one in wanted]

    async def test_a_failure_says_whether_to_retry_and_passes(
        self, stage: ProviderStage, gateway: PaymentGateway
    ) -> None:
        """Each kind of failure is an error of its own; the call after it is answered."""
        stage.hold(CUSTOMER, tenant_id=ACME)
        for error, retryable in (
            (GatewayUnavailableError, True),
            (GatewayRateLimitedError, True),
            (GatewayAuthenticationError, False),
            (GatewayPermissionError, False),
            (GatewayInvalidRequestError, False),
        ):
            stage.fail(error)
            raised = await _error_of(gateway)
            assert type(raised) is error
            assert raised.retryable is retryable
            assert await gateway.fetch_customer(CUSTOMER.customer_id) is not None


def _undated(fetched: Translation | None) -> Translation | None:
    """Leave out when a subscription was created: an answer may say it, and no snapshot does."""
    return None if fetched is None else attrs.evolve(fetched, began_at=None)


async def _error_of(gateway: PaymentGateway) -> GatewayError | None:
    try:
        await gateway.fetch_customer(CUSTOMER.customer_id)
    except GatewayError as error:
        return error
    return None
