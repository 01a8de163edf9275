"""Set-up of any catalog after any other one: planned again, nothing is pending."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.provisioning import Setup, client_of

from billing_core.model import Plan, PlanFeature, PlanPrice, SeatBounds
from billing_stripe.testing.fake_stripe import fake_stripe

KEYS = ("exports", "projects", "sso")


@st.composite
def plans(draw: st.DrawFn, code: str) -> Plan:
    """Draw a plan with prices in every role."""
    group = draw(st.sampled_from(["main", "other"]))
    prices = [draw(prices_of(f"{code}_{role}_{number}", role)) for number, role in enumerate(draw(ROLES))]
    features = draw(st.sets(st.sampled_from(KEYS)))
    seats = draw(st.none() | st.builds(SeatBounds, minimum=st.integers(1, 3), maximum=st.none() | st.integers(3, 9)))
    return Plan(
        plan_code=code,
        name=draw(st.none() | st.sampled_from(["Starter", "Pro"])),
        group=group,
        prices=tuple(prices),
        features=tuple(PlanFeature(key=key) for key in sorted(features)),
        seats=seats,
    )


ROLES = st.lists(st.sampled_from(["base", "base", "seat", "metered", "addon"]), max_size=4)


@st.composite
def prices_of(draw: st.DrawFn, lookup_key: str, role: str) -> PlanPrice:
    """Draw a price of a role."""
    amount = draw(st.integers(0, 3))
    exact = draw(st.booleans())
    return PlanPrice(
        role=role,  # type: ignore[arg-type]
        lookup_key=lookup_key,
        feature=draw(st.sampled_from(KEYS)) if role == "metered" else None,
        interval=draw(st.sampled_from(["month", "year"])),
        interval_count=draw(st.integers(1, 2)),
        amount=None if exact else amount,
        unit_amount_decimal=f"{amount}.50" if exact else None,
        currency=draw(st.sampled_from(["usd", "eur"])),
    )


CATALOGS = st.tuples(plans("starter"), plans("pro"))


@settings(max_examples=12, deadline=None)
@given(st.lists(CATALOGS, min_size=1, max_size=3))
async def test_after_set_up_nothing_is_pending(catalogs: list[tuple[Plan, Plan]]) -> None:
    """After any other catalog; and a second run sends nothing that could change anything."""
    async with fake_stripe() as fake, client_of(fake) as client:
        setup = Setup(client)
        for catalog in catalogs:
            outcome = await setup.run(*catalog)
            assert outcome.plan.pending == []
            before = [request for request in fake.requests if request.method != "GET"]
            await setup.run(*catalog)
            assert [request for request in fake.requests if request.method != "GET"] == before
