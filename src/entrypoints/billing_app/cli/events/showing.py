"""`billing events show`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import attrs
import click

from billing_app.cli.events.filters import nothing_matched
from billing_app.cli.events.rendering import changes_to_json, event_to_json, standing
from billing_app.cli.terminal import moment, plain
from billing_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing_core.events import BillingEvent
    from billing_core.oversight.explain import Transition
    from billing_core.oversight.inspection import FailedAttempt, StoredEvent
    from billing_core.stream.ports import MessageHistory


@attrs.frozen(kw_only=True)
class _Found:
    """An event with everything around it."""

    event: StoredEvent
    attempts: Sequence[FailedAttempt]
    transitions: Sequence[Transition]
    """What its tenant was told because of it."""
    body: bytes | None


@click.command()
@click.argument("event_id", metavar="EVT")
@click.option("--raw", is_flag=True, help="Print the body alone, byte by byte as it was received.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(event_id: str, raw: bool, as_json: bool) -> None:
    """Show an event: envelope, attempts with their errors, and the changes and messages it caused.

    One id can stand for several events, of different accounts or modes; all are shown.
    """
    if raw and as_json:
        raise click.UsageError("--raw prints bytes and --json prints JSON: choose one.")
    found = asyncio.run(_find(Settings.load(), event_id))
    if not found:
        nothing_matched()
    if raw:
        _print_body(found)
    elif as_json:
        click.echo(json.dumps({"events": [_to_json(one) for one in found]}))
    else:
        for one in found:
            _print(one)


async def _find(settings: Settings, event_id: str) -> Sequence[_Found]:
    from billing_app.container import open_operations
    from billing_core.inbox.selection import EventFilter
    from billing_core.model import EventId

    async with open_operations(settings) as operations:
        log = operations.log
        return [
            _Found(
                event=event,
                attempts=await log.attempts(event.dispatch_id),
                transitions=[
                    await _transition(operations.history, message)
                    for message in await log.messages(event.key.event_id)
                    if message.tenant_id == event.tenant_id
                ],
                body=await log.body(event.dispatch_id),
            )
            for event in await log.find(EventFilter(ids=(EventId(event_id),)), before=None, limit=100)
        ]


async def _transition(history: MessageHistory, message: BillingEvent) -> Transition:
    """What a message says changed, against what its tenant was told before."""
    from billing_core.oversight.explain import MESSAGES_BEFORE, transitions

    first = max(0, message.sequence - 1 - MESSAGES_BEFORE)
    notified = await history.events(message.tenant_id, after=first, limit=message.sequence - first)
    *_, (_, transition) = transitions(notified)
    return transition


def _to_json(found: _Found) -> dict[str, Any]:
    from billing_core.converters import to_plain

    return {
        **event_to_json(found.event),
        "failed_attempts": to_plain(found.attempts),
        "messages": [
            {
                "sequence": notified.sequence,
                "event_type": notified.event_type,
                "summary": notified.summary,
                "changes": changes_to_json(notified.changes),
            }
            for notified in found.transitions
        ],
    }


def _print_body(found: Sequence[_Found]) -> None:
    if len(found) > 1:
        raise click.UsageError("Several events have this id (accounts or modes): their bodies cannot be told apart.")
    body = found[0].body
    if body is None:
        raise click.ClickException("The body of this event was pruned; see `billing events prune`.")
    sys.stdout.buffer.write(body)


def _print(found: _Found) -> None:
    event = found.event
    lines = [
        ("event", f"{event.key.event_id} ({event.type})"),
        ("made", moment(event.created_at)),
        ("received", f"{moment(event.received_at)}, signed with secret {event.secret_slot}"),
        ("mode", ("live" if event.key.livemode else "test") + (f", {event.key.account}" if event.key.account else "")),
        ("API version", event.api_version or "none given"),
        ("stands", standing(event)),
        ("tenant", event.tenant_id or "none"),
        ("customer", event.customer_id or "none"),
        ("attempts", str(event.attempt)),
        ("body", "kept; --raw prints it" if event.body_kept else "pruned"),
    ]
    if event.duplicates:
        lines.append(("came again", f"{event.duplicates} times, last {moment(event.last_duplicate_at)}"))
    if event.error:
        lines.append(("error", event.error))
    for name, value in lines:
        click.echo(f"{name:<12} {plain(value)}")
    for attempt in found.attempts:
        text = f"{attempt.reason}: {attempt.error or ''}"
        click.echo(f"{'failed':<12} {moment(attempt.failed_at)} attempt {attempt.attempt}, {plain(text)}")
    for notified in found.transitions:
        click.echo(f"{'notified':<12} message {notified.sequence}: {notified.event_type}, {plain(notified.summary)}")
        for each in notified.changes:
            change = f"{json.dumps(each.before, default=str)} → {json.dumps(each.after, default=str)}"
            click.echo(f"{'':<12}   {each.field}: {plain(change)}")
    click.echo("")
