"""Health checks of an installation: settings, servers, Stripe, backlog and, on request, invariants of stored rows."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

import attrs

from billing_app.container import (
    Container,
    bring_schema_up_to_date,
    check_bus,
    check_stripe,
    find_durability_risks,
    may_call,
    open_tools,
)
from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_core.errors import (
    BillingError,
    GatewayAuthenticationError,
    GatewayError,
    SignatureVerificationError,
)
from billing_core.events import Disposition
from billing_core.inbox.selection import EventFilter
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.ports import Backlog, RefusedWebhooks, UnmappedPrice
from billing_core.state.rules import fingerprint_of

_LATE: Final = timedelta(minutes=1)
"""Warn when an event or a message has waited longer than this."""
_LATEST: Final = 10
"""Name the tenants of this many dead events, for each reason."""
_REFUSALS_SHOWN: Final = timedelta(days=7)
"""Warn of webhooks that were refused within this time."""


class CheckStatus(Enum):
    """The result of one check. The values are part of `billing doctor --json`."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@attrs.frozen
class CheckResult:
    """One check with its status, what it found and how to fix it."""

    check: str
    status: CheckStatus
    detail: str
    remedy: str | None = None
    """None when the status is OK."""


async def run_checks(settings: Settings, *, invariants: bool) -> AsyncIterator[CheckResult]:
    """Run all checks in order; skip those that depend on a failed one.

    Args:
        settings: the configuration to check.
        invariants: also read all stored rows, which takes seconds per million.
    """
    for warning in settings.warnings:
        yield CheckResult("settings", CheckStatus.WARN, warning, "Correct or remove the setting.")
    yield CheckResult("settings", CheckStatus.OK, f"billing is {'on' if settings.switches.billing else 'off'}")
    yield CheckResult("billing.toml", CheckStatus.OK, str(settings.rules))
    database = await _check_database(settings)
    yield database
    if settings.switches.stream:
        yield await _check_redis(settings)
    if may_call(settings):
        yield await _check_stripe(settings)
    if database.status is CheckStatus.FAIL:
        return
    for result in await _check_durability(settings):
        yield result
    async with open_tools(settings) as tools:
        backlog = await tools.inbox_backlog().backlog()
        for result in _check_backlog(backlog):
            yield result
        for reason, count in sorted(backlog.dead.items()):
            yield await _check_dead(tools, reason, count)
        since = (datetime.now(UTC) - _REFUSALS_SHOWN).date()
        for result in _check_refusals(await tools.refusal_tally().since(since)):
            yield result
        yield _check_outbox(await tools.outbox().oldest())
        yield await _check_rules(tools)
        yield _check_prices(await tools.state_upkeep().unmapped_prices())
        if invariants:
            for result in await _check_invariants(tools):
                yield result


async def _check_database(settings: Settings) -> CheckResult:
    try:
        schema = await bring_schema_up_to_date(settings, check=settings.database.url is not None)
    except (BillingError, OperatorError, OSError) as exc:
        return CheckResult("database", CheckStatus.FAIL, str(exc), "Check DATABASE_URL and that the server is running.")
    if schema.pending:
        detail = f"{len(schema.pending)} migrations are pending, the first is {schema.pending[0]}"
        return CheckResult("database", CheckStatus.FAIL, detail, "Run `billing migrate`.")
    if schema.ahead:
        detail = f"the schema was migrated by a newer release ({schema.ahead[-1]})"
        return CheckResult("database", CheckStatus.WARN, detail, "Deploy that release here too.")
    return CheckResult("database", CheckStatus.OK, "reachable, and the schema is up to date")


async def _check_durability(settings: Settings) -> list[CheckResult]:
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


async def _check_redis(settings: Settings) -> CheckResult:
    try:
        await check_bus(settings)
    except (BillingError, OperatorError) as exc:
        remedy = "Check REDIS_URL and that the server is running. Until then, streams are served from Postgres."
        return CheckResult("redis", CheckStatus.FAIL, str(exc), remedy)
    return CheckResult("redis", CheckStatus.OK, "reachable, and it does not evict data")


