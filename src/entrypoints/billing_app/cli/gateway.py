"""`billing gateway`: what was asked of the provider and has no outcome yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from billing_app.cli.terminal import json_option, moment, plain, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.operations.stored import StoredOperation


@click.group()
def gateway() -> None:
    """Inspect operations, such as a plan change, on their way to Stripe."""


@gateway.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show at most this many.")
@json_option
def pending(limit: int, as_json: bool) -> None:
    """List operations whose outcome is not known yet, the oldest first.

    Most of them are in progress. Those that were interrupted are settled by any worker: they are sent again with the
    same idempotency key for 23 hours, and looked up at Stripe afterwards. Nothing is ever done twice.
    """
    found = asyncio.run(_pending(Settings.load(), limit))
    if as_json:
        print_json({"operations": [_to_json(operation) for operation in found]})
        return
    for operation in found:
        click.echo("\n".join(_lines(operation)))
    if not found:
        click.echo("No operation is pending.")


async def _pending(settings: Settings, limit: int) -> Sequence[StoredOperation]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.operation_log().unresolved(limit=limit)


def _lines(operation: StoredOperation) -> Iterator[str]:
    request = operation.request
    yield plain(f"{operation.key}  {request.tenant_id}  {request.operation}  {request.subject}")
    asked = f"asked {moment(operation.begun_at)} ({_span(operation.read_at - operation.begun_at)} ago)"
    yield plain(f"  {asked} by {request.actor}, request {request.request_id}")
    yield f"  {_standing(operation)}"


def _standing(operation: StoredOperation) -> str:
    if operation.leased_until > operation.read_at:
        return f"in progress, attempt {operation.attempts}"
    if operation.command is None:
        return "never sent; a worker removes it"
    how = "is looked up at Stripe" if operation.key_expired else "is sent again with the same key"
    return f"interrupted after attempt {operation.attempts}; {how} by a worker"


def _span(span: timedelta) -> str:
    """Format a span in its largest unit."""
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if span.total_seconds() >= seconds:
            return f"{span.total_seconds() // seconds:.0f} {unit}"
    return f"{span.total_seconds():.0f} s"


def _to_json(operation: StoredOperation) -> dict[str, Any]:
    request = operation.request
    return {
        "key": operation.key,
        "tenant_id": request.tenant_id,
        "operation": request.operation,
        "request_id": request.request_id,
        "subject": request.subject,
        "actor": request.actor,
        "command": None if operation.command is None else operation.command.operation,
        "number": operation.number,
        "attempts": operation.attempts,
        "in_progress": operation.leased_until > operation.read_at,
        "begun_at": operation.begun_at,
        "age_seconds": (operation.read_at - operation.begun_at).total_seconds(),
    }
