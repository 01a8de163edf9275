"""Set-up against a fake Stripe: what it makes, what it leaves, and that no interruption makes anything twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.provisioning import ENDPOINT, PLANS, PRO, STARTER, URL, Setup, client_of, monthly

from billing_core.errors import GatewayUnavailableError
from billing_core.model import Plan, PlanMatch, PlanPrice
from billing_stripe.client import Json, StripeAnswer, StripeClient, StripeRequest
from billing_stripe.provisioning import ProvisioningError, UnsettledError, carry_out, desired_objects
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = pytest.mark.stripe


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as running:
        yield running


@pytest.fixture
async def setup(fake: FakeStripe) -> AsyncIterator[Setup]:
    async with client_of(fake) as client:
        yield Setup(client)


def prices(fake: FakeStripe) -> dict[str, objects.Price]:
    """Return the prices by lookup key."""
    return {price.lookup_key: price for price in fake.account.all(objects.Price) if price.lookup_key is not None}


def writes(fake: FakeStripe) -> list[str]:
    """Return the paths of all requests that could change something."""
    return [request.path for request in fake.requests if request.method != "GET"]


def made(fake: FakeStripe) -> Counter[str]:
    """Count the objects by kind."""
    kinds = (
        objects.Product,
        objects.Price,
        objects.Meter,
        objects.Feature,
        objects.ProductFeature,
        objects.PortalConfiguration,
        objects.WebhookEndpoint,
    )
    return Counter({kind.__name__: len(list(fake.account.all(kind))) for kind in kinds})


EVERYTHING = Counter(Product=4, Price=6, Meter=1, Feature=3, ProductFeature=4, PortalConfiguration=1, WebhookEndpoint=1)


async def test_a_catalog_is_provisioned_as_a_whole(fake: FakeStripe, setup: Setup) -> None:
    """Products that name their plan, prices by lookup key, a meter, features, the portal and the endpoint."""
    await setup.run(*PLANS)
    assert made(fake) == EVERYTHING
    found = prices(fake)
    assert (found["pro_monthly"].unit_amount, found["pro_yearly"].interval) == (4900, "year")
    assert found["pro_api_calls"].unit_amount_decimal == "0.1"
    assert found["pro_api_calls"].meter_id == next(iter(fake.account.all(objects.Meter))).meter_id
    assert found["pro_seats"].product_id != found["pro_monthly"].product_id
    product = fake.account.get(objects.Product, found["pro_monthly"].product_id)
    assert (product.name, product.metadata["plan_code"]) == ("Pro", "pro")
    (endpoint,) = fake.account.all(objects.WebhookEndpoint)
    assert endpoint.enabled_events == ENDPOINT.events
    assert endpoint.api_version == ENDPOINT.api_version
    assert setup.secrets == [endpoint.secret]


async def test_a_second_run_changes_nothing(fake: FakeStripe, setup: Setup) -> None:
    """It does not even send a request that could."""
    await setup.run(*PLANS)
    before = writes(fake)
    outcome = await setup.run(*PLANS)
    assert writes(fake) == before
    assert {step.action for step in outcome.plan.steps} == {"keep"}


async def test_another_amount_is_a_new_price_with_the_same_lookup_key(fake: FakeStripe, setup: Setup) -> None:
    """The old price stays for those who pay it, and the portal offers the new one."""
    await setup.run(*PLANS)
    old = prices(fake)["starter_monthly"]
    dearer = attrs.evolve(STARTER, prices=(monthly("starter_monthly", 2900), STARTER.prices[1]))
    await setup.run(dearer, PRO)
    new = prices(fake)["starter_monthly"]
    assert (new.unit_amount, new.product_id) == (2900, old.product_id)
    assert fake.account.get(objects.Price, old.price_id).active
    (portal,) = fake.account.all(objects.PortalConfiguration)
    offered = portal.features["subscription_update"]["products"]
    assert new.price_id in offered[0]["prices"]
    assert old.price_id not in offered[0]["prices"]


async def test_an_amount_can_go_back_and_forth_within_a_day(fake: FakeStripe, setup: Setup) -> None:
    """Each change is a decision with a key of its own, though its parameters are those of an earlier one."""
    for amount in (1900, 2900) * 6:
        await setup.run(attrs.evolve(STARTER, prices=(monthly("starter_monthly", amount),)))
        assert prices(fake)["starter_monthly"].unit_amount == amount
    assert made(fake)["Price"] == 12


async def test_a_name_can_go_back_and_forth_within_a_day(fake: FakeStripe, setup: Setup) -> None:
    """An update whose key leads to a stored answer is sent again under another one."""
    for name in ("Starter", "Basic", "Starter", "Basic", "Starter"):
        await setup.run(attrs.evolve(STARTER, name=name))
        assert {product.name for product in fake.account.all(objects.Product)} == {name}


async def test_what_was_deleted_by_hand_is_made_again(fake: FakeStripe, setup: Setup) -> None:
    """Stripe would repeat its answer about the deleted object for a day; the check after the run notices."""
    await setup.run(STARTER)
    for each in [*fake.account.all(objects.WebhookEndpoint), *fake.account.all(objects.ProductFeature)]:
        fake.remove(fake.account.kind_of(type(each)).key(each) or "")
    await setup.run(STARTER)
    assert (made(fake)["WebhookEndpoint"], made(fake)["ProductFeature"]) == (1, 1)
    (endpoint,) = fake.account.all(objects.WebhookEndpoint)
    assert setup.secrets[-1] == endpoint.secret


async def test_prices_and_products_of_before_are_used(fake: FakeStripe, setup: Setup) -> None:
    """A price that has the lookup key stays where it is, and its product gives the plan's features."""
    fake.put(
        objects.Product(product_id="prod_A", name="Our starter"),
        objects.Price(price_id="price_A", product_id="prod_A", unit_amount=1900, lookup_key="starter_monthly"),
    )
    await setup.run(attrs.evolve(STARTER, prices=STARTER.prices[:1]))
    assert made(fake)["Product"] == made(fake)["Price"] == 1
    assert fake.account.get(objects.Product, "prod_A").name == "Our starter"
    (attached,) = fake.account.all(objects.ProductFeature)
    assert attached.product_id == "prod_A"


