"""What every Gateway must do. Bind it by subclassing `GatewayContract`, with a `stage` fixture."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import attrs

from billing_core.errors import (
    GatewayError,
    GatewayRateLimitedError,
    GatewayRejectedError,
    GatewayUnauthorizedError,
    GatewayUnavailableError,
)
from billing_core.events import Snapshot, Translation
from billing_core.model import (
    CustomerId,
    CustomerSnapshot,
    EntitlementsSnapshot,
    EventId,
    InvoiceId,
    InvoiceLine,
    InvoiceSnapshot,
    ItemId,
    ItemSnapshot,
    LineId,
    Period,
    PriceId,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
)
from billing_core.testing.stores import Gateway

ACME = TenantId("acme")
_NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
_MONTH = Period(start=_NOW, end=_NOW + timedelta(days=31))

CUSTOMER = CustomerSnapshot(customer_id=CustomerId("cus_1"), email="team@example.com", name="Acme", delinquent=True)

SUBSCRIPTION = SubscriptionSnapshot(
    subscription_id=SubscriptionId("sub_1"),
    customer_id=CUSTOMER.customer_id,
    status="active",
    currency="eur",
    collection_method="charge_automatically",
    cancel_at_period_end=True,
    canceled_at=_NOW,
    items=tuple(
        ItemSnapshot(
            item_id=ItemId(f"si_{number:03}"),
            price_id=PriceId(f"price_{number:03}"),
            product_id="prod_app",
            usage_type="licensed",
            quantity=number,
            period=_MONTH,
        )
        for number in range(1, 18)
    ),
)


def invoice(invoice_id: str, *, lines: int) -> InvoiceSnapshot:
    """An open invoice of as many lines, of which each bills one cent more than the one before."""
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
        total=total,
        billing_reason="subscription_cycle",
        collection_method="charge_automatically",
        period=_MONTH,
        attempt_count=1,
        lines=tuple(
            InvoiceLine(
                line_id=LineId(f"il_{number:04}"),
                amount=number,
                quantity=1,
                price_id=PriceId(f"price_{number:04}"),
                subscription_item_id=ItemId(f"si_{number:04}"),
                description=f"Line {number}",
                period=_MONTH,
            )
            for number in range(1, lines + 1)
        ),
    )


class Stage(Protocol):
    """A gateway and the provider behind it, as far as the suite arranges it. Each test gets one that holds nothing."""

    @property
    def gateway(self) -> Gateway:
        """The gateway on trial."""
        ...

    def hold(self, snapshot: Snapshot, *, tenant_id: TenantId | None = None) -> None:
        """Let the provider have an object, from now on as shown; its metadata names the tenant."""
        ...

    def hold_checkout(self, session_id: str, *, tenant_id: TenantId, completed: bool) -> None:
        """Let the provider have a checkout session of CUSTOMER."""
        ...

    def hold_event(self, event_id: EventId, *, about: Snapshot | None, snapshot_event_id: EventId | None) -> None:
        """Let the provider have an event that shows no object; about something unheard of when `about` is None."""
        ...

    def forget(self, snapshot: Snapshot) -> None:
        """Let an object be gone without a trace."""
        ...

    def fail(self, error: type[GatewayError]) -> None:
        """Let the next call meet what ends in this error, and only that one."""
        ...


class GatewayContract:
    """How things stand now, whole; nothing for what does not exist; errors that say whether to come back.

    A binding gives one fixture: `stage`, a gateway and the provider behind it.
    """

    async def test_a_subscription_is_fetched_with_all_its_items(self, stage: Stage) -> None:
        """Also when the provider shows only the first of them."""
        stage.hold(SUBSCRIPTION, tenant_id=ACME)
        fetched = await stage.gateway.fetch_subscription(SUBSCRIPTION.subscription_id)
        assert fetched == Translation(customer_id=CUSTOMER.customer_id, tenant_hint=ACME, snapshots=(SUBSCRIPTION,))

    async def test_an_ended_subscription_is_still_there(self, stage: Stage) -> None:
        """The end is a state, not an absence."""
        ended = attrs.evolve(SUBSCRIPTION, status="canceled", ended_at=_NOW, items=SUBSCRIPTION.items[:1])
        stage.hold(ended)
        fetched = await stage.gateway.fetch_subscription(ended.subscription_id)
        assert fetched == Translation(customer_id=ended.customer_id, snapshots=(ended,))

    async def test_an_invoice_is_fetched_with_all_its_lines(self, stage: Stage) -> None:
        """Whether they fit where the provider shows the first ones, fill it exactly, or take several pages more."""
        for lines in (0, 1, 10, 11, 110, 111, 250):
            whole = invoice(f"in_{lines}", lines=lines)
            stage.hold(whole, tenant_id=ACME)
            fetched = await stage.gateway.fetch_invoice(whole.invoice_id)
            assert fetched is not None
            assert fetched.snapshots == (whole,)
            assert fetched.missing == ()

    async def test_what_is_fetched_is_how_things_stand_now(self, stage: Stage) -> None:
        """Nothing is remembered between two calls."""
        draft = attrs.evolve(invoice("in_1", lines=2), status="draft")
        for status in ("draft", "open", "uncollectible"):
            current = attrs.evolve(draft, status=status)
            stage.hold(current, tenant_id=ACME)
            fetched = await stage.gateway.fetch_invoice(current.invoice_id)
            assert fetched == Translation(customer_id=CUSTOMER.customer_id, tenant_hint=ACME, snapshots=(current,))

    async def test_a_customer_is_fetched_with_the_tenant_it_names(self, stage: Stage) -> None:
        """Metadata is a hint, handed on as such."""
        stage.hold(CUSTOMER, tenant_id=ACME)
        fetched = await stage.gateway.fetch_customer(CUSTOMER.customer_id)
        assert fetched == Translation(customer_id=CUSTOMER.customer_id, tenant_hint=ACME, snapshots=(CUSTOMER,))

    async def test_a_deleted_customer_is_known_to_be_deleted(self, stage: Stage) -> None:
        """That is more than that there is none."""
        deleted = CustomerSnapshot(customer_id=CUSTOMER.customer_id, deleted=True)
        stage.hold(deleted)
        fetched = await stage.gateway.fetch_customer(CUSTOMER.customer_id)
        assert fetched == Translation(customer_id=CUSTOMER.customer_id, snapshots=(deleted,))

    async def test_entitlements_are_fetched_with_all_features(self, stage: Stage) -> None:
        """However many; the provider has one list of them per customer, which may be empty."""
        stage.hold(CUSTOMER)
        for count in (0, 1, 100, 101, 250):
            features = tuple(f"feature_{number:03}" for number in range(count))
            entitled = EntitlementsSnapshot(customer_id=CUSTOMER.customer_id, features=features)
            stage.hold(entitled)
            fetched = await stage.gateway.fetch_entitlements(CUSTOMER.customer_id)
            assert fetched == Translation(customer_id=CUSTOMER.customer_id, snapshots=(entitled,))

    async def test_a_completed_checkout_links_customer_and_tenant(self, stage: Stage) -> None:
        """It says whose customer somebody became."""
        stage.hold_checkout("cs_1", tenant_id=ACME, completed=True)
        fetched = await stage.gateway.fetch_checkout_session("cs_1")
        assert fetched == Translation(customer_id=CUSTOMER.customer_id, tenant_hint=ACME)

    async def test_an_unfinished_checkout_links_nobody(self, stage: Stage) -> None:
        """Opening a session is not yet buying."""
        stage.hold_checkout("cs_1", tenant_id=ACME, completed=False)
        fetched = await stage.gateway.fetch_checkout_session("cs_1")
        assert fetched is not None
        assert fetched.ignored
        assert (fetched.customer_id, fetched.tenant_hint, fetched.snapshots) == (None, None, ())

    async def test_what_does_not_exist_is_none(self, stage: Stage) -> None:
        """Unknown ids, and ids that no provider would give, are an answer and no error."""
        stage.hold(CUSTOMER)
        stage.hold(SUBSCRIPTION)
        stage.hold(invoice("in_1", lines=1))
        for name in ("none_1", "", ".", "..", "../invoices/in_1", "in_1/lines", "cus_1?a=b", "cus_1#a", "ü 1", "%2e"):
            assert await stage.gateway.fetch_subscription(SubscriptionId(name)) is None
            assert await stage.gateway.fetch_invoice(InvoiceId(name)) is None
            assert await stage.gateway.fetch_customer(CustomerId(name)) is None
            assert await stage.gateway.fetch_entitlements(CustomerId(name)) is None
            assert await stage.gateway.fetch_checkout_session(name) is None
            assert await stage.gateway.fetch_event(EventId(name)) is None

    async def test_what_is_gone_is_none(self, stage: Stage) -> None:
        """As a deleted draft is."""
        draft = invoice("in_1", lines=1)
        stage.hold(draft)
        stage.forget(draft)
        assert await stage.gateway.fetch_invoice(draft.invoice_id) is None

    async def test_an_event_without_its_object_is_resolved(self, stage: Stage) -> None:
        """Whatever kind of object it names, the answer is what fetching that object gives, and the event's twin."""
        gateway = stage.gateway
        shown = invoice("in_1", lines=12)
        for snapshot in (CUSTOMER, SUBSCRIPTION, shown):
            stage.hold(snapshot, tenant_id=ACME)
            stage.hold_event(EventId("evt_1"), about=snapshot, snapshot_event_id=EventId("evt_twin"))
            event = await gateway.fetch_event(EventId("evt_1"))
            assert event is not None
            assert event.snapshot_event_id == "evt_twin"
            assert event.translation is not None
            assert event.translation.snapshots == (snapshot,)
            assert event.translation.tenant_hint == ACME

    async def test_an_event_may_have_no_twin_and_no_object_we_know(self, stage: Stage) -> None:
        """Then it is ignored with a reason, like any event that says nothing to us."""
        stage.hold_event(EventId("evt_1"), about=None, snapshot_event_id=None)
        event = await stage.gateway.fetch_event(EventId("evt_1"))
        assert event is not None
        assert event.snapshot_event_id is None
        assert event.translation is not None
        assert event.translation.ignored

    async def test_an_event_may_outlive_its_object(self, stage: Stage) -> None:
        """Then there is the event, and nothing to translate."""
        draft = invoice("in_1", lines=1)
        stage.hold(draft)
        stage.hold_event(EventId("evt_1"), about=draft, snapshot_event_id=None)
        stage.forget(draft)
        event = await stage.gateway.fetch_event(EventId("evt_1"))
        assert event is not None
        assert event.translation is None

    async def test_concurrent_calls_get_their_own_answers(self, stage: Stage) -> None:
        """Pages of one invoice never end up in another."""
        wanted = [invoice(f"in_{lines}", lines=lines) for lines in (3, 30, 120, 12, 1, 101)]
        for one in wanted:
            stage.hold(one, tenant_id=ACME)
        fetched = await asyncio.gather(*(stage.gateway.fetch_invoice(one.invoice_id) for one in wanted))
        assert [one.snapshots for one in fetched if one is not None] == [(one,) for one in wanted]

    async def test_a_failure_says_whether_to_come_back_and_passes(self, stage: Stage) -> None:
        """Each kind of failure is its own error; the call after it is answered."""
        stage.hold(CUSTOMER, tenant_id=ACME)
        for error, retryable in (
            (GatewayUnavailableError, True),
            (GatewayRateLimitedError, True),
            (GatewayUnauthorizedError, False),
            (GatewayRejectedError, False),
        ):
            stage.fail(error)
            raised = await _error_of(stage.gateway)
            assert type(raised) is error
            assert raised.retryable is retryable
            assert await stage.gateway.fetch_customer(CUSTOMER.customer_id) is not None


async def _error_of(gateway: Gateway) -> GatewayError | None:
    try:
        await gateway.fetch_customer(CUSTOMER.customer_id)
    except GatewayError as error:
        return error
    return None
