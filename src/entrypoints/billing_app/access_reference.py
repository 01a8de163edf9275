"""The page about access, its tables made from the policy: `python -m billing_app.access_reference`.

A test compares it with the file in the repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs

from billing_core.model import (
    AccessFacts,
    AccessGrant,
    AccessPolicy,
    AccessReason,
    AccessState,
    CustomerId,
    EventId,
    Grace,
    GrantId,
    InvoiceId,
    InvoiceSnapshot,
    ItemId,
    ItemSnapshot,
    Period,
    PriceId,
    Provenance,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantSubscription,
)

DOCUMENT: Final = Path("docs/billing/access.md")

_NOW: Final = datetime(2026, 6, 15, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_TENANT: Final = TenantId("acme")
_DEFAULT: Final = AccessPolicy()
_BASIS: Final = Provenance(observed_at=_NOW, event_ids=(EventId("evt_1"),))


@attrs.frozen(kw_only=True)
class _Case:
    """A situation, and a name for the end of its verdict; "–" if it has none."""

    text: str
    subscriptions: Sequence[SubscriptionSnapshot] = ()
    invoices: Sequence[SubscriptionInvoice] = ()
    disputed: bool = False
    grants: Sequence[AccessGrant] = ()
    policy: AccessPolicy = _DEFAULT
    ends: str = "–"


def _seen(status: str = "active", id_: str = "sub_1", /, **fields: Any) -> SubscriptionSnapshot:
    given = {"plan_code": "pro", "collection_method": "charge_automatically", **fields}
    return SubscriptionSnapshot(
        subscription_id=SubscriptionId(id_), customer_id=CustomerId("cus_1"), status=status, **given
    )


def _owed(*failed_at: datetime, **fields: Any) -> SubscriptionInvoice:
    snapshot = InvoiceSnapshot(
        invoice_id=InvoiceId("in_1"),
        customer_id=CustomerId("cus_1"),
        subscription_id=SubscriptionId("sub_1"),
        status="open",
        currency="usd",
        **fields,
    )
    return SubscriptionInvoice(tenant_id=_TENANT, snapshot=snapshot, provenance=_BASIS, failed_at=failed_at)


def _grant(until: datetime) -> AccessGrant:
    return AccessGrant(
        grant_id=GrantId("grant_1"),
        tenant_id=_TENANT,
        plan_code="pro",
        until=until,
        actor="ops",
        reason="goodwill",
        granted_at=_NOW,
    )


_ITEM: Final = ItemSnapshot(
    item_id=ItemId("si_1"), price_id=PriceId("price_1"), period=Period(start=_NOW, end=_NOW + 30 * _DAY)
)

_BY_DEFAULT: Final = (
    _Case(text="no subscription"),
    _Case(text="`active`", subscriptions=[_seen()]),
    _Case(text="`active`, set to end later", subscriptions=[_seen(cancel_at=_NOW + _DAY)], ends="the scheduled end"),
    _Case(text="any status, the scheduled end has passed", subscriptions=[_seen(cancel_at=_NOW)]),
    _Case(text="`active`, collection paused", subscriptions=[_seen(collection_paused=True, pause_behavior="void")]),
    _Case(
        text="`trialing`",
        subscriptions=[_seen("trialing", trial_ends_at=_NOW)],
        ends="the end of the trial and `trial_overdue_after`",
    ),
    _Case(text="`trialing`, over for a day", subscriptions=[_seen("trialing", trial_ends_at=_NOW - _DAY)]),
    _Case(
        text="`past_due`, a payment failed within a week",
        subscriptions=[_seen("past_due")],
        invoices=[_owed(_NOW - _DAY)],
        ends="the first failure and `past_due_grace`",
    ),
    _Case(
        text="`past_due`, an invoice by mail was due within a week",
        subscriptions=[_seen("past_due", collection_method="send_invoice")],
        invoices=[_owed(due_at=_NOW - _DAY)],
        ends="the due date and `past_due_grace`",
    ),
    _Case(text="`past_due`, no invoice says since when", subscriptions=[_seen("past_due")]),
    _Case(text="`past_due`, missed a week ago", subscriptions=[_seen("past_due")], invoices=[_owed(_NOW - 7 * _DAY)]),
    _Case(text="`unpaid`", subscriptions=[_seen("unpaid")]),
    _Case(text="`paused`", subscriptions=[_seen("paused")]),
    _Case(text="`incomplete`", subscriptions=[_seen("incomplete")]),
    _Case(text="`incomplete_expired`", subscriptions=[_seen("incomplete_expired")]),
    _Case(text="`canceled`", subscriptions=[_seen("canceled")]),
    _Case(text="any other status", subscriptions=[_seen("a_status_of_2031")]),
    _Case(
        text="a grant, beside a subscription that gives less or ends before it",
        subscriptions=[_seen("canceled")],
        grants=[_grant(until=_NOW + _DAY)],
        ends="the end of the grant",
    ),
    _Case(
        text="several: the best of them counts",
        subscriptions=[_seen("canceled"), _seen("unpaid", "sub_2"), _seen("active", "sub_3")],
    ),
)

_BY_SETTING: Final = (
    _Case(
        text='`states={"past_due": Grace(then=BLOCKED)}`, missed a week ago',
        subscriptions=[_seen("past_due")],
        invoices=[_owed(_NOW - 7 * _DAY)],
        policy=AccessPolicy(states={"past_due": Grace(then=AccessState.BLOCKED)}),
    ),
    _Case(
        text='`states={"incomplete": FULL}`, the first payment is being confirmed',
        subscriptions=[_seen("incomplete", items=(_ITEM,))],
        policy=AccessPolicy(states={"incomplete": AccessState.FULL}),
        ends="the start of the period and `confirmation_overdue_after`",
    ),
    _Case(
        text='`by_mail={"past_due": FULL}`, an invoice by mail is overdue',
        subscriptions=[_seen("past_due", collection_method="send_invoice")],
        invoices=[_owed(due_at=_NOW - 7 * _DAY)],
        policy=AccessPolicy(by_mail={"past_due": AccessState.FULL}),
    ),
    _Case(
        text="`never_paid_trial=BLOCKED`, the first payment after a trial failed",
        subscriptions=[_seen("past_due", trial_ends_at=_NOW - _DAY)],
        invoices=[_owed(_NOW - _DAY)],
        policy=AccessPolicy(never_paid_trial=AccessState.BLOCKED),
    ),
    _Case(
        text='`paused_collection={"mark_uncollectible": READ_ONLY}`, collection paused in that way',
        subscriptions=[_seen(collection_paused=True, pause_behavior="mark_uncollectible")],
        policy=AccessPolicy(paused_collection={"mark_uncollectible": AccessState.READ_ONLY}),
    ),
    _Case(
        text="`unmapped_price=READ_ONLY`, `active` on a price of no plan",
        subscriptions=[_seen(plan_code=None)],
        policy=AccessPolicy(unmapped_price=AccessState.READ_ONLY),
    ),
    _Case(
        text="`open_dispute=READ_ONLY`, `active`, a payment is disputed",
        subscriptions=[_seen()],
        disputed=True,
        policy=AccessPolicy(open_dispute=AccessState.READ_ONLY),
    ),
    _Case(
        text="`Plan(grants_access=False)`, `active` on this plan alone",
        subscriptions=[_seen()],
        policy=AccessPolicy(addon_plans=frozenset({"pro"})),
    ),
)

_HEAD: Final = """\
# Access

