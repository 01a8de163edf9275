"""`billing explain`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from billing_app.cli.events.rendering import changes_to_json, event_to_json, instant, value_text
from billing_app.cli.options import moment_option
from billing_app.cli.terminal import json_option, moment, owner_of, plain, print_json
from billing_app.dashboard import dashboard_url
from billing_app.errors import OperatorError
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import Attention, ProvisionalView
    from billing_core.oversight.explain import Explanation, TimelineEntry, Transition


@click.command()
@click.argument("tenant", metavar="TENANT|ID")
@click.option("--since", callback=moment_option, help="Events received since then, such as 2h or 2026-03-01T12:00.")
@click.option("--until", callback=moment_option, help="Events received before then.")
@click.option(
    "--limit",
    type=click.IntRange(1, 5000),
    default=50,
    show_default=True,
    help="Number of latest events.",
)
@json_option
def explain(tenant: str, since: datetime | None, until: datetime | None, limit: int, as_json: bool) -> None:
    """Explain how TENANT came to its current state. ID is that of one of its objects.

    Shows its access and the reason, what needs attention, its subscriptions, and a timeline: each event received, its
    outcome, the fields it changed, the number of the resulting message, and the access after it. Changes nothing.
    The id of a customer, a subscription, an invoice or an event stands for the tenant that it belongs to.

    \b
    billing explain acme
    billing explain in_123 --since 2h
    billing explain cus_123 --json | jq .access

    Exit status: 0 done, 2 wrong usage or configuration, 3 unknown tenant.
    """
    settings = Settings.for_command()
    explanation = asyncio.run(_explain(settings, tenant, since=since, until=until, limit=limit))
    if as_json:
        print_json(_to_json(explanation))
    else:
        _print(explanation, settings)


async def _explain(
    settings: Settings, object_id: str, *, since: datetime | None, until: datetime | None, limit: int
) -> Explanation:
    from billing_app.container import open_tools
    from billing_core.oversight.explain import explain

    async with open_tools(settings) as tools:
        tenant_id = await owner_of(tools.state_upkeep(), object_id)
        history = await tools.timeline().history(tenant_id, since=since, until=until, limit=limit)
        if history is None:
            raise OperatorError(f"{plain(tenant_id)} has no history yet. Run the command again.")
        return explain(history, policy=(await tools.rules().reload()).policy)


def _to_json(explanation: Explanation) -> dict[str, Any]:
    from billing_core.converters import to_plain
    from billing_core.payloads import provisional_section

    return {
        "tenant_id": explanation.tenant_id,
        "sequence": explanation.state.sequence,
        "access": to_plain(explanation.verdict),
        "attention": explanation.attention.needed,
        "dead_events": explanation.attention.dead_events,
        "uncertain": [
            {
                "kind": each.kind,
                "object_id": each.object_id,
                "complete": each.complete,
                "ambiguous": each.basis.ambiguous,
            }
            for each in explanation.attention.uncertain
        ],
        "provisional": [to_plain(provisional_section(view)) for view in explanation.state.views],
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
        "test_clocks": {clock: instant(at) for clock, at in sorted(explanation.state.clocks.items())},
        "earlier_events": explanation.cut,
        "timeline": [_entry_to_json(entry) for entry in explanation.timeline],
    }


def _entry_to_json(entry: TimelineEntry) -> dict[str, Any]:
    from billing_core.converters import to_plain

    return {
        **(event_to_json(entry.event) if entry.event else {"event_id": None}),
        "decision": entry.decision,
        "failed_attempts": to_plain(entry.attempts),
        "messages": [
            {
                "sequence": transition.sequence,
                "event_type": transition.event_type,
                "summary": transition.summary,
                "source": to_plain(transition.source),
                "object_id": transition.object_id,
                "changes": changes_to_json(transition.changes),
                "access": to_plain(transition.access),
            }
            for transition in entry.transitions
        ],
    }


def _print(explanation: Explanation, settings: Settings) -> None:
    def link(object_id: str) -> str:
        url = dashboard_url(object_id, livemode=settings.stripe.livemode, account=settings.stripe.account_id)
        return "" if url is None else f"  {url}"

    verdict = explanation.verdict
    until = f", until {moment(verdict.until)}" if verdict.until else ""
    clock = "" if verdict.test_clock is None else f", by test clock {plain(verdict.test_clock)}"
    click.echo(f"{plain(explanation.tenant_id)}: access {verdict.state.value} ({plain(verdict.reason)}){until}{clock}")
    click.echo(f"last message: {explanation.state.sequence}")
    _print_attention(explanation.attention, explanation.tenant_id)
    for customer in explanation.customers:
        click.echo(f"customer: {plain(customer.customer_id)}{link(customer.customer_id)}")
    for held in explanation.state.subscriptions:
        seen = held.snapshot
        plan = f"plan {seen.plan_code}" if seen.plan_code else "unknown plan"
        seats = f"{seen.seat_count} seats" if seen.seat_count is not None else ""
        shown = ", ".join(filter(None, (seen.status, plan, seats)))
        events = plain(", ".join(held.provenance.event_ids)) or "no event yet"
        click.echo(
            f"subscription {plain(seen.subscription_id)}: {plain(shown)}; "
            f"as of {moment(held.provenance.observed_at)}, from {events}{link(seen.subscription_id)}"
        )
    for view in explanation.state.views:
        click.echo(_provisional(view))
    for clock, frozen_at in sorted(explanation.state.clocks.items()):
        click.echo(f"test clock {plain(clock)}: {moment(frozen_at)}")
    click.echo("")
    if explanation.cut:
        click.echo("… earlier events are not shown; use --limit or --since to see more")
    for entry in explanation.timeline:
        _print_entry(entry)
    if not explanation.timeline:
        click.echo("No event for this tenant was received in this period.")


def _provisional(view: ProvisionalView) -> str:
    """Say of an object how it is shown, and for how long."""
    name, operation = f"provisional {view.kind} {plain(view.object_id)}", plain(view.operation_key)
    due = f"refetch due {moment(view.refetch_due_at)}"
    if view.answered_at is None:
        return f"{name}: the answer to operation {operation} was a repeated one and is not shown; {due}"
    return f"{name}: shown as answered to operation {operation} at {moment(view.answered_at)}, until its events; {due}"


def _print_attention(attention: Attention, tenant_id: str) -> None:
    if attention.needed:
        click.echo(
            f"needs attention: {attention.dead_events} events failed permanently; "
            f"run `billing events list --status dead --tenant {plain(tenant_id)}`"
        )
    for each in attention.uncertain:
        flaws = ("incomplete", not each.complete), ("ambiguous", each.basis.ambiguous)
        flawed = " and ".join(flaw for flaw, present in flaws if present)
        click.echo(f"uncertain {each.kind} {plain(each.object_id)}: {flawed} until it is fetched from Stripe")


def _print_entry(entry: TimelineEntry) -> None:
    event = entry.event
    if event is None:
        click.echo(plain(entry.decision))
        _print_transition(entry.transitions[0])
        return
    click.echo(f"{moment(event.received_at)}  {plain(event.type)}  {plain(event.key.event_id)}")
    click.echo(f"    created {moment(event.created_at)}")
    if event.duplicates:
        click.echo(f"    received {event.duplicates} more times, last {moment(event.last_duplicate_at)}")
    for attempt in entry.attempts:
        error = plain(attempt.error or "")
        click.echo(f"    {moment(attempt.failed_at)} attempt {attempt.attempt} failed ({attempt.reason}): {error}")
    shown = any(attempt.error == event.error for attempt in entry.attempts)
    click.echo(f"    {plain(entry.decision)}" + (f" ({plain(event.error)})" if event.error and not shown else ""))
    for transition in entry.transitions:
        _print_transition(transition)


def _print_transition(transition: Transition) -> None:
    click.echo(f"    message {transition.sequence}: {transition.event_type}, {plain(transition.summary)}")
    for each in transition.changes:
        click.echo(f"      {each.field}: {_value(each.before)} → {_value(each.after)}")
    until = f", until {moment(transition.access.until)}" if transition.access.until else ""
    click.echo(f"      access after it: {plain(transition.access.state)} ({plain(transition.access.reason)}){until}")


def _value(value: object) -> str:
    return plain(value) if isinstance(value, str) else value_text(value)
