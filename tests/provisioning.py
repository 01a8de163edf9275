"""A catalog to provision, and one run of set-up against an account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs

from billing_core.model import Plan, PlanFeature, PlanPrice, SeatBounds
from billing_core.operations.call_limits import UNLIMITED
from billing_stripe.client import Backoff, CallPolicy, LocalCallLimiter, StripeClient, open_client
from billing_stripe.provisioning import (
    Desired,
    DesiredEndpoint,
    Provisioned,
    ProvisioningPlan,
    carry_out,
    desired_objects,
    find_objects,
    plan_provisioning,
)
from billing_stripe.testing.fake_stripe import FakeStripe

URL = "https://billing.example.com/webhooks/stripe"
ENDPOINT = DesiredEndpoint(url=URL, api_version="2026-10-28.endive")


def monthly(key: str, amount: int, **fields: object) -> PlanPrice:
    """Return a monthly price."""
    return PlanPrice(lookup_key=key, amount=amount, interval="month", currency="usd", **fields)  # type: ignore[arg-type]


STARTER = Plan(
    plan_code="starter",
    name="Starter",
    group="main",
    prices=(monthly("starter_monthly", 1900), attrs.evolve(monthly("starter_yearly", 19000), interval="year")),
    features=(PlanFeature(key="projects", limit=5),),
    seats=SeatBounds(minimum=1, maximum=5),
)
PRO = Plan(
    plan_code="pro",
    name="Pro",
    group="main",
    prices=(
        monthly("pro_monthly", 4900),
        attrs.evolve(monthly("pro_yearly", 49000), interval="year"),
        monthly("pro_seats", 900, role="seat"),
        PlanPrice(
            role="metered",
            feature="api_calls",
            lookup_key="pro_api_calls",
            interval="month",
            unit_amount_decimal="0.1",
            currency="usd",
        ),
    ),
    features=(
        PlanFeature(key="projects", limit=50),
        PlanFeature(key="exports"),
        PlanFeature(key="api_calls", metered=True),
    ),
)
PLANS = (STARTER, PRO)


@attrs.define
class Setup:
    """Runs of set-up, and the secrets that they stored."""

    client: StripeClient
    secrets: list[str] = attrs.field(factory=list)

    async def keep(self, secret: str) -> None:
        """Store a secret."""
        self.secrets.append(secret)

    async def plan(self, desired: Desired) -> ProvisioningPlan:
        """Return the plan for an account as it is."""
        return plan_provisioning(desired, await find_objects(self.client, desired))

    async def run(self, *plans: Plan, endpoint: DesiredEndpoint | None = ENDPOINT) -> Provisioned:
        """Plan and carry out."""
        desired = desired_objects(plans, endpoint=endpoint)
        return await carry_out(self.client, desired, await self.plan(desired), keep_secret=self.keep)


@asynccontextmanager
async def client_of(fake: FakeStripe) -> AsyncIterator[StripeClient]:
    """Open a client that does not wait."""
    moment = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
    async with open_client(
        secret_key=fake.secret_key,
        api_version=ENDPOINT.api_version,
        base_url=fake.url,
        policy=CallPolicy(attempts=3, backoff=moment, lock_backoff=moment, load_backoff=moment),
        limiter=LocalCallLimiter(UNLIMITED),
    ) as client:
        yield client
