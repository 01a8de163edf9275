"""`billing explain`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from billing_app.cli.events.filters import NOTHING_MATCHED, moment_option
from billing_app.cli.events.rendering import changes_to_json, event_to_json, instant
from billing_app.cli.terminal import moment, plain
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.oversight.explain import Entry, Explanation, Transition


@click.command()
@click.argument("tenant")
@click.option("--since", callback=moment_option, help="Events received since then: 30m, 2h, 3d or 2026-03-01T12:00.")
@click.option("--until", callback=moment_option, help="Events received before then.")
@click.option("--limit", type=click.IntRange(1, 5000), default=50, show_default=True, help="The latest so many events.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(tenant: str, since: datetime | None, until: datetime | None, limit: int, as_json: bool) -> None:
    """Tell why TENANT is in the state it is in.

    Its access and the reason, what it has, and one timeline: events received, what was decided about each, what
    changed, the number of the message that told so, and the access from then on. Only reads.

    Exit status: 0 told, 2 wrong usage or configuration, 3 no such tenant.
    """
    explanation = asyncio.run(_explain(Settings.load(), tenant, since=since, until=until, limit=limit))
    if explanation is None:
        click.echo(f"Nothing is known of a tenant {plain(tenant)!r}: see `billing tenants list`.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)
    if as_json:
        click.echo(json.dumps(_to_json(explanation)))
    else:
        _print(explanation)


async def _explain(
    settings: Settings, tenant: str, *, since: datetime | None, until: datetime | None, limit: int
) -> Explanation | None:
    from billing_app.container import open_timeline
    from billing_core.model import TenantId
    from billing_core.oversight.explain import explain

    async with open_timeline(settings) as (timeline, policy):
        history = await timeline.history(TenantId(tenant), since=since, until=until, limit=limit)
    return None if history is None else explain(history, policy=policy, now=datetime.now(UTC))


def _to_json(explanation: Explanation) -> dict[str, Any]:
    from billing_core.converters import to_plain

    return {
        "tenant_id": explanation.tenant_id,
        "sequence": explanation.state.sequence,
        "access": to_plain(explanation.verdict),
        "customers": [each.customer_id for each in explanation.customers],
        "subscriptions": [
            {
                "subscription_id": each.snapshot.subscription_id,
                "status": each.snapshot.status,
                "plan_code": each.snapshot.plan_code,
                "seat_count": each.snapshot.seat_count,
                "rests_on": list(each.provenance.event_ids),
                "observed_at": instant(each.provenance.observed_at),
            }
            for each in explanation.state.subscriptions
        ],
        "earlier_events": explanation.cut,
        "timeline": [_entry_to_json(entry) for entry in explanation.timeline],
    }


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    from billing_core.converters import to_plain

    return {
        **event_to_json(entry.event),
        "decision": entry.decision,
        "failed_attempts": to_plain(entry.attempts),
        "messages": [
            {
                "sequence": notified.sequence,
                "event_type": notified.event_type,
                "summary": notified.summary,
                "object_id": notified.object_id,
                "changes": changes_to_json(notified.changes),
                "access": to_plain(notified.access),
            }
            for notified in entry.transitions
        ],
    }


def _print(explanation: Explanation) -> None:
    verdict = explanation.verdict
    until = f", until {moment(verdict.until)}" if verdict.until else ""
    click.echo(f"{plain(explanation.tenant_id)}: access {verdict.state.value}, because: {plain(verdict.reason)}{until}")
    click.echo(f"last message {explanation.state.sequence}")
    for customer in explanation.customers:
        click.echo(f"customer {plain(customer.customer_id)}")
    for held in explanation.state.subscriptions:
        seen = held.snapshot
        of = [seen.plan_code or "no plan of ours", f"{seen.seat_count} seats" if seen.seat_count is not None else ""]
        click.echo(
            f"subscription {plain(seen.subscription_id)}: {plain(seen.status)}, {plain(', '.join(filter(None, of)))}; "
            f"as of {moment(held.provenance.observed_at)} by {plain(', '.join(held.provenance.event_ids))}"
        )
    click.echo("")
    if explanation.cut:
        click.echo("… earlier events are not shown: --limit and --since show more")
    for entry in explanation.timeline:
        _print_entry(entry)
    if not explanation.timeline:
        click.echo("No event of this tenant was received in that time.")


def _print_entry(entry: Entry) -> None:
    event = entry.event
    click.echo(f"{moment(event.received_at)}  {plain(event.type)}  {plain(event.key.event_id)}")
    click.echo(f"    made {moment(event.created_at)}")
    if event.duplicates:
        click.echo(f"    duplicates: came {event.duplicates} more times, last {moment(event.last_duplicate_at)}")
    for attempt in entry.attempts:
        error = plain(attempt.error or "")
        click.echo(f"    {moment(attempt.failed_at)} attempt {attempt.attempt} failed, {attempt.reason}: {error}")
    shown = any(attempt.error == event.error for attempt in entry.attempts)
    click.echo(f"    {plain(entry.decision)}" + (f" ({plain(event.error)})" if event.error and not shown else ""))
    for notified in entry.transitions:
        _print_transition(notified)


def _print_transition(notified: Transition) -> None:
    click.echo(f"    message {notified.sequence}: {notified.event_type}, {plain(notified.summary)}")
    for each in notified.changes:
        click.echo(f"      {each.field} {_value(each.before)} → {_value(each.after)}")
    until = f", until {moment(notified.access.until)}" if notified.access.until else ""
    click.echo(f"      access from then on: {plain(notified.access.state)} ({plain(notified.access.reason)}){until}")


def _value(value: object) -> str:
    return "–" if value is None else plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