<!-- Made by `python -m billing_app.access_reference` from billing_core/model/access.py; change it there. -->

Every message and `/state` carry the tenant's access: `state` (`full`, `grace`, `read_only` or `blocked`), the `reason`,
and `until`, the instant at which it ends if nothing else happens. Decide by `state`. `reason` is for people and for
reports; both are closed lists. `until` is null if no end is known.

- **A verdict is never older than its own `until`.** It is decided for the instant at which it is read, by the
  database's clock: in `/state`, in `billing explain` and in messages. An end that has passed counts, even if Stripe's
  event of it never arrives.
- **The best subscription counts.** Of several equal ones the one that lasts longest explains the verdict.
- **Grace counts from when money was first missed**: from the due date of the subscription's oldest open invoice, else
  from its first failed payment. The next period and a retry do not grant it again. While no invoice says since when,
  `until` is null, and the subscription is fetched from Stripe once, if there is an API key.
- **Limits never raise access.** Paused collection and an unknown plan can only lower what the status gives.
- **A change without news is a message, too.** When an end is reached that the last message named, a worker sends one
  `access.changed`, with `occurred_at` at that end and `source.kind` `clock`. If another policy changed the verdict, the
  kind is `catalog`. A change that no message told, such as that of a replay in silence, follows in the same way. Each
  comes once, over any number of workers; one that an event tells first is not repeated.

## By default
"""

_SETTINGS: Final = """
## Settings

