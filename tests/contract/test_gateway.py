"""The contracts of PaymentGateway and ThinEventGateway, bound to the one in memory and to Stripe's on a fake Stripe."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from billing_core.errors import (
    GatewayAuthenticationError,
    GatewayError,
    GatewayInvalidRequestError,
    GatewayPermissionError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)
from billing_core.events import Translation
from billing_core.inbox.ports import FetchedEvent, ThinEventGateway
from billing_core.model import (
    CustomerSnapshot,
    EntitlementsSnapshot,
    EventId,
    InvoiceSnapshot,
    Period,
    Snapshot,
    SubscriptionSnapshot,
    TenantId,
)
from billing_core.operations.call_limits import UNLIMITED
from billing_core.state.ports import PaymentGateway
from billing_core.testing.inbox.thin_event_gateway import ThinEventGatewayContract
from billing_core.testing.state.payment_gateway import CUSTOMER, PaymentGatewayContract
from billing_memory.gateway import MemoryGateway
from billing_stripe.client import Backoff, CallPolicy, CircuitPolicy, LocalCallLimiter, open_client
from billing_stripe.gateway import StripeGateway
from billing_stripe.testing import API_VERSIONS, objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults
from billing_stripe.testing.thin import ThinEvent

pytestmark = pytest.mark.stripe

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
POLICY = CallPolicy(attempts=2, backoff=MOMENT, longest_retry_after=timedelta(0))


class MemoryStage:
    """Arranges the gateway itself."""

    def __init__(self) -> None:
        self.gateway = MemoryGateway()

    def hold(self, snapshot: Snapshot, *, tenant_id: TenantId | None = None) -> None:
        said = Translation(customer_id=snapshot.customer_id, tenant_hint=tenant_id, snapshots=(snapshot,))
        match snapshot:
            case SubscriptionSnapshot():
                self.gateway.subscriptions[snapshot.subscription_id] = said
            case InvoiceSnapshot():
                self.gateway.invoices[snapshot.invoice_id] = said
            case CustomerSnapshot():
                self.gateway.customers[snapshot.customer_id] = said
            case EntitlementsSnapshot():
                self.gateway.entitlements[snapshot.customer_id] = said

    def hold_checkout(self, session_id: str, *, tenant_id: TenantId, completed: bool) -> None:
        said = Translation(customer_id=CUSTOMER.customer_id, about=("sub_1",), tenant_hint=tenant_id)
        self.gateway.checkout_sessions[session_id] = said if completed else Translation(ignored="unfinished")

    def hold_event(self, event_id: EventId, *, about: Snapshot | None, snapshot_event_id: EventId | None) -> None:
        said = Translation(ignored="unhandled") if about is None else self._known(about)
        self.gateway.events[event_id] = FetchedEvent(snapshot_event_id=snapshot_event_id, translation=said)

    def forget(self, snapshot: Snapshot) -> None:
        gateway = self.gateway
        match snapshot:
            case SubscriptionSnapshot():
                del gateway.subscriptions[snapshot.subscription_id]
            case InvoiceSnapshot():
                del gateway.invoices[snapshot.invoice_id]
            case CustomerSnapshot():
                del gateway.customers[snapshot.customer_id]
        for event_id, event in gateway.events.items():
            if event.translation is not None and snapshot in event.translation.snapshots:
                gateway.events[event_id] = attrs.evolve(event, translation=None)

    def fail(self, error: type[GatewayError]) -> None:
        self.gateway.fail(error("ordered by the test"))

    def _known(self, snapshot: Snapshot) -> Translation:
        match snapshot:
            case SubscriptionSnapshot():
                return self.gateway.subscriptions[snapshot.subscription_id]
            case InvoiceSnapshot():
                return self.gateway.invoices[snapshot.invoice_id]
            case CustomerSnapshot():
                return self.gateway.customers[snapshot.customer_id]


FAULTS: dict[type[GatewayError], faults.Answer] = {
    GatewayUnavailableError: faults.server_error(),
    GatewayRateLimitedError: faults.rate_limited(retry_after=1),
    GatewayAuthenticationError: faults.Answer(status=401, body=b'{"error": {"type": "invalid_request_error"}}'),
    GatewayPermissionError: faults.Answer(status=403, body=b'{"error": {"type": "invalid_request_error"}}'),
    GatewayInvalidRequestError: faults.Answer(status=400, body=b'{"error": {"type": "invalid_request_error"}}'),
}


class StripeStage:
    """Arranges the objects that Stripe would show as these snapshots."""

    def __init__(self, fake: FakeStripe, gateway: StripeGateway) -> None:
        self._fake = fake
        self.gateway = gateway

    def hold(self, snapshot: Snapshot, *, tenant_id: TenantId | None = None) -> None:
        metadata = {} if tenant_id is None else {"tenant_id": str(tenant_id)}
        match snapshot:
            case SubscriptionSnapshot():
                self._fake.put(_subscription(snapshot, metadata))
            case InvoiceSnapshot():
                self._fake.put(_invoice(snapshot, metadata))
            case CustomerSnapshot():
                self._fake.put(_customer(snapshot, metadata))
            case EntitlementsSnapshot():
                self._fake.put(objects.Entitlements(customer_id=snapshot.customer_id, features=snapshot.features))

    def hold_checkout(self, session_id: str, *, tenant_id: TenantId, completed: bool) -> None:
        session = objects.CheckoutSession(
            session_id=session_id,
            created_at=LONG_AGO,
            customer_id=CUSTOMER.customer_id,
            subscription_id="sub_1" if completed else None,
            client_reference_id=tenant_id,
            status="complete" if completed else "open",
            payment_status="paid" if completed else "unpaid",
        )
        self._fake.put(session)

    def hold_event(self, event_id: EventId, *, about: Snapshot | None, snapshot_event_id: EventId | None) -> None:
        kinds = {SubscriptionSnapshot: "subscription", InvoiceSnapshot: "invoice", CustomerSnapshot: "customer"}
        event = ThinEvent(
            event_id=event_id,
            type="v1.something.happened",
            created_at=LONG_AGO,
            related_type="billing.meter" if about is None else kinds[type(about)],
            related_id="mtr_1" if about is None else about.object_id,
            snapshot_event_id=snapshot_event_id,
        )
        self._fake.put(event)

    def forget(self, snapshot: Snapshot) -> None:
        self._fake.remove(snapshot.object_id)

    def fail(self, error: type[GatewayError]) -> None:
        self._fake.fail("*", FAULTS[error], times=POLICY.attempts if error is GatewayUnavailableError else 1)


def _customer(seen: CustomerSnapshot, metadata: dict[str, str]) -> objects.Customer:
    return objects.Customer(
        customer_id=seen.customer_id,
        created_at=LONG_AGO,
        email=seen.email or "",
        name=seen.name or "",
        delinquent=seen.delinquent,
        default_payment_method_id=seen.payment_method_id,
        deleted=seen.deleted,
        metadata=metadata,
    )


def _subscription(seen: SubscriptionSnapshot, metadata: dict[str, str]) -> objects.Subscription:
    assert seen.currency is not None
    return objects.Subscription(
        subscription_id=seen.subscription_id,
        customer_id=seen.customer_id,
        status=seen.status,
        created_at=LONG_AGO,
        cancel_at_period_end=seen.cancel_at_period_end,
        canceled_at=seen.canceled_at,
        ended_at=seen.ended_at,
        metadata=metadata,
        items=tuple(
            objects.Item(
                item_id=item.item_id,
                price=objects.Price(
                    price_id=item.price_id,
                    product_id=item.product_id or "",
                    unit_amount=item.unit_amount,
                    currency=seen.currency,
                ),
                period=_span(item.period),
                quantity=item.quantity,
            )
            for item in seen.items
        ),
    )


def _invoice(seen: InvoiceSnapshot, metadata: dict[str, str]) -> objects.Invoice:
    assert seen.created_at is not None
    return objects.Invoice(
        invoice_id=seen.invoice_id,
        customer_id=CUSTOMER.customer_id,
        status=seen.status,
        created_at=seen.created_at,
        period=_span(seen.period),
        currency=seen.currency,
        subscription_id=seen.subscription_id,
        subscription_metadata=metadata,
        number=seen.number,
        attempt_count=seen.attempt_count,
        lines=tuple(
            objects.InvoiceLine(
                line_id=line.line_id,
                amount=line.amount,
                price=objects.Price(
                    price_id=str(line.price_id), product_id=str(line.product_id), unit_amount=line.amount
                ),
                period=_span(line.period),
                subscription_id=seen.subscription_id,
                item_id=line.subscription_item_id,
                description=str(line.description),
            )
            for line in seen.lines
        ),
    )


def _span(period: Period | None) -> objects.Span:
    assert period is not None
    return objects.Span(period.start, period.end)


class StagedGateway:
    """Both gateway ports, satisfied by the gateway of the stage."""

    @pytest.fixture
    def gateway(self, stage: MemoryStage | StripeStage) -> PaymentGateway:
        return stage.gateway

    @pytest.fixture
    def thin_events(self, stage: MemoryStage | StripeStage) -> ThinEventGateway:
        return stage.gateway


class InMemory(StagedGateway):
    """In one process."""

    @pytest.fixture
    def stage(self) -> MemoryStage:
        return MemoryStage()


class OnStripe(StagedGateway):
    """Over HTTP, in the newest API version."""

    api_version = API_VERSIONS[-1]

    @pytest.fixture
    async def stage(self) -> AsyncIterator[StripeStage]:
        async with (
            fake_stripe() as fake,
            open_client(
                secret_key=fake.secret_key,
                api_version=self.api_version,
                base_url=fake.url,
                policy=POLICY,
                circuit=CircuitPolicy(pause=timedelta(0)),
                limiter=LocalCallLimiter(UNLIMITED),
            ) as client,
        ):
            yield StripeStage(fake, StripeGateway(client))


class OnOldStripe(OnStripe):
    """In the first version of the present shapes."""

    api_version = "2025-03-31.basil"


class TestMemoryPaymentGateway(InMemory, PaymentGatewayContract): ...


class TestStripePaymentGateway(OnStripe, PaymentGatewayContract): ...


class TestOldStripePaymentGateway(OnOldStripe, PaymentGatewayContract): ...


class TestMemoryThinEventGateway(InMemory, ThinEventGatewayContract): ...


class TestStripeThinEventGateway(OnStripe, ThinEventGatewayContract): ...


class TestOldStripeThinEventGateway(OnOldStripe, ThinEventGatewayContract): ...
