"""A whole process against a Stripe that can be asked: ties, long invoices, thin events, and what happens without it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import attrs
import pytest
from structlog.testing import capture_logs
from tests.patience import PATIENCE

from billing_app.container import Container, open_container
from billing_app.secret import Secret
from billing_app.settings import DatabaseSettings, DispatchSettings, Settings, StripeSettings, Switches
from billing_core.model import TenantId
from billing_stripe.client import CallPolicy
from billing_stripe.testing import API_VERSIONS, accounts, builders, encode, event, objects, sign
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults
from billing_stripe.testing.thin import ThinEvent, notification

pytestmark = pytest.mark.postgres

ENDIVE = API_VERSIONS[-1]
WEBHOOK_SECRET = "whsec_fetching"
ACME = TenantId("acme")
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
MONTH = objects.Span(NOW, NOW + timedelta(days=31))
CALLS = objects.Price(price_id="price_calls", product_id="prod_calls", unit_amount=2, metered=True)
SEATS = objects.Price(price_id="price_seats", product_id="prod_app", unit_amount=1900)
SUBSCRIPTION = objects.Subscription(
    subscription_id="sub_1",
    customer_id="cus_1",
    status="active",
    created_at=NOW,
    metadata={"tenant_id": ACME},
    items=(
        objects.Item(item_id="si_1", price=SEATS, period=MONTH, quantity=5),
        objects.Item(item_id="si_2", price=CALLS, period=MONTH),
    ),
)
PAST_DUE = attrs.evolve(SUBSCRIPTION, status="past_due")
UNPAID = attrs.evolve(SUBSCRIPTION, status="unpaid")
"""Its access is no grace, which would be asked about by itself."""
INVOICE = objects.Invoice(
    invoice_id="in_1",
    customer_id="cus_1",
    status="open",
    created_at=NOW,
    period=MONTH,
    finalized_at=NOW,
    subscription_id="sub_1",
    subscription_metadata={"tenant_id": ACME},
    lines=tuple(
        objects.InvoiceLine(
            line_id=f"il_{number:03}", amount=200, price=CALLS, period=MONTH, subscription_id="sub_1", item_id="si_2"
        )
        for number in range(25)
    ),
)
THIN = ThinEvent(
    event_id="evt_thin",
    type="v1.customer.subscription.updated",
    created_at=NOW,
    related_type="subscription",
    related_id="sub_1",
    snapshot_event_id="evt_twin",
)


@attrs.frozen
class Site:
    """A running process without HTTP: webhooks go in by hand, and its database can be looked at."""

    container: Container
    connection: "asyncpg.Connection[asyncpg.Record]"

    async def post(self, body: Mapping[str, Any]) -> None:
        """Sign an event as Stripe does, and post it."""
        raw = encode(body)
        intake = self.container.intake()
        assert intake is not None
        await intake.receive(raw, sign(raw, WEBHOOK_SECRET, datetime.now(UTC)))

    async def status(self) -> str | None:
        """The status of the only subscription."""
        found = await self.container.tenant_reader().subscriptions(ACME)
        return found[0].snapshot.status if found else None

    async def marked(self) -> bool:
        """Tell whether any object is uncertain."""
        return bool(await self.container.uncertain_objects().uncertain(after="", limit=1))

    async def dispatched(self, event_id: str) -> tuple[str, str | None]:
        """How an event ended, and why."""
        row = await self.connection.fetchrow(
            "SELECT status, reason FROM stripe_event_dispatch JOIN stripe_events ON id = event WHERE event_id = $1",
            event_id,
        )
        return ("unknown", None) if row is None else (row["status"], row["reason"])

    async def processed(self) -> bool:
        """Whether nothing is left to do."""
        return not await self.connection.fetchval(
            "SELECT count(*) FROM stripe_event_dispatch WHERE status IN ('due', 'leased')"
        )

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        return self.container.metrics().registry.get_sample_value(name, labels) or 0


Open = Callable[..., Any]


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe that knows nothing yet."""
    async with fake_stripe() as running:
        yield running


@pytest.fixture
def open_site(fake: FakeStripe, database_url: str) -> Open:
    """Start a process against the fake; fields of the Stripe section may be given."""

    @asynccontextmanager
    async def opened(*, dispatch: DispatchSettings | None = None, **stripe: Any) -> AsyncIterator[Site]:
        settings = Settings(
            switches=Switches(billing=True, stream=False),
            stripe=StripeSettings(
                secret_key=Secret(fake.secret_key),
                webhook_secrets=(Secret(WEBHOOK_SECRET),),
                api_base=fake.url,
                **stripe,
            ),
            dispatch=dispatch or DispatchSettings(),
            database=DatabaseSettings(url=Secret(database_url)),
        )
        connection = await asyncpg.connect(database_url)
        try:
            async with (
                open_container(settings, application_name="billing-test") as container,
                container.worker().running(concurrency=1),
            ):
                yield Site(container, connection)
        finally:
            await connection.close()

    return opened