The fields of `AccessPolicy`. The table `[access]` of billing.toml sets them, each status under its own name
([configuration](configuration.md#access)); hosts that embed the service pass the object.

| Field | Default | Meaning |
|---|---|---|
"""

_GRANTS: Final = """
## Grants

An operator grants a tenant full access beside what it pays for:

```console
$ billing grants add acme --plan pro --until 2027-01-01 --why "pilot customer"
$ billing grants list acme
$ billing grants revoke grant_… --why "pilot is over"
```

`BillingService.grant` and `revoke_grant` do the same. No event of Stripe changes a grant. Of a grant and a
subscription the one that gives more decides, or lasts longer; `reason` is `granted` if it is the grant. Its end falls
due like any other.
Each grant keeps who made and revoked it, when and why; the tenant gets one message for each (`grant.added`,
`grant.revoked`), and `/state` lists the grants that hold. The reasons and names stay with the operators.
"""

_CLOCKS: Final = """
## Test clocks

In test mode, what a subscription on a [test clock](https://docs.stripe.com/billing/testing/test-clocks) gives is
decided for the time at which its clock stands, in place of the database's: in `/state`, in messages and in
`billing explain`, which names the clock. `until` counts by it, too.

- **The clock stands where its events showed it last**: `test_helpers.test_clock.*`, to which the webhook endpoint has
  to be subscribed. The latest time counts in whatever order they arrive. Until the first of them is applied, the
  database's time decides.
- **An end is reached when an event of the clock says so.** All tenants with subscriptions on the clock are then due,
  and each whose access changed gets one `access.changed`. By the database's time they are never due.
- **Grace counts from the due date, else from when an invoice with a failed payment was finalized**: Stripe dates events
  in real time, so they do not say when by the clock a payment failed.
- Subscriptions in live mode, grants, and subscriptions without a clock beside one with a clock live in real time. Of
  several the best counts, as always.
- A deleted clock stays where it was seen. Stripe deletes its customers with it, with events of their own.
"""

_MEANINGS: Final = {
    "trial_overdue_after": "how long a trial that is over keeps its access while Stripe has not said what follows",
    "confirmation_overdue_after": "the same for `incomplete`, from its period's start, if `states` gives it access",
    "past_due_grace": "the span of grace",
    "states": "the access of each status; a status that is not listed is blocked. "
    "`Grace(lasts=…, then=…)` sets another span, and what follows it",
    "by_mail": "what differs where invoices are sent to be paid (`send_invoice`), by status",
    "never_paid_trial": "in place of grace, while no payment for a subscription with a trial is known",
    "paused_collection": "the most access while collection is paused, by its behavior: `keep_as_draft`, "
    "`mark_uncollectible` or `void`",
    "unmapped_price": "the most access while the plan is not known; without it the status decides",
    "open_dispute": "the most access that is paid for while a dispute is open; without it the status decides",
    "addon_plans": "plans that grant nothing by themselves; `Plan(grants_access=False)` adds to them",
}


def render() -> str:
    """Return docs/billing/access.md."""
    return "".join(
        [
            _HEAD,
            _cases("Situation", _BY_DEFAULT),
            _SETTINGS,
            *(f"| `{name}` | {_default(name)} | {meaning} |\n" for name, meaning in _MEANINGS.items()),
            "\n## With other settings\n",
            _cases("Setting and situation", _BY_SETTING),
            _GRANTS,
            _CLOCKS,
            "\n## Reasons\n\n",
            "".join(f"- `{reason.value}`\n" for reason in AccessReason),
        ]
    )


def _cases(title: str, cases: Iterable[_Case]) -> str:
    rows = [f"\n| {title} | `state` | `reason` | `until` |\n|---|---|---|---|\n"]
    for case in cases:
        held = [TenantSubscription(tenant_id=_TENANT, snapshot=each, provenance=_BASIS) for each in case.subscriptions]
        verdict = case.policy.evaluate(
            AccessFacts(subscriptions=held, invoices=case.invoices, disputed=case.disputed, grants=case.grants), _NOW
        )
        if (verdict.until is None) != (case.ends == "–"):
            raise ValueError(f"{case.text}: {verdict.until}")
        rows.append(f"| {case.text} | `{verdict.state.value}` | `{verdict.reason.value}` | {case.ends} |\n")
    return "".join(rows)


def _default(name: str) -> str:
    value = getattr(_DEFAULT, name)
    if isinstance(value, timedelta):
        return f"{value.days} days" if value.days > 1 else f"{value.total_seconds() / 3600:.0f} hours"
    if name == "states":
        return ", ".join(f"`{status}` {state.value}" for status, state in value.items())
    return "none"


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