async def test_a_product_of_the_catalog_gets_the_prices(fake: FakeStripe, setup: Setup) -> None:
    """`match.products` names the product on which prices are made."""
    fake.put(objects.Product(product_id="prod_A", name="Our starter"))
    await setup.run(attrs.evolve(STARTER, match=PlanMatch(products=("prod_A",))))
    assert {price.product_id for price in prices(fake).values()} == {"prod_A"}


async def test_archived_objects_are_activated_again(fake: FakeStripe, setup: Setup) -> None:
    """The catalog says that they are for sale."""
    await setup.run(*PLANS)
    price, feature = prices(fake)["pro_seats"], next(iter(fake.account.all(objects.Feature)))
    product = fake.account.get(objects.Product, price.product_id)
    meter = next(iter(fake.account.all(objects.Meter)))
    portal = next(iter(fake.account.all(objects.PortalConfiguration)))
    endpoint = next(iter(fake.account.all(objects.WebhookEndpoint)))
    fake.put(
        *(attrs.evolve(each, active=False) for each in (price, feature, product, portal)),
        attrs.evolve(meter, deactivated_at=meter.created_at),
        attrs.evolve(endpoint, enabled=False),
    )
    outcome = await setup.run(*PLANS)
    assert outcome.plan.pending == []
    assert made(fake) == EVERYTHING


async def test_events_that_drifted_are_corrected(fake: FakeStripe, setup: Setup) -> None:
    """An endpoint of ours has exactly the events that we read, also one that people made."""
    fake.add_webhook_endpoint(URL, api_version="2023-10-16", events=["invoice.paid", "payout.paid"])
    outcome = await setup.run(STARTER)
    (endpoint,) = fake.account.all(objects.WebhookEndpoint)
    assert endpoint.enabled_events == ENDPOINT.events
    assert "sends events in 2023-10-16" in " ".join(outcome.plan.notes)
    assert setup.secrets == []


