"""The page about entitlements, its tables made from the code: `python -m billing_app.entitlements_reference`.

A test compares it with the file in the repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from billing_core.entitlements.cache import CachePolicy
from billing_core.model import (
    AccessGrant,
    BillingRules,
    CustomerId,
    EventId,
    FeatureReason,
    FeatureVerdict,
    GrantId,
    InvoiceId,
    ItemId,
    ItemSnapshot,
    LineId,
    Period,
    Plan,
    PlanFeature,
    PlanPrice,
    PriceId,
    Provenance,
    RulesInForce,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
    TenantState,
    TenantSubscription,
    UsageRecord,
    entitlements_of,
)

DOCUMENT: Final = Path("docs/billing/entitlements.md")

_NOW: Final = datetime(2026, 6, 15, tzinfo=UTC)
_PERIOD: Final = Period(start=datetime(2026, 6, 1, tzinfo=UTC), end=datetime(2026, 7, 1, tzinfo=UTC))
_TENANT: Final = TenantId("acme")
_BASIS: Final = Provenance(observed_at=_NOW, event_ids=(EventId("evt_1"),))

_PRO: Final = Plan(
    plan_code="pro",
    prices=(PlanPrice(price_id=PriceId("price_pro")),),
    features=(
        PlanFeature(key="exports"),
        PlanFeature(key="projects", limit=50),
        PlanFeature(key="members", limit=3, per_seat=True),
        PlanFeature(key="storage", limit=10, enforcement="soft"),
        PlanFeature(key="api_calls", metered=True, included=10_000),
        PlanFeature(key="mails", metered=True, included=100, enforcement="hard", reset="day"),
        PlanFeature(key="reports", read_only="refuse"),
    ),
)
_MAX: Final = Plan(
    plan_code="max",
    prices=(PlanPrice(price_id=PriceId("price_max")),),
    features=(PlanFeature(key="projects", limit=200), PlanFeature(key="sso")),
)
_EXTRA: Final = Plan(
    plan_code="extra",
    prices=(PlanPrice(price_id=PriceId("price_extra"), role="addon"),),
    features=(PlanFeature(key="projects", limit=10, per_seat=True),),
    grants_access=False,
)
_RULES: Final = RulesInForce(BillingRules(plans=(_PRO, _MAX, _EXTRA)), 1)


@attrs.frozen(kw_only=True)
class _Case:
    """A situation and a question."""

    text: str
    feature: str
    subscriptions: Sequence[TenantSubscription] = ()
    grants: Sequence[AccessGrant] = ()
    features: Sequence[str] = ()
    billed: int = 0
    quantity: int = 1
    used: int | None = None
    now: datetime = _NOW


def _on(code: str = "pro", status: str = "active", id_: str = "sub_1", **fields: Any) -> TenantSubscription:
    seats = fields.pop("seats", 5)
    item = ItemSnapshot(item_id=ItemId(f"si_{id_}"), price_id=PriceId(f"price_{code}"), quantity=seats, period=_PERIOD)
    snapshot = SubscriptionSnapshot(
        subscription_id=SubscriptionId(id_),
        customer_id=CustomerId("cus_1"),
        status=status,
        items=(item,),
        plan_code=code,
        price_id=item.price_id,
        seat_count=seats,
        **fields,
    )
    return TenantSubscription(tenant_id=_TENANT, snapshot=snapshot, provenance=_BASIS)


_GRANT: Final = AccessGrant(
    grant_id=GrantId("grant_1"), tenant_id=_TENANT, plan_code="max", actor="ops", reason="pilot", granted_at=_NOW
)

_UNPAID: Final = _on(status="unpaid")

_CASES: Final = (
    _Case(text="`exports`: a switch of the plan", feature="exports", subscriptions=[_on()]),
    _Case(text="`sso`: a switch of another plan", feature="sso", subscriptions=[_on()]),
    _Case(text="`exprots`: no plan lists it", feature="exprots", subscriptions=[_on()]),
    _Case(text="`projects`, 49 of 50 used", feature="projects", subscriptions=[_on()], used=49),
    _Case(text="`projects`, 50 of 50 used", feature="projects", subscriptions=[_on()], used=50),
    _Case(
        text="`projects`, 60 used after a downgrade, `quantity` 0",
        feature="projects",
        subscriptions=[_on()],
        used=60,
        quantity=0,
    ),
    _Case(text="`members`: 3 per seat, 5 seats", feature="members", subscriptions=[_on()]),
    _Case(text="`storage`: a soft limit, used up", feature="storage", subscriptions=[_on()], used=10),
    _Case(text="`api_calls`, 4,000 billed in this period", feature="api_calls", subscriptions=[_on()], billed=4000),
    _Case(text="`api_calls`, 12,000 billed in this period", feature="api_calls", subscriptions=[_on()], billed=12_000),
    _Case(
        text="`api_calls`, the next period began and its renewal has not arrived",
        feature="api_calls",
        subscriptions=[_on()],
        billed=12_000,
        now=_PERIOD.end,
    ),
    _Case(text="`mails`: a hard limit per day", feature="mails", subscriptions=[_on()], quantity=101),
    _Case(
        text="`projects`, plans pro and max: the larger number counts",
        feature="projects",
        subscriptions=[_on(), _on("max", id_="sub_2")],
    ),
    _Case(
        text="`projects`, plan pro and two of the add-on: it adds 10 each",
        feature="projects",
        subscriptions=[_on(), _on("extra", id_="sub_2", seats=2)],
    ),
    _Case(
        text="`projects`, plan pro and a grant of plan max", feature="projects", subscriptions=[_on()], grants=[_GRANT]
    ),
    _Case(text="`beta`: Stripe lists it for the customer", feature="beta", subscriptions=[_on()], features=["beta"]),
    _Case(text="`exports`, `unpaid` (access is read-only)", feature="exports", subscriptions=[_UNPAID]),
    _Case(text='`reports`, the same, with `read_only = "refuse"`', feature="reports", subscriptions=[_UNPAID]),
    _Case(text="`projects`, the same", feature="projects", subscriptions=[_UNPAID]),
    _Case(text="`projects`, the same, `quantity` 0", feature="projects", subscriptions=[_UNPAID], quantity=0),
    _Case(text="`exports`, `canceled` (access is blocked)", feature="exports", subscriptions=[_on(status="canceled")]),
    _Case(
        text="`exports`, the scheduled end has passed",
        feature="exports",
        subscriptions=[_on(cancel_at=_NOW + timedelta(days=1))],
        now=_NOW + timedelta(days=1),
    ),
)

_HEAD: Final = """\
# Entitlements

