"""Checks of the loop itself: backlog, dead events, refused webhooks, rules, prices, and invariants of stored rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from billing_app.container import Tools, find_durability_risks
from billing_app.doctor.results import CheckResult, CheckStatus, fail, ok, warn
from billing_app.settings import Settings
from billing_app.spans import span
from billing_app.troubleshooting import WebhookTrouble
from billing_core.errors import SignatureVerificationError, StoreUnavailableError
from billing_core.events import Disposition
from billing_core.inbox.selection import EventFilter
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.ports import SILENT_AFTER, Backlog, RefusedWebhooks, SeenProcess, UnmappedPrice
from billing_core.state.rules import fingerprint_of

_LATE: Final = timedelta(minutes=1)
"""An event or a message that has waited longer than this is late."""
_STUCK: Final = timedelta(minutes=10)
"""An event that has been due longer than this is not processed at all."""
_SLOW: Final = timedelta(seconds=10)
"""Warn when a message has waited for the bus longer than this."""
_QUIET: Final = timedelta(days=1)
"""Warn when no event was stored for so long."""
_HOUR: Final = timedelta(hours=1)
_BROKEN: Final = frozenset({SignatureVerificationError.code, StoreUnavailableError.code, "too_large"})
"""Reasons for which genuine webhooks are refused until the installation is corrected."""
ALIVE: Final = SILENT_AFTER
"""A process that has been silent for longer is not alive: four heartbeats are missing."""
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
    if backlog.oldest_due > _STUCK:
        yield fail("inbox", due, "Start `billing worker`, or more of them; `billing workers` lists those that run.")
    elif backlog.oldest_due > _LATE:
        yield warn("inbox", due, "Start `billing worker`, or more of them; `billing workers` lists those that run.")
    else:
        yield ok("inbox", due)
    if backlog.parked:
        detail = f"{backlog.parked} events are waiting for a tenant link or an object, the oldest for "
        remedy = "Run `billing tenants list --unlinked` and `billing events list --status parked`."
        yield warn("parked", detail + span(backlog.oldest_parked), remedy)


async def check_dead(tools: Tools, reason: str, backlog: Backlog) -> CheckResult:
    wanted = EventFilter(statuses=(Disposition.DEAD,), reasons=(reason,))
    latest = await tools.event_log().find(wanted, before=None, limit=_LATEST)
    tenants = sorted({event.tenant_id for event in latest if event.tenant_id is not None})
    concerned = f"; the latest concern {', '.join(tenants)}" if tenants else ""
    remedy = f"Run `billing events list --status dead --reason {reason}`, fix the cause, then replay the events."
    oldest = span(backlog.oldest_dead.get(reason, timedelta(0)))
    detail = f"{backlog.dead[reason]} events failed permanently, the oldest {oldest} ago: {reason}{concerned}"
    return warn("dead", detail, remedy)


async def last_stored(tools: Tools) -> datetime | None:
    """Return when the last event was received; None if none ever was."""
    latest = await tools.event_log().find(EventFilter(), before=None, limit=1)
    return latest[0].received_at if latest else None


def check_last_event(stored_at: datetime | None, *, now: datetime) -> CheckResult:
    """Say when the last event was stored: silence may be an endpoint that sends elsewhere."""
    remedy = "Compare the endpoint at Stripe with BILLING_PUBLIC_URL; `billing stripe setup` creates it."
    if stored_at is None:
        return warn("events", "no event was ever stored", remedy)
    age = max(now - stored_at, timedelta(0))
    detail = f"the last event was stored {span(age)} ago"
    return warn("events", detail, remedy) if age > _QUIET else ok("events", detail)


def check_processes(seen: Sequence[SeenProcess], *, billing: bool, used: bool) -> Iterator[CheckResult]:
    """Check that servers or applications, and workers, are alive, by their heartbeats.

    Args:
        seen: the processes on the list.
        billing: whether billing is on; otherwise no process is needed.
        used: whether an event was ever stored; before that, nothing was started yet.
    """
    absent = fail if used else warn
    alive = [each for each in seen if each.silent_for <= ALIVE]
    for each in seen:
        if each.silent_for > ALIVE:
            process = each.process
            yield warn(
                "processes",
                f"{process.kind} {process.host}:{process.pid} has written no heartbeat for {span(each.silent_for)}",
                "It was killed, is frozen, or cannot write to the database: look at its log and at /readyz.",
            )
    if not billing:
        return
    servers = sum(each.process.kind in ("serve", "application") for each in alive)
    working = sum(each.process.processes_events for each in alive)
    if not servers:
        detail = "no server and no application is running, or none can write to the database: webhooks are not received"
        yield absent("processes", detail, "Start `billing serve`. If it runs, look at its log and at /readyz.")
    if not working:
        detail = "no process that processes events is running, or none can write to the database"
        yield absent("processes", detail, "Start `billing worker`, or `billing serve` without --no-worker.")
    if servers and working:
        yield ok("processes", f"{len(alive)} alive; {working} process events")


def check_refusals(refused: Sequence[RefusedWebhooks], *, now: datetime) -> Iterator[CheckResult]:
    """Report refused webhooks by reason: those of the last hour, which fail now, and earlier ones."""
    hour_ago = now.replace(minute=0, second=0, microsecond=0) - _HOUR
    for recent in (True, False):
        by_reason: dict[str, RefusedWebhooks] = {}
        for each in refused:
            if (each.hour >= hour_ago) == recent:
                earlier = by_reason.get(each.reason)
                by_reason[each.reason] = each if earlier is None else earlier.plus(each)
        for reason, total in sorted(by_reason.items()):
            yield _refused(reason, total, recent=recent)


def _refused(reason: str, total: RefusedWebhooks, *, recent: bool) -> CheckResult:
    since = "within the last hour" if recent else f"since {total.hour:%Y-%m-%d}"
    detail = f"{total.count} webhooks signed in Stripe's form were refused {since}: {reason}"
    remedy = "Look for `webhook.refused` in the servers' logs, and for failed deliveries in Stripe's dashboard."
    if reason == "too_large":
        detail = f"{detail}; the largest had at least {total.largest} bytes"
        remedy = "Set BILLING_BODY_LIMIT_BYTES to more, then resend them from Stripe's dashboard."
    elif reason == SignatureVerificationError.code:
        remedy = "Compare STRIPE_WEBHOOK_SECRET with the secret of the endpoint that sends them."
    elif reason == StoreUnavailableError.code:
        remedy = "The database took no writes. Stripe repeats them for three days; look for `dependency.unavailable`."
    status = CheckStatus.FAIL if recent and reason in _BROKEN else CheckStatus.WARN
    return CheckResult("refused", status, detail, remedy, WebhookTrouble.WEBHOOKS_ARE_REFUSED)


def check_outbox(oldest: timedelta) -> CheckResult:
    detail = f"the oldest unpublished message has waited {oldest.total_seconds():.0f} s"
    remedy = "Check that Redis takes writes and that a server or worker is running; look for `dependency.unavailable`."
    if oldest > _LATE:
        return fail("outbox", detail, remedy)
    return warn("outbox", detail, remedy) if oldest > _SLOW else ok("outbox", detail)


async def check_rules(tools: Tools) -> CheckResult:
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


async def check_invariants(tools: Tools) -> list[CheckResult]:
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
