"""Options that select stored events, shared by the commands, and the exit when no event matches."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from billing_core.inbox.selection import EventFilter

NOTHING_MATCHED: Final = 3
"""Exit status of a command that found nothing."""

_STATUSES: Final = ("due", "leased", "applied", "ignored", "parked", "dead")
_DURATION: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta | None:
    """Parse a duration such as `90s`, `15m`, `2h`, `3d` or `1w`; None if it is not one."""
    found = _DURATION.fullmatch(text.strip())
    return None if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})


def parse_moment(text: str, now: datetime) -> datetime | None:
    """Parse a duration before `now` or an ISO 8601 date (UTC unless it has an offset); None if it is neither."""
    try:
        if (duration := parse_duration(text)) is not None:
            return now - duration
        instant = datetime.fromisoformat(text.strip())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment_option(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """Parse the value of an option that takes a moment."""
    moment = None if text is None else parse_moment(text, datetime.now(UTC))
    if text is not None and moment is None:
        raise click.BadParameter(
            f"{text!r} is neither a duration before now (30m, 2h, 3d) nor a date (2026-03-01T12:00)"
        )
    return moment


def duration_option(_ctx: click.Context, _param: click.Parameter, text: str | None) -> timedelta | None:
    """Parse the value of an option that takes a duration."""
    found = None if text is None else parse_duration(text)
    if text is not None and found is None:
        raise click.BadParameter(f"{text!r} is not a duration: a number and s, m, h, d or w, such as 90d")
    return found


def event_filter(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the selecting options to a command, which receives them as `wanted`, an EventFilter."""

    @click.option("--id", "ids", multiple=True, metavar="EVT", help="Stripe event id; may be repeated.")
    @click.option("--type", "types", multiple=True, metavar="GLOB", help="Type, such as invoice.*; may be repeated.")
    @click.option("--tenant", help="Events of this tenant.")
    @click.option("--customer", metavar="CUS", help="Events of this customer, including waiting ones.")
    @click.option("--status", "statuses", multiple=True, type=click.Choice(_STATUSES), help="Status; may be repeated.")
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