<!-- Made by `python -m billing_app.entitlements_reference`; change it there. -->

"May this tenant do this now, and how much of it is left?" is answered in the process that asks, from memory, within
microseconds. Plans say what they include; Stripe's entitlements and grants come on top; add-ons add; access decides
over all.

```python
verdict = await entitlements.allows(TenantId("acme"), "projects", used=project_count)
if not verdict:
    raise UpgradeNeeded(verdict.reason, limit=verdict.limit)
```

`entitlements` is `billing_core.Entitlements`, `container.entitlements()` of a process. Hosts in other languages ask
`GET /api/v1/billing/tenants/{tenant_id}/entitlements[/{feature}]` with the tenant's token. Operators use
`billing entitlements acme`, and tenants see the card of the [Activity page](frontend.md):

![Entitlements on the Activity page](images/activity-entitlements.png)

## What a plan includes

```toml
[plans.pro.features]
exports = true                                                     # a switch
projects = 50                                                      # a number
members = { max = 3, per_seat = true }                             # for each seat of the subscription
storage = { max = 10, limit = "soft" }                             # more is allowed, and the answer says so
api_calls = { metered = true, included = 10_000 }                  # per billing period; more is billed
mails = { metered = true, included = 100, limit = "hard", reset = "day" }
reports = { enabled = true, read_only = "refuse" }                 # off while access is read_only
```