async def test_without_permission_for_endpoints_the_steps_are_printed(fake: FakeStripe, setup: Setup) -> None:
    """Everything else is done."""
    denied = faults.Answer(status=403, body=b'{"error": {"type": "invalid_request_error", "message": "no"}}')
    fake.fail("/v1/webhook_endpoints", denied, times=2)  # they cannot be listed
    outcome = await setup.run(STARTER)
    assert outcome.plan.pending == []
    assert URL in " ".join(outcome.by_hand)
    fake.clear_faults()
    fake.fail("/v1/webhook_endpoints", denied, times=9, method="POST")  # they can be listed, but not created
    outcome = await setup.run(STARTER)
    assert [step.kind for step in outcome.plan.pending] == ["webhook endpoint"]
    assert URL in " ".join(outcome.by_hand)


async def test_a_missing_permission_for_anything_else_names_the_step(fake: FakeStripe, setup: Setup) -> None:
    """The error says what was to be done."""
    denied = faults.Answer(status=403, body=b'{"error": {"type": "invalid_request_error", "message": "no"}}')
    fake.fail("/v1/products", denied, method="POST")
    with pytest.raises(ProvisioningError, match=r"Create product billing-plan-starter \(Starter\)\."):
        await setup.run(STARTER)


# --- interruptions ------------------------------------------------------------------------------------------------


class KilledError(Exception):
    """The process is gone."""


@attrs.define
class Dying:
    """A client whose process is killed when one of its requests was carried out, before its answer is read."""

    client: StripeClient
    at: int
    sent: int = 0

    async def call(self, request: StripeRequest) -> StripeAnswer:
        answer = await self.client.call(request)
        self.sent += 1
        if self.sent == self.at:
            raise KilledError
        return answer

    def each(self, operation: str, *ids: str, params: Json | None = None) -> AsyncIterator[Json]:
        return self.client.each(operation, *ids, params=params)

    async def get(self, operation: str, *ids: str, params: Json | None = None) -> Json | None:
        return await self.client.get(operation, *ids, params=params)


WRITES = sum(EVERYTHING.values()) + 1
"""Of a first run: one per object, and the note that the endpoint's secret was stored."""


async def test_a_rerun_completes_what_a_kill_interrupted() -> None:
    """At each request: nothing is made twice, and the endpoint's secret is never lost."""
    for at in range(1, WRITES + 1):
        async with fake_stripe() as fake, client_of(fake) as client:
            first, second = Setup(Dying(client, at)), Setup(client)  # type: ignore[arg-type]
            with pytest.raises(KilledError):
                await first.run(*PLANS)
            outcome = await second.run(*PLANS)
            assert outcome.plan.pending == [], at
            assert made(fake) == EVERYTHING, at
            (endpoint,) = fake.account.all(objects.WebhookEndpoint)
            assert {*first.secrets, *second.secrets} == {endpoint.secret}, at


async def test_a_kill_while_the_secret_is_stored_loses_nothing(fake: FakeStripe, setup: Setup) -> None:
    """Until it is stored, the next run asks Stripe for the same answer again."""

    async def die(secret: str) -> None:
        raise KilledError

    desired = desired_objects(PLANS, endpoint=ENDPOINT)
    with pytest.raises(KilledError):
        await carry_out(setup.client, desired, await setup.plan(desired), keep_secret=die)
    await setup.run(*PLANS)
    (endpoint,) = fake.account.all(objects.WebhookEndpoint)
    assert setup.secrets == [endpoint.secret]


async def test_a_secret_that_was_lost_yesterday_is_copied_by_hand(fake: FakeStripe, setup: Setup) -> None:
    """Stripe has forgotten the key, and a second endpoint would be made."""

    async def die(secret: str) -> None:
        raise KilledError

    desired = desired_objects(PLANS, endpoint=ENDPOINT)
    with pytest.raises(KilledError):
        await carry_out(setup.client, desired, await setup.plan(desired), keep_secret=die)
    (endpoint,) = fake.account.all(objects.WebhookEndpoint)
    fake.put(attrs.evolve(endpoint, created_at=endpoint.created_at - timedelta(days=1)))
    outcome = await setup.run(*PLANS)
    assert endpoint.webhook_endpoint_id in " ".join(outcome.by_hand)
    assert made(fake)["WebhookEndpoint"] == 1
    assert (await setup.run(*PLANS)).by_hand == ()