async def _check_stripe(settings: Settings) -> CheckResult:
    try:
        await check_stripe(settings)
    except GatewayAuthenticationError as exc:
        remedy = "Replace STRIPE_SECRET_KEY, and restart servers and workers: they have stopped calling Stripe."
        return CheckResult("stripe", CheckStatus.FAIL, f"Stripe refuses the key ({exc})", remedy)
    except GatewayError as exc:
        remedy = (
            "Look at https://status.stripe.com and at the network. Servers and workers whose circuit is open "
            "(`stripe_gateway_circuit`) send no calls, and try again by themselves."
        )
        return CheckResult("stripe", CheckStatus.WARN, f"Stripe does not answer ({exc})", remedy)
    return CheckResult("stripe", CheckStatus.OK, "reachable, and it accepts the key")


def _check_backlog(backlog: Backlog) -> Iterator[CheckResult]:
    due = f"{backlog.due} events are due; the oldest has been due for {backlog.oldest_due.total_seconds():.0f} s"
    if backlog.oldest_due > _LATE:
        yield CheckResult("inbox", CheckStatus.WARN, due, "Start `billing worker`, or more of them.")
    else:
        yield CheckResult("inbox", CheckStatus.OK, due)
    if backlog.parked:
        detail = f"{backlog.parked} events are waiting for a tenant link or an object"
        remedy = "Run `billing tenants list --unlinked` and `billing events list --status parked`."
        yield CheckResult("parked", CheckStatus.WARN, detail, remedy)


async def _check_dead(tools: Container, reason: str, count: int) -> CheckResult:
    wanted = EventFilter(statuses=(Disposition.DEAD,), reasons=(reason,))
    latest = await tools.event_log().find(wanted, before=None, limit=_LATEST)
    tenants = sorted({event.tenant_id for event in latest if event.tenant_id is not None})
    concerned = f"; the latest concern {', '.join(tenants)}" if tenants else ""
    remedy = f"Run `billing events list --status dead --reason {reason}`, fix the cause, then replay the events."
    return CheckResult("dead", CheckStatus.WARN, f"{count} events failed permanently: {reason}{concerned}", remedy)


def _check_refusals(refused: Sequence[RefusedWebhooks]) -> Iterator[CheckResult]:
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
        yield CheckResult("refused", CheckStatus.WARN, detail, remedy)


def _check_outbox(oldest: timedelta) -> CheckResult:
    detail = f"the oldest unpublished message has waited {oldest.total_seconds():.0f} s"
    if oldest > _LATE:
        remedy = "Check that Redis is reachable and that a server or worker is running."
        return CheckResult("outbox", CheckStatus.WARN, detail, remedy)
    return CheckResult("outbox", CheckStatus.OK, detail)


async def _check_rules(tools: Container) -> CheckResult:
    """Compare the rules of this configuration with those in force."""
    active = await tools.rules_register().active()
    if active is None:
        return CheckResult("rules", CheckStatus.OK, "none are in force yet: the first server or worker brings its own")
    behind = await tools.rules_register().count_behind()
    detail = f"generation {active.generation} is in force"
    detail += f"; the state of {behind} tenants is still to be read by it" if behind else ""
    if fingerprint_of(active.rules) == fingerprint_of(tools.own_rules()):
        return CheckResult("rules", CheckStatus.OK, f"{detail}, the same as this configuration")
    remedy = "Servers and workers follow the rules in force. Run `billing plans refresh` to replace them by these."
    return CheckResult("rules", CheckStatus.WARN, f"{detail}, and this configuration has others", remedy)


def _check_prices(unmapped: Sequence[UnmappedPrice]) -> CheckResult:
    if not unmapped:
        return CheckResult("plans", CheckStatus.OK, "the price of every live subscription belongs to a plan")
    tenants = sorted({tenant_id for price in unmapped for tenant_id in price.tenants})
    concerned = ", ".join(tenants[:_LATEST]) + (", …" if len(tenants) > _LATEST else "")
    detail = f"{len(unmapped)} prices of live subscriptions belong to no plan; tenants: {concerned}"
    remedy = "Run `billing plans unmapped`, and name the prices in a plan; until then access goes by status."
    return CheckResult("plans", CheckStatus.WARN, detail, remedy)


async def _check_invariants(tools: Container) -> list[CheckResult]:
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
