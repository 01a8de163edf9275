"""Options that select stored events, shared by the commands, and the exit when no event matches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from billing_app.cli.events.rendering import STATUSES
from billing_app.cli.options import moment_option
from billing_app.cli.terminal import NOTHING_MATCHED

if TYPE_CHECKING:
    from billing_core.inbox.selection import EventFilter


def event_filter(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the selecting options to a command, which receives them as `wanted`, an EventFilter."""

    @click.option("--id", "ids", multiple=True, metavar="EVT", help="Stripe event id; may be repeated.")
    @click.option("--type", "types", multiple=True, metavar="GLOB", help="Type, such as invoice.*; may be repeated.")
    @click.option("--tenant", help="Events of this tenant.")
    @click.option("--customer", metavar="CUS", help="Events of this customer, including waiting ones.")
    @click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Status; may be repeated.")
    @click.option("--reason", "reasons", multiple=True, help="Reason of the status; may be repeated.")
    @click.option(
        "--since",
        metavar="WHEN",
        callback=moment_option,
        help="Received since then: 30m, 2h, 3d or 2026-03-01T12:00 (UTC).",
    )
    @click.option("--until", metavar="WHEN", callback=moment_option, help="Received before then.")
    @functools.wraps(command)
    def with_filter(
        *,
        ids: tuple[str, ...],
        types: tuple[str, ...],
        tenant: str | None,
        customer: str | None,
        statuses: tuple[str, ...],
        reasons: tuple[str, ...],
        since: datetime | None,
        until: datetime | None,
        **others: Any,
    ) -> Any:
        from billing_core.events import Disposition
        from billing_core.inbox.selection import EventFilter
        from billing_core.model import CustomerId, EventId, TenantId

        wanted = EventFilter(
            ids=tuple(map(EventId, ids)),
            types=types,
            tenant_id=None if tenant is None else TenantId(tenant),
            customer_id=None if customer is None else CustomerId(customer),
            statuses=tuple(map(Disposition, statuses)),
            reasons=reasons,
            since=since,
            until=until,
        )
        return command(wanted=wanted, **others)

    return with_filter


def demand_condition(wanted: EventFilter) -> None:
    """Refuse to act on all events: a forgotten option must not select everything."""
    if not wanted.describe():
        raise click.UsageError("Select events with --id, --type, --tenant, --status or --since (see --help).")


def nothing_matched() -> NoReturn:
    """End a command that found nothing."""
    click.echo("No stored event matches.", err=True)
    raise click.exceptions.Exit(NOTHING_MATCHED)