FAULTS = {
    "a server error": (faults.server_error(), "before"),
    "a stored server error": (faults.server_error(), "executing"),
    "a stored server error after the change": (faults.server_error(), "executed"),
    "a cut body": (faults.DroppedBody(), "answering"),
    "a reset connection": (faults.Reset(), "answering"),
    "load": (faults.rate_limited(), "before"),
}
PATHS = (
    "/v1/billing/meters",
    "/v1/products",
    "/v1/prices",
    "/v1/entitlements/features",
    "/v1/products/*/features",
    "/v1/billing_portal/configurations",
    "/v1/webhook_endpoints",
    "/v1/webhook_endpoints/*",
)


@pytest.mark.parametrize("name", FAULTS)
async def test_faults_make_nothing_twice(name: str) -> None:
    """At every kind of object. If Stripe keeps an error as the answer with the secret, a person has to copy that."""
    fault, at = FAULTS[name]
    for path in PATHS:
        async with fake_stripe() as fake, client_of(fake) as client:
            setup = Setup(client)
            fake.fail(path, fault, times=1, at=at, method="POST")  # type: ignore[arg-type]
            outcome = await setup.run(*PLANS)
            assert made(fake) == EVERYTHING, path
            (endpoint,) = fake.account.all(objects.WebhookEndpoint)
            assert setup.secrets[-1:] == [endpoint.secret] or endpoint.webhook_endpoint_id in outcome.by_hand[-1], path


async def test_an_outage_ends_the_run_and_the_next_one_completes_it(fake: FakeStripe, setup: Setup) -> None:
    """The error names the step; the attempts of the first run and the second one share their key."""
    fake.fail("/v1/prices", faults.DroppedBody(), times=3, at="answering", method="POST")
    with pytest.raises(ProvisioningError, match="Create price starter_monthly") as failed:
        await setup.run(*PLANS)
    assert isinstance(failed.value.error, GatewayUnavailableError)
    await setup.run(*PLANS)
    assert made(fake) == EVERYTHING


async def test_two_runs_at_once_make_nothing_twice(fake: FakeStripe, setup: Setup) -> None:
    """The same step is the same request."""
    desired = desired_objects(PLANS, endpoint=ENDPOINT)
    plan = await setup.plan(desired)
    await carry_out(setup.client, desired, plan, keep_secret=setup.keep)
    await carry_out(setup.client, desired, plan, keep_secret=setup.keep)  # planned before the first one acted
    assert made(fake) == EVERYTHING
    assert len(set(setup.secrets)) == 1


async def test_someone_who_undoes_it_all_the_time_is_reported(fake: FakeStripe, setup: Setup) -> None:
    """Set-up ends after a few tries."""
    desired = desired_objects([STARTER])
    plan = await setup.plan(desired)

    @attrs.define
    class Undone(Dying):
        async def call(self, request: StripeRequest) -> StripeAnswer:
            answer = await self.client.call(request)
            for feature in list(fake.account.all(objects.ProductFeature)):
                fake.remove(feature.product_feature_id)
            return answer

    client: Any = Undone(setup.client, 0)
    with pytest.raises(UnsettledError, match="without effect"):
        await carry_out(client, desired, plan, keep_secret=setup.keep)


async def test_prices_that_must_exist_are_problems_before_anything_is_done(fake: FakeStripe, setup: Setup) -> None:
    """A price without an amount, or by an id of another account, cannot be made."""
    lacking = Plan(plan_code="pro", prices=(PlanPrice(lookup_key="pro_x"), PlanPrice(price_id="price_elsewhere")))
    plan = await setup.plan(desired_objects([lacking]))
    assert len(plan.problems) == 2
    assert "price_elsewhere" in plan.problems[1]
    assert "pro_x" in plan.problems[0]
