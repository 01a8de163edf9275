"""A catalog and accounts for tests of decisions."""

from datetime import timedelta
from typing import Any

from billing_core.model import (
    BillingRules,
    ItemSnapshot,
    Plan,
    PlanPrice,
    PriceId,
    Role,
    RulesInForce,
    SeatBounds,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantState,
    TenantSubscription,
)
from billing_core.operations.account import Account
from billing_core.testing.builders import ACME, AT, customer, month, provenance
from billing_core.testing.builders import item as any_item
from billing_core.testing.builders import subscription as any_subscription


def price(key: str, role: Role = "base", **fields: Any) -> PlanPrice:
    """Return a monthly price of 1000 usd cents, named by an id."""
    given: dict[str, Any] = {"interval": "month", "amount": 1000, "currency": "usd", **fields}
    return PlanPrice(role=role, price_id=PriceId(f"price_{key}"), **given)


def usage_price(key: str, feature: str = "calls", **fields: Any) -> PlanPrice:
    """Return a monthly metered price."""
    return price(key, "metered", feature=feature, amount=None, unit_amount_decimal="0.1", **fields)


PLANS = (
    Plan(plan_code="basic", group="main", prices=(price("basic"), usage_price("basic_calls"))),
    Plan(
        plan_code="pro",
        group="main",
        trial_days=14,
        prices=(
            price("pro", amount=5000),
            price("pro_year", amount=48000, interval="year"),
            price("pro_quarter", amount=13500, interval_count=3),
            usage_price("pro_calls"),
        ),
    ),
    Plan(
        plan_code="team",
        group="main",
        seats=SeatBounds(minimum=2, maximum=50),
        prices=(price("team", amount=2000), price("team_seat", "seat", amount=900)),
    ),
    Plan(plan_code="solo_seat", group="main", seats=SeatBounds(minimum=1), prices=(price("solo", "seat", amount=700),)),
    Plan(plan_code="counted", group="main", seats=SeatBounds(minimum=3, maximum=9), prices=(price("counted"),)),
    Plan(plan_code="metered", group="main", prices=(usage_price("usage"), usage_price("storage", "storage"))),
    Plan(plan_code="euro", group="main", prices=(price("eur", currency="eur"), price("usd", currency="usd"))),
    Plan(plan_code="unpriced", group="main", prices=(PlanPrice(lookup_key="unpriced_monthly"),)),
    Plan(plan_code="support", grants_access=False, prices=(price("support"),)),
    Plan(
        plan_code="vault",
        grants_access=False,
        seats=SeatBounds(minimum=1, maximum=20),
        prices=(price("vault", "seat", amount=300), usage_price("vault_storage", "vault_storage")),
    ),
    Plan(plan_code="audit", grants_access=False, prices=(price("audit"),)),
)
RULES = RulesInForce(BillingRules(plans=PLANS), 1)


def item(item_id: str, price_key: str, **fields: Any) -> ItemSnapshot:
    """Return a monthly item of 1000 cents."""
    given = {"quantity": 1, "interval": "month", "interval_count": 1, "unit_amount": 1000, "period": month(1)}
    return any_item(item_id, price_id=PriceId(f"price_{price_key}"), **{**given, **fields})


def usage_item(item_id: str, price_key: str, **fields: Any) -> ItemSnapshot:
    """Return a metered item."""
    return item(item_id, price_key, usage_type="metered", quantity=None, unit_amount=None, **fields)


def subscription(*items: ItemSnapshot, **fields: Any) -> TenantSubscription:
    """Return a subscription as the catalog reads it, by default to plan basic."""
    shown = items or (item("si_1", "basic"),)
    held = any_subscription(
        fields.pop("subscription_id", "sub_1"),
        **{"items": tuple(sorted(shown, key=lambda each: each.item_id)), **fields},
    )
    read = RULES.catalog.read_subscription(held.snapshot)
    return TenantSubscription(tenant_id=ACME, snapshot=read, provenance=provenance())


def account(
    *subscriptions: TenantSubscription,
    customers: tuple[TenantCustomer, ...] = (customer("cus_1"),),
    **fields: Any,
) -> Account:
    """Return an account of acme in the middle of the first month."""
    given = {"invoices": (), "usage": (), "sequence": 1, "as_of": AT + timedelta(days=10), "generation": 1, **fields}
    state = TenantState(tenant_id=ACME, subscriptions=subscriptions, **given)
    return Account(state=state, rules=RULES, customers=customers)


def only(held: TenantSubscription) -> SubscriptionSnapshot:
    """Return the snapshot of a subscription."""
    return held.snapshot