[All keys](configuration.md#planscodefeatureskey). A feature that no plan lists is refused as `unknown_feature`.

- **Numbers count what the caller says.** How many projects there are is known to your application: pass `used`.
  Without it, `quantity` is compared with the limit. With `quantity` 0 the question is whether what is there may stay:
  it may, also above the limit after a downgrade.
- **Metered features count billed usage**: the quantities of invoice lines whose period begins in the window. Usage of
  a running period is billed at its end, unless a threshold bills it before. For more current figures give
  `EntitlementLoader` a `UsageMeter` (a port of one method, `billing_core.entitlements.ports`), or pass `used`.
- **A window ends by the clock.** `reset` is the billing period, or a day, week (from Monday), month or year of the
  calendar in UTC. A grant has no billing period: the calendar month stands for it. When a period has ended and its
  renewal has not arrived, usage starts at 0 and `resets_at` is null.
- **Of several plans and grants the larger number counts**, no limit before any number. **Add-ons add** to it
  (`grants_access = false`), in a subscription of their own or as an item beside others, with their own quantity where
  `per_seat` is set. An add-on whose feature is a switch lifts the limit.
- **Stripe's entitlements turn features on**, by lookup key; numbers stay those of the plan. A feature that Stripe
  does not list stays on where a plan has it.
- **Seats** are the `seat_count` of the subscription: 1 if it shows none. A grant has the fewest seats that its plan
  is sold with.

## Access decides over all

The verdict on [access](access.md) is the one of `/state`, from the same function, for the instant of the question.

| Access | Switches | Numbers and metered usage |
|---|---|---|
| `full`, `grace` | as included | as included |
| `read_only` | stay on, unless `read_only = "refuse"` | may stay and not grow, unless `read_only = "allow"` |
| `blocked` | refused | refused |

A subscription that is `read_only` by itself gives no more than that, even if another one gives the tenant full
access.

## Decisions

Plan `pro` has the features above; plan `max` has `projects = 200` and `sso`; the add-on `extra`
has `projects = { max = 10, per_seat = true }`.

| Question | `allowed` | `reason` | `limit` | `remaining` | `sources` |
|---|---|---|---|---|---|
"""

_ANSWER: Final = """
`remaining` is null (–) for no limit, and 0 for what is refused altogether. `used` and `resets_at` stand beside them,
and so do `access`, the `sequence` of the last message and `as_of`, at which the state was read.

## Reasons

"""

_FRESHNESS: Final = """
## How current an answer is

A process keeps the entitlements of the tenants that it was asked about, at most {capacity:,}
(`BILLING_ENTITLEMENTS_CACHED_TENANTS`, about a kilobyte each), and drops the ones asked for the longest ago. It
decides by the database's clock: the instant of the reading, and the time since it was asked for. The age of a state
counts from there as well, so a slow database makes no answer older than it says. Each answer says how current it is:

| `freshness` | When | A change counts |
|---|---|---|
| `live` | the process follows the bus | when its message arrives: half of forty changes within 37 ms, all in 76 |
| `polled` | the bus is unavailable, or was since the reading | at most {polled} seconds after its commit |
| `stale` | the database is unavailable, too | once it is back |

- The last known state answers for {stale} minutes (`BILLING_ENTITLEMENTS_STALE_SECONDS`) while the database is
  unavailable. Then, and for a tenant that is not known, it is an error (`503`).
- A change without a message, such as that of a replay in silence, and one whose message waits in the outbox, count at
  most {live} seconds after the commit (`BILLING_ENTITLEMENTS_MAX_AGE_SECONDS`).
- Other rules that were put in force count within {rules} seconds, without a message.
- A connection to Redis that died without a word is noticed within seconds (two, and the timeout of Redis); until then
  answers say `live`.
- A database that does not answer holds up a tenant that is known for a second at most.
- Ends that the clock brings, such as that of a grace period, need no message: they count at their instant, or
  earlier by as long as the last reading waited for the database.

`allows_cached` answers without waiting, or returns `None` if the tenant has to be read first. `Entitlements.run`
follows the bus: `billing serve` runs it; in a process of your own run it beside your application, or every answer is
`polled`. [Figures](../performance.md#entitlements).

`billing_entitlement_readings_total{{result}}` counts readings (`read`, `failed`) and stale answers (`stale`);
`billing_entitlement_reading_duration_seconds` and `billing_entitlements_cached_tenants` stand beside it.
"""

_REASONS: Final = {
    FeatureReason.INCLUDED: "allowed",
    FeatureReason.OVER_INCLUDED: "allowed: more than is included, and the limit is soft",
    FeatureReason.LIMIT_REACHED: "refused: more than a hard limit allows",
    FeatureReason.NOT_INCLUDED: "refused: nothing that the tenant has gives it",
    FeatureReason.UNKNOWN_FEATURE: "refused: neither a plan nor Stripe lists it; probably a typing error",
    FeatureReason.ACCESS_READ_ONLY: "refused: the tenant may read, and this is more than that",
    FeatureReason.ACCESS_BLOCKED: "refused: the tenant has no access",
}


def render() -> str:
    """Return docs/billing/entitlements.md."""
    policy = CachePolicy()
    return "".join(
        [
            _HEAD,
            *map(_row, _CASES),
            _ANSWER,
            *(f"- `{reason.value}`: {_REASONS[reason]}\n" for reason in FeatureReason),
            _FRESHNESS.format(
                capacity=policy.capacity,
                polled=f"{policy.polled_for.total_seconds():g}",
                stale=f"{policy.stale_for.total_seconds() / 60:g}",
                live=f"{policy.live_for.total_seconds():g}",
                rules=f"{policy.rules_every.total_seconds():g}",
            ),
        ]
    )


def _row(case: _Case) -> str:
    state = TenantState(
        tenant_id=_TENANT,
        sequence=1,
        as_of=_NOW,
        subscriptions=tuple(case.subscriptions),
        invoices=(),
        usage=tuple(_billed(case.feature, case.billed)),
        grants=tuple(case.grants),
        features=tuple(case.features),
    )
    verdict = entitlements_of(state, _RULES).allows(case.feature, case.now, case.quantity, used=case.used)
    return f"| {' | '.join([case.text, *_cells(verdict)])} |\n"


def _billed(feature: str, quantity: int) -> Iterable[UsageRecord]:
    if quantity:
        yield UsageRecord(
            tenant_id=_TENANT,
            invoice_id=InvoiceId("in_1"),
            line_id=LineId("il_1"),
            subscription_id=SubscriptionId("sub_1"),
            feature_key=feature,
            quantity=Decimal(quantity),
            amount=0,
            currency="usd",
            period=_PERIOD,
        )


def _cells(verdict: FeatureVerdict) -> Sequence[str]:
    def number(value: object) -> str:
        return "–" if value is None else f"{value:,}"

    return (
        "yes" if verdict.allowed else "no",
        f"`{verdict.reason.value}`",
        number(verdict.limit),
        number(verdict.remaining),
        ", ".join(f"`{source}`" for source in verdict.sources) or "–",
    )


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
