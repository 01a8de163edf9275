"""`billing gateway`: what was asked of the provider and has no outcome yet, and how to give it up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.options import by_option, not_blank
from billing_app.cli.terminal import NOTHING_MATCHED, confirm, json_option, moment, plain, print_json
from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_app.spans import span

if TYPE_CHECKING:
    from billing_core.operations.stored import StoredOperation


def _standing(operation: StoredOperation) -> str:
    if operation.leased_until > operation.read_at:
        return f"in progress, attempt {operation.attempts}"
    if operation.undecided:
        return "never sent; a worker removes it"
    how = "is looked up at Stripe" if operation.key_expired else "is sent again with the same key"
    return f"interrupted after attempt {operation.attempts}; {how} by a worker"


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
        "last_error": operation.last_error,
        "in_progress": operation.leased_until > operation.read_at,
        "begun_at": operation.begun_at,
        "age_seconds": (operation.read_at - operation.begun_at).total_seconds(),
    }


OPERATIONS: Final = Listing["StoredOperation"](
    "operations",
    [
        Column("begun", lambda operation: operation.begun_at),
        Column("key", lambda operation: operation.key),
        Column("tenant", lambda operation: operation.request.tenant_id),
        Column("operation", lambda operation: operation.request.operation),
        Column("subject", lambda operation: operation.request.subject),
        Column("by", lambda operation: operation.request.actor),
        Column("request", lambda operation: operation.request.request_id),
        Column("standing", _standing),
        Column("error", lambda operation: operation.last_error, cut=True),
    ],
    _to_json,
)


@click.group()
def gateway() -> None:
    """Inspect operations, such as a plan change, on their way to Stripe."""


@gateway.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show at most this many.")
@OPERATIONS.options
def pending(limit: int, output: Output[StoredOperation]) -> None:
    """List operations whose outcome is not known yet, the oldest first.

    Most of them are in progress. Those that were interrupted are settled by any worker: they are sent again with the
    same idempotency key for 23 hours, and looked up at Stripe afterwards. Nothing is ever done twice. One whose last
    error stays the same can be given up: `billing gateway give-up`.

    \b
    billing gateway pending --sort begun
    """
    output.show(asyncio.run(_pending(Settings.for_command(), limit)), nothing="No operation is pending.")


async def _pending(settings: Settings, limit: int) -> Sequence[StoredOperation]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.operation_log().unresolved(limit=limit)


class OperationInProgressError(OperatorError):
    """The operation is in progress, or was resolved by now."""

    exit_code = 1


@gateway.command(name="give-up")
@click.argument("key", metavar="ID")
@click.option("--why", required=True, callback=not_blank, help="What you found out, for the record.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@by_option("Your name, for the record.")
@json_option
def give_up(*, key: str, why: str, yes: bool, by: str, as_json: bool) -> None:
    """End the operation ID (bo_…) although it is not known whether Stripe carried it out.

    Look at its object in the Stripe dashboard first. No worker settles the operation any more, its idempotency key is
    never used again, and other changes of the same object are possible at once. Its caller is answered `given_up`
    and has to decide again, with a new request id. Nothing changes at Stripe.

    \b
    billing gateway give-up bo_123 --why 'the dashboard shows no change'

    Exit status: 0 done, 1 in progress, 2 wrong usage or configuration, 3 no such operation without an outcome.
    """
    given_up = asyncio.run(_give_up(Settings.for_command(), key, reason=why, actor=by, yes=yes))
    if given_up is None:
        click.echo(f"No pending operation has the id {plain(key)!r}. See `billing gateway pending`.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)
    if as_json:
        print_json({**_to_json(given_up), "given_up_by": by, "given_up_reason": why})
    else:
        click.echo(f"Gave up {plain(key)}. Further changes of {plain(given_up.request.subject)} are possible.")


async def _give_up(settings: Settings, key: str, *, reason: str, actor: str, yes: bool) -> StoredOperation | None:
    from billing_app.container import open_tools
    from billing_core.operations.stored import OperationStatus

    async with open_tools(settings) as tools:
        log = tools.operation_log()
        operation: StoredOperation | None = await log.find(key)
        if operation is None or operation.status is not OperationStatus.BEGUN:
            return None
        if operation.leased_until > operation.read_at:
            raise OperationInProgressError(f"{plain(key)} is in progress. Wait until {moment(operation.leased_until)}.")
        click.echo("\n".join(_lines(operation)), err=True)
        for each in _consequences(operation):
            click.echo(each, err=True)
        confirm("Give it up?", yes=yes)
        audit = await tools.audit_log().begin("give_up", actor=actor, reason=reason, filter={"operation": key})
        done = await log.give_up(operation, actor=actor, reason=reason)
        await tools.audit_log().finish(audit, {"given_up": done})
        if not done:
            raise OperationInProgressError(
                f"{plain(key)} was taken over in the meantime. See `billing gateway pending`."
            )
        return operation


def _consequences(operation: StoredOperation) -> Iterator[str]:
    """Yield what is known of an operation, and what giving it up means."""
    if operation.undecided:
        yield "  It was never sent: nothing can have happened at Stripe."
    else:
        command = "a command of another release" if operation.command is None else operation.command.operation
        yield f"  {plain(command)} was sent first at {moment(operation.planned_at)}. What became of it is not known."
        yield f"  Whatever it made has the metadata billing_operation={operation.key} at Stripe."
    request_id = plain(operation.request.request_id)
    yield f"  Request {request_id} is answered `given_up` from then on, and its key is never used again."


def _lines(operation: StoredOperation) -> Iterator[str]:
    request = operation.request
    yield plain(f"{operation.key}  {request.tenant_id}  {request.operation}  {request.subject}")
    asked = f"asked {moment(operation.begun_at)} ({span(operation.read_at - operation.begun_at)} ago)"
    yield plain(f"  {asked} by {request.actor}, request {request.request_id}")
    yield f"  {_standing(operation)}"
    if operation.last_error is not None:
        yield plain(f"  last error: {operation.last_error}")
