"""Checks of the loop itself: backlog, dead events, refused webhooks, rules, prices, and invariants of stored rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from billing_app.container import Container, find_durability_risks
from billing_app.doctor.results import CheckResult, CheckStatus, ok, warn
from billing_app.settings import Settings
from billing_app.troubleshooting import WebhookTrouble
from billing_core.errors import SignatureVerificationError
from billing_core.events import Disposition
from billing_core.inbox.selection import EventFilter
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.ports import Backlog, RefusedWebhooks, UnmappedPrice
from billing_core.state.rules import fingerprint_of

_LATE: Final = timedelta(minutes=1)
"""Warn when an event or a message has waited longer than this."""
_LATEST: Final = 10
"""Name the tenants of this many dead events, for each reason."""


async def check_durability(settings: Settings) -> list[CheckResult]:
    risks = await find_durability_risks(settings)
    if not risks:
        return [CheckResult("durability", CheckStatus.OK, "a commit survives a crash of the machine")]
    return [
        CheckResult(
            "durability",
            CheckStatus.FAIL if risk.voids_promise else CheckStatus.WARN,
            f"{risk.setting} is {risk.value}: {risk.risk}",
            risk.remedy,
        )
        for risk in risks
    ]


def check_backlog(backlog: Backlog) -> Iterator[CheckResult]:
    due = f"{backlog.due} events are due; the oldest has been due for {backlog.oldest_due.total_seconds():.0f} s"
    if backlog.oldest_due > _LATE:
        yield warn("inbox", due, "Start `billing worker`, or more of them.")
    else:
        yield ok("inbox", due)
    if backlog.parked:
        detail = f"{backlog.parked} events are waiting for a tenant link or an object"
        remedy = "Run `billing tenants list --unlinked` and `billing events list --status parked`."
        yield warn("parked", detail, remedy)


async def check_dead(tools: Container, reason: str, count: int) -> CheckResult:
    wanted = EventFilter(statuses=(Disposition.DEAD,), reasons=(reason,))
    latest = await tools.event_log().find(wanted, before=None, limit=_LATEST)
    tenants = sorted({event.tenant_id for event in latest if event.tenant_id is not None})
    concerned = f"; the latest concern {', '.join(tenants)}" if tenants else ""
    remedy = f"Run `billing events list --status dead --reason {reason}`, fix the cause, then replay the events."
    return warn("dead", f"{count} events failed permanently: {reason}{concerned}", remedy)


def check_refusals(refused: Sequence[RefusedWebhooks]) -> Iterator[CheckResult]:
    by_reason: dict[str, RefusedWebhooks] = {}
    for each in refused:
        earlier = by_reason.get(each.reason)
        by_reason[each.reason] = each if earlier is None else earlier.plus(each)
    for reason, total in by_reason.items():
        detail = f"{total.count} webhooks signed in Stripe's form were refused since {total.day}: {reason}"
        remedy = "Look for `webhook.refused` in the servers' logs, and for failed deliveries in Stripe's dashboard."
        if reason == "too_large":
            detail = f"{detail}; the largest had at least {total.largest} bytes"
            remedy = "Set BILLING_BODY_LIMIT_BYTES to more, then resend them from Stripe's dashboard."
        elif reason == SignatureVerificationError.code:
            remedy = "Compare STRIPE_WEBHOOK_SECRET with the secret of the endpoint that sends them."
        yield warn("refused", detail, remedy, WebhookTrouble.WEBHOOKS_ARE_REFUSED)


def check_outbox(oldest: timedelta) -> CheckResult:
    detail = f"the oldest unpublished message has waited {oldest.total_seconds():.0f} s"
    if oldest > _LATE:
        remedy = "Check that Redis is reachable and that a server or worker is running."
        return warn("outbox", detail, remedy)
    return ok("outbox", detail)


async def check_rules(tools: Container) -> CheckResult:
    """Compare the rules of this configuration with those in force."""
    active = await tools.rules_register().active()
    if active is None:
        return ok("rules", "none are in force yet: the first server or worker brings its own")
    behind = await tools.rules_register().count_behind()
    detail = f"generation {active.generation} is in force"
    detail += f"; the state of {behind} tenants is still to be read by it" if behind else ""
    if fingerprint_of(active.rules) == fingerprint_of(tools.own_rules()):
        return ok("rules", f"{detail}, the same as this configuration")
    remedy = "Servers and workers follow the rules in force. Run `billing plans refresh` to replace them by these."
    return warn("rules", f"{detail}, and this configuration has others", remedy)


def check_unmapped(unmapped: Sequence[UnmappedPrice]) -> CheckResult:
    if not unmapped:
        return ok("plans", "the price of every live subscription belongs to a plan")
    tenants = sorted({tenant_id for price in unmapped for tenant_id in price.tenants})
    concerned = ", ".join(tenants[:_LATEST]) + (", …" if len(tenants) > _LATEST else "")
    detail = f"{len(unmapped)} prices of live subscriptions belong to no plan; tenants: {concerned}"
    remedy = "Run `billing plans unmapped`, and name the prices in a plan; until then access goes by status."
    return warn("plans", detail, remedy)


async def check_invariants(tools: Container) -> list[CheckResult]:
    violations = {violation.invariant: violation for violation in await tools.invariants().everything()}
    return [
        CheckResult(
            f"invariant {invariant.value}",
            CheckStatus.FAIL,
            f"{invariant.meaning} Violated by {found.count} rows, for example {', '.join(found.examples)}",
            invariant.remedy,
        )
        if (found := violations.get(invariant)) is not None
        else CheckResult(f"invariant {invariant.value}", CheckStatus.OK, invariant.meaning)
        for invariant in Invariant
    ]