@pytest.fixture
async def site(open_site: Open) -> AsyncIterator[Site]:
    """A running process."""
    async with open_site() as running:
        yield running


async def until(done: Callable[[], Awaitable[object]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not await done():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.02)


def said(source: objects.Subscription, event_id: str, at: datetime = NOW) -> dict[str, Any]:
    """An update that does not say what it replaced."""
    shown = builders.subscription(source, ENDIVE)
    return event("customer.subscription.updated", shown, created=at, api_version=ENDIVE, event_id=event_id)


def billed(event_id: str, type: str = "invoice.finalized") -> dict[str, Any]:
    """An invoice as an event shows it: its first ten lines."""
    shown = builders.invoice(INVOICE, ENDIVE)
    shown["lines"] = {**shown["lines"], "data": shown["lines"]["data"][:10], "has_more": True}
    return event(type, shown, created=NOW, api_version=ENDIVE, event_id=event_id)


def paths(fake: FakeStripe) -> list[str]:
    return [request.path for request in fake.requests]


@pytest.mark.parametrize("truth", [SUBSCRIPTION, PAST_DUE])
async def test_contradicting_events_of_one_second_end_in_the_truth(
    fake: FakeStripe, site: Site, truth: objects.Subscription
) -> None:
    """Stripe is asked, and what it says stands."""
    fake.put(truth)
    await site.post(said(PAST_DUE, "evt_a"))
    await site.post(said(SUBSCRIPTION, "evt_b"))
    await until(
        lambda: _is(site.counted("stripe_refetched_objects_total", kind="subscription", result="refetched") >= 1)
    )
    await until(site.processed)
    await until(lambda: _not(site.marked()))
    assert await site.status() == truth.status
    labels = {"operation": "fetch_subscription", "plan_code": "", "result": "ok"}
    assert site.counted("stripe_gateway_operations_total", **labels) == len(fake.requests)
    history = await site.container.history().events(ACME, after=0, limit=100)
    assert [message.sequence for message in history] == list(range(1, len(history) + 1))


async def test_events_of_a_tenant_go_on_while_stripe_thinks(fake: FakeStripe, site: Site) -> None:
    """No transaction waits for the answer; one that comes too late is dropped."""
    fake.put(PAST_DUE)
    fake.fail("/v1/subscriptions/*", faults.Delay(timedelta(seconds=1.5)))
    await site.post(said(PAST_DUE, "evt_a"))
    await site.post(said(SUBSCRIPTION, "evt_b"))
    await until(lambda: _is(fake.requests))
    trialing = attrs.evolve(SUBSCRIPTION, status="trialing")
    await site.post(said(trialing, "evt_c", at=NOW + timedelta(seconds=5)))
    await until(lambda: _equals(site.status(), "trialing"))
    ended = "overtaken"
    await until(lambda: _is(site.counted("stripe_refetched_objects_total", kind="subscription", result=ended)))
    assert (await site.status(), await site.marked()) == ("trialing", False)


async def test_a_stripe_that_is_away_is_made_up_for_later(fake: FakeStripe, open_site: Open) -> None:
    """The guess stands, marked, while it is away; a process that starts later finds the mark and asks again."""
    fake.put(UNPAID)
    fake.fail("/v1/subscriptions/*", faults.server_error(), times=CallPolicy().attempts)
    async with open_site() as site:
        await site.post(said(UNPAID, "evt_a"))
        await site.post(said(SUBSCRIPTION, "evt_b"))
        failed = "unavailable"
        await until(lambda: _is(site.counted("stripe_refetched_objects_total", kind="subscription", result=failed)))
        await until(site.processed)
        assert (await site.status(), await site.marked()) == ("active", True)
    async with open_site() as site:
        await until(lambda: _not(site.marked()))
        assert await site.status() == "unpaid"


async def test_a_long_invoice_gets_all_of_its_lines_and_usage(fake: FakeStripe, site: Site) -> None:
    """Two events about it cost one complete reading, and none of them takes lines away again."""
    fake.put(SUBSCRIPTION, INVOICE)
    await site.post(said(SUBSCRIPTION, "evt_a"))
    await site.post(billed("evt_b"))
    await until(lambda: _not(site.marked()) if paths(fake) else _is(False))
    repository = site.container.tenant_reader()
    (invoice,) = await repository.invoices(ACME, limit=10)
    assert (len(invoice.snapshot.lines), invoice.snapshot.lines_complete) == (25, True)
    assert len(await repository.usage(ACME, limit=100)) == 25
    asked = len(paths(fake))
    await site.post(billed("evt_c", "invoice.sent"))
    await until(lambda: _equals(site.dispatched("evt_c"), ("applied", None)))
    assert len(await repository.usage(ACME, limit=100)) == 25
    assert len(paths(fake)) == asked


async def test_a_long_list_of_features_is_completed(fake: FakeStripe, site: Site) -> None:
    """An event shows the first of them; the tenant has all in the end."""
    features = tuple(f"feature_{number:03}" for number in range(120))
    fake.put(objects.Entitlements(customer_id="cus_1", features=features))
    await site.post(said(SUBSCRIPTION, "evt_a"))
    shown = accounts.entitlement_summary(
        objects.Entitlements(customer_id="cus_1", features=features[:10], more_features=True)
    )
    type = "entitlements.active_entitlement_summary.updated"
    await site.post(event(type, shown, created=NOW, api_version=ENDIVE, event_id="evt_b"))
    repository = site.container.tenant_reader()
    await until(lambda: _not(site.marked()) if paths(fake) else _is(False))
    assert (await repository.state(ACME)).features == features
    assert set(paths(fake)) == {"/v1/entitlements/active_entitlements"}


class TestThinEvents:
    """Events that name an object without showing it."""

    async def test_the_object_is_fetched_and_the_later_twin_confirms(self, fake: FakeStripe, site: Site) -> None:
        """One message tells of the fact."""
        fake.put(PAST_DUE, THIN)
        await site.post(notification(THIN))
        await until(lambda: _equals(site.dispatched("evt_thin"), ("applied", None)))
        assert await site.status() == "past_due"
        await site.post(said(PAST_DUE, "evt_twin"))
        await until(lambda: _equals(site.dispatched("evt_twin"), ("applied", None)))
        assert await site.container.history().sequence(ACME) == 1
        assert not await site.marked()

    async def test_a_twin_that_came_first_makes_it_redundant(self, fake: FakeStripe, site: Site) -> None:
        """It is ignored with a reason."""
        fake.put(PAST_DUE, THIN)
        await site.post(said(PAST_DUE, "evt_twin"))
        await site.post(notification(THIN))
        await until(lambda: _equals(site.dispatched("evt_thin"), ("ignored", "snapshot_twin")))
        assert await site.container.history().sequence(ACME) == 1

    async def test_while_stripe_is_away_it_waits(self, fake: FakeStripe, open_site: Open) -> None:
        """With a backoff, like everything that may go better later; and is applied once Stripe is back."""
        fake.put(PAST_DUE, THIN)
        fake.fail("/v2/core/events/*", faults.server_error(), times=4)
        async with open_site(dispatch=DispatchSettings(backoff_base=timedelta(milliseconds=1))) as site:
            await site.post(notification(THIN))
            await until(lambda: _equals(site.dispatched("evt_thin"), ("applied", None)))
            assert await site.status() == "past_due"
            assert site.counted("stripe_dispatch_retry_total", result="rescheduled") == 1

    @pytest.mark.parametrize(
        ("type", "related_type", "of_meter"),
        [
            ("v1.billing.meter.error_report_triggered", "billing.meter", " of mtr_1"),
            ("v1.billing.meter.no_meter_found", None, ""),
        ],
    )
    async def test_refused_usage_is_brought_before_operators(
        self, fake: FakeStripe, site: Site, type: str, related_type: str | None, of_meter: str
    ) -> None:
        """How much was not counted and why is logged and kept; the samples, which may hold anything, are not."""
        sample = {"error_message": "no customer jane@example.com", "request": {"identifier": "call-1"}}
        code = {"code": "meter_event_customer_not_found", "error_count": 8, "sample_errors": [sample]}
        late = {"code": "timestamp_too_far_in_past", "error_count": 4, "sample_errors": []}
        thin = ThinEvent(
            event_id="evt_meter",
            type=type,
            created_at=NOW,
            related_type=related_type,
            related_id="mtr_1",
            data={"reason": {"error_count": 12, "error_types": [code, late]}},
        )
        fake.put(thin)
        with capture_logs() as logs:
            await site.post(notification(thin))
            await until(lambda: _equals(site.dispatched("evt_meter"), ("ignored", "meter_errors")))
            counted = {"disposition": "ignored", "reason": "meter_errors"}
            await until(lambda: _is(site.counted("stripe_dispatch_events_total", **counted)))
        said = (
            f"12 meter events{of_meter} were not counted: "
            "meter_event_customer_not_found (8), timestamp_too_far_in_past (4)"
        )
        assert [line["error"] for line in logs if line["event"] == "event.needs_attention"] == [said]
        assert await site.connection.fetchval("SELECT error FROM stripe_event_dispatch") == said
        assert "jane@example.com" not in str(logs)


async def test_where_asking_is_switched_off_everything_else_works(fake: FakeStripe, open_site: Open) -> None:
    """Ties stay marked, long invoices incomplete, thin events parked; and Stripe hears nothing of us."""
    fake.put(PAST_DUE, INVOICE, THIN)
    async with open_site(fetch=False) as site:
        await site.post(said(PAST_DUE, "evt_a"))
        await site.post(said(SUBSCRIPTION, "evt_b"))
        await site.post(billed("evt_c"))
        await site.post(notification(THIN))
        await until(site.processed)
        found = await site.container.uncertain_objects().uncertain(after="", limit=10)
        assert [uncertainty.object_id for uncertainty in found] == ["in_1", "sub_1"]
        assert await site.dispatched("evt_thin") == ("parked", "thin")
        assert (await site.status(), fake.requests) == ("active", [])


@pytest.mark.parametrize(
    ("fields", "changed", "reason"),
    [({}, {"livemode": True}, "livemode"), ({"account_id": "acct_1"}, {"account": "acct_2"}, "account")],
)
async def test_events_of_another_mode_or_account_are_ignored_and_counted(
    open_site: Open, fields: dict[str, Any], changed: dict[str, Any], reason: str
) -> None:
    """They are stored, change nothing, and show under a reason of their own."""
    async with open_site(**fields) as site:
        await site.post({**said(SUBSCRIPTION, "evt_a"), **changed})
        await until(lambda: _equals(site.dispatched("evt_a"), ("ignored", reason)))
        assert await site.status() is None
        assert site.counted("stripe_dispatch_events_total", disposition="ignored", reason=reason) == 1


async def test_an_event_that_would_move_a_link_is_dead_and_logged(open_site: Open) -> None:
    """Operators read which tenant claims which customer; neither tenant changes."""
    async with open_site(fetch=False) as site:
        await site.post(said(SUBSCRIPTION, "evt_a"))
        await until(lambda: _equals(site.dispatched("evt_a"), ("applied", None)))
        with capture_logs() as logs:
            await site.post(said(attrs.evolve(SUBSCRIPTION, metadata={"tenant_id": "globex"}), "evt_b"))
            await until(lambda: _equals(site.dispatched("evt_b"), ("dead", "tenant_conflict")))
            dead = {"disposition": "dead", "reason": "tenant_conflict"}
            await until(lambda: _is(site.counted("stripe_dispatch_events_total", **dead)))
        (line,) = [line for line in logs if line["event"] == "event.needs_attention"]
        assert (line["event_id"], line["reason"], line["log_level"]) == ("evt_b", "tenant_conflict", "error")
        history = site.container.history()
        assert (await history.sequence(ACME), await history.sequence(TenantId("globex"))) == (1, 0)


async def test_duplicate_subscriptions_are_counted_and_logged_once_per_audit(open_site: Open) -> None:
    """A tenant that pays twice for one plan shows in the metrics, and its subscriptions in one line of the log."""
    async with open_site(fetch=False) as site:
        await site.post(said(SUBSCRIPTION, "evt_a"))
        await site.post(said(attrs.evolve(SUBSCRIPTION, subscription_id="sub_2"), "evt_b"))
        await until(site.processed)
    with capture_logs() as logs:
        async with open_site(fetch=False) as site:
            await until(lambda: _is(site.counted("billing_duplicate_subscriptions")))
            assert site.counted("billing_duplicate_subscriptions") == 1
    lines = [line for line in logs if line["event"] == "subscriptions.duplicated"]
    assert [(line["count"], line["first"]) for line in lines] == [(1, ["acme: sub_1, sub_2"])]


async def _is(value: object) -> bool:
    return bool(value)


async def _not(value: Awaitable[object]) -> bool:
    return not await value


async def _equals(value: Awaitable[object], expected: object) -> bool:
    return await value == expected
