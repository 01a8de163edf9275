"""The bodies of operators' requests. Everything that writes says why."""

from datetime import datetime
from typing import Literal

import attrs

from billing_app.http.operations.problems import Problem
from billing_core.events import Disposition
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId, TenantId

LONGEST_WHY = 500


@attrs.frozen(kw_only=True)
class WhyBody:
    """The reason of an action, for the audit log."""

    why: str


@attrs.frozen(kw_only=True)
class FilterBody:
    """Conditions on events, combined with AND."""

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Globs of event types, such as `invoice.*`, combined with OR."""
    tenant: str | None = None
    customer: str | None = None
    statuses: tuple[Literal["due", "leased", "applied", "ignored", "parked", "dead"], ...] = ()
    reasons: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@attrs.frozen(kw_only=True)
class IgnoreBody(WhyBody):
    """Events that will never be applied."""

    filter: FilterBody
    confirm: int
    """The number of matching events, as the operator saw it."""


def why_of(body: WhyBody) -> str:
    """Return the reason of an action. Raises Problem (400) if it is blank or too long."""
    why = body.why.strip()
    if not 0 < len(why) <= LONGEST_WHY:
        raise Problem(400, "bad_request", f"why must have 1 to {LONGEST_WHY} characters that are not spaces.")
    return why


def filter_of(body: FilterBody) -> EventFilter:
    """Return the conditions of a body. Raises Problem (400) if there are none: they would select every event."""
    wanted = EventFilter(
        ids=tuple(map(EventId, body.ids)),
        types=body.types,
        tenant_id=None if body.tenant is None else TenantId(body.tenant),
        customer_id=None if body.customer is None else CustomerId(body.customer),
        statuses=tuple(map(Disposition, body.statuses)),
        reasons=body.reasons,
        since=body.since,
        until=body.until,
    )
    if not wanted.describe():
        raise Problem(400, "bad_request", "filter must have at least one condition.")
    return wanted
