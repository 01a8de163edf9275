"""`billing events show`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from billing_app.cli.events.filters import nothing_matched
from billing_app.cli.events.rendering import changes_to_json, event_to_json, status_text, value_text
from billing_app.cli.terminal import json_option, moment, plain, print_json
from billing_app.dashboard import dashboard_url
from billing_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing_core.oversight.event_details import EventDetails


@click.command()
@click.argument("event_id", metavar="EVT")
@click.option("--raw", is_flag=True, help="Print only the body, exactly as it was received.")
@json_option
def show(event_id: str, raw: bool, as_json: bool) -> None:
    """Show an event with its failed attempts and the changes and messages it caused.

    Events of different accounts or modes can share an id; all of them are shown.

    \b
    billing events show evt_123
    billing events show evt_123 --raw | jq .data.object
    """
    if raw and as_json:
        raise click.UsageError("--raw and --json cannot be combined.")
    found = asyncio.run(_find(Settings.for_command(), event_id))
    if not found:
        nothing_matched()
    if raw:
        _print_body(found)
    elif as_json:
        print_json({"events": [_to_json(one) for one in found]})
    else:
        for one in found:
            _print(one)


async def _find(settings: Settings, event_id: str) -> Sequence[EventDetails]:
    from billing_app.container import open_tools
    from billing_core.model import EventId
    from billing_core.oversight.event_details import find_by_id, read_details

    async with open_tools(settings) as tools:
        log = tools.event_log()
        return await read_details(await find_by_id(log, EventId(event_id)), log=log, history=tools.history())


def _to_json(found: EventDetails) -> dict[str, Any]:
    return {
        **event_to_json(found.event),
        "dashboard_url": dashboard_url(
            found.event.key.event_id, livemode=found.event.key.livemode, account=found.event.key.account or None
        ),
        "failed_attempts": found.attempts,
        "messages": [
            {
                "tenant_id": transition.tenant_id,
                "sequence": transition.sequence,
                "event_type": transition.event_type,
                "summary": transition.summary,
                "changes": changes_to_json(transition.changes),
            }
            for transition in found.transitions
        ],
    }


def _print_body(found: Sequence[EventDetails]) -> None:
    if len(found) > 1:
        raise click.UsageError("Several events have this id, in different accounts or modes. --raw needs a single one.")
    body = found[0].body
    if body is None:
        raise click.ClickException("The body of this event was pruned (see `billing events prune`).")
    sys.stdout.buffer.write(body)


def _print(found: EventDetails) -> None:
    event = found.event
    lines = [
        ("event", f"{event.key.event_id} ({event.type})"),
        ("created", moment(event.created_at)),
        ("received", f"{moment(event.received_at)}, signed with secret {event.secret_slot}"),
        ("mode", ("live" if event.key.livemode else "test") + (f", {event.key.account}" if event.key.account else "")),
        ("API version", event.api_version or "none given"),
        ("status", status_text(event)),
        ("tenant", event.tenant_id or "none"),
        ("customer", event.customer_id or "none"),
        ("attempts", str(event.attempt)),
        ("body", "stored; print it with --raw" if event.body_kept else "pruned"),
    ]
    if event.duplicates:
        lines.append(("duplicates", f"{event.duplicates}, last {moment(event.last_duplicate_at)}"))
    account = event.key.account or None
    if (url := dashboard_url(event.key.event_id, livemode=event.key.livemode, account=account)) is not None:
        lines.append(("dashboard", url))
    if event.error:
        lines.append(("error", event.error))
    for name, value in lines:
        click.echo(f"{name:<12} {plain(value)}")
    for attempt in found.attempts:
        text = f"{attempt.reason}: {attempt.error or ''}"
        click.echo(f"{'failed':<12} {moment(attempt.failed_at)} attempt {attempt.attempt}, {plain(text)}")
    for transition in found.transitions:
        to = "" if transition.tenant_id == event.tenant_id else f" to {plain(transition.tenant_id)}"
        click.echo(f"{'message':<12} {transition.sequence}{to}: {transition.event_type}, {plain(transition.summary)}")
        for each in transition.changes:
            click.echo(f"{'':<12}   {each.field}: {value_text(each.before)} → {value_text(each.after)}")
    click.echo("")
