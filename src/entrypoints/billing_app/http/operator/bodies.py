"""The bodies of operators' requests. Everything that writes says why."""

from datetime import datetime
from typing import Literal, Protocol

import attrs

from billing_app.http.operations.problems import Problem
from billing_app.http.operator.parameters import DEFAULT_LIMIT
from billing_core.events import Disposition
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId, TenantId

LONGEST_WHY = 500


class Reasoned(Protocol):
    """A body that says why."""

    @property
    def why(self) -> str:
        """The reason, as the operator wrote it."""
        ...


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
class IgnoreWanted:
    """Events that will never be applied."""

    filter: FilterBody


@attrs.frozen(kw_only=True)
class IgnoreBody(IgnoreWanted):
    """Events to mark as ignored now."""

    why: str
    confirm: int
    """The number of matching events, as the operator saw it."""
    fingerprint: str | None = None
    """The `fingerprint` of the dry run: only those very events are ignored. Null: any of this number."""


def why_of(body: Reasoned) -> str:
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


@attrs.frozen(kw_only=True)
class SearchBody:
    """A search for customers. It may be an e-mail address, which must not stand in the address of a request."""

    text: str
    """Begins the id of a tenant or a customer, or is an e-mail address."""
    linked: bool | None = None
    """Whether they have a tenant; null: both."""
    after: str | None = None
    """The page starts after this id."""
    limit: int = DEFAULT_LIMIT


@attrs.frozen(kw_only=True)
class LinkBody(WhyBody):
    """A customer to link to a tenant."""

    customer_id: str
    tenant_id: str
    create: bool = False
    """Whether the tenant may be one that is not known."""


@attrs.frozen(kw_only=True)
class MoveWanted:
    """An object to give to another tenant."""

    object_id: str
    to_tenant: str
    keep_history: bool = False
    """Whether the former tenant keeps the content of its messages."""


@attrs.frozen(kw_only=True)
class MoveBody(MoveWanted):
    """A move to carry out."""

    why: str
    confirm: int
    """The number of objects that change, as the operator saw it."""
    fingerprint: str | None = None
    """The `fingerprint` of the dry run: only that very change is carried out. Null: any of this number of objects."""
    create: bool = False
    """Whether the tenant may be one that is not known."""


@attrs.frozen(kw_only=True)
class UnlinkWanted:
    """An object to take away from a tenant."""

    object_id: str
    from_tenant: str
    keep_history: bool = False


@attrs.frozen(kw_only=True)
class UnlinkBody(UnlinkWanted):
    """An object to take away now."""

    why: str
    confirm: int
    """The number of objects that change, as the operator saw it."""
    fingerprint: str | None = None
    """The `fingerprint` of the dry run: only that very change is carried out. Null: any of this number of objects."""


@attrs.frozen(kw_only=True)
class GrantBody(WhyBody):
    """Full access to a plan, until some time or until it is revoked."""

    plan_code: str
    until: datetime | None = None
    create: bool = False
    """Whether the tenant may be one that is not known."""
    force: bool = False
    """Whether the plan may be one that is not in the catalog."""


@attrs.frozen(kw_only=True)
class ReplayWanted:
    """Events to process again."""

    filter: FilterBody


@attrs.frozen(kw_only=True)
class ReplayBody(ReplayWanted):
    """A replay to carry out."""

    why: str
    confirm: int
    """The number of matching events, as the operator saw it."""
    fingerprint: str | None = None
    """The `fingerprint` of the dry run: only those very events are replayed. Null: any of this number."""
    rate: float | None = None
    """Events per second at most; no limit if it is null."""
    notify: bool = True
    """False: state is updated without messages to tenants."""
    force: bool = False
    """Whether to replay although the plans in force lack plans that subscriptions are on."""
