"""The results of what `BillingService` does, each after its commit."""

from collections.abc import Mapping, Sequence
from enum import Enum

import attrs

from billing_core.events import BillingEvent, Outcome
from billing_core.model import AccessGrant, AccessState, AccessVerdict, ProvisionalView, TenantId, Uncertainty
from billing_core.state.diff import ObjectChange


@attrs.frozen(kw_only=True)
class AppliedBatch:
    """The result of one batch, after its commit."""

    outcomes: Sequence[Outcome]
    """One for each claim that was still ours."""
    events: Sequence[BillingEvent]
    """The new messages, each tenant's in order of their numbers."""
    released: bool = False
    """Events that waited for a link or an object of the batch are due now."""
    uncertainties: Sequence[Uncertainty] = ()
    """Changed objects that need a refetch."""


@attrs.frozen(kw_only=True)
class ComparedAccess:
    """A tenant's access before and after a batch, decided for the same instant."""

    before: AccessVerdict
    after: AccessVerdict


@attrs.frozen(kw_only=True)
class DryRun:
    """The result that applying a batch would have. Nothing was changed."""

    outcomes: Sequence[Outcome]
    """One for each event that is not being processed elsewhere."""
    events: Sequence[BillingEvent]
    """The messages that would be created, with the numbers they would get now."""
    differences: Sequence[ObjectChange]
    access: Mapping[TenantId, ComparedAccess] = attrs.field(factory=dict)
    """The access of each tenant that the events concern. Empty in a preview of rules."""


class RefetchResult(Enum):
    """The end of one attempt to settle an uncertainty."""

    REFETCHED = "refetched"
    """The provider's answer was written, whether it changed anything or not."""
    OVERTAKEN = "overtaken"
    """The object changed during the fetch: this uncertainty is settled, and there may be a new one."""
    INCOMPLETE = "incomplete"
    """The provider's answer was written, but it shows only a part of the object, too."""
    UNKNOWN = "unknown"
    """The provider does not show the object, or an earlier stage of its life: the uncertainty stays."""


@attrs.frozen(kw_only=True)
class RefetchOutcome:
    """The result of one attempt to settle an uncertainty, after its commit."""

    result: RefetchResult
    events: Sequence[BillingEvent] = ()


@attrs.frozen(kw_only=True)
class Ingested:
    """The result of taking in a snapshot, after its commit."""

    events: Sequence[BillingEvent] = ()
    """The messages about what is shown differently now."""
    view: ProvisionalView | None = None
    """On a provisional basis: what stands beside the row now. None if the row is as new as the answer."""
    outcome: Outcome | None = None
    """On an event's basis: its outcome; None if the claim was lost."""
    refetch: RefetchResult | None = None
    """On the basis of an uncertainty: its end."""
    uncertainties: Sequence[Uncertainty] = ()
    """Objects that need a refetch now."""


@attrs.frozen(kw_only=True)
class ReviewedTenants:
    """The result of one batch of tenants whose access was due, after its commit."""

    count: int = 0
    events: Sequence[BillingEvent] = ()
    """A message to each of those whose access is another one than it knew."""
    states: Sequence[AccessState] = ()
    """The state that each of these messages tells."""


@attrs.frozen(kw_only=True)
class GrantResult:
    """A grant after its commit, and the message about it."""

    grant: AccessGrant
    events: Sequence[BillingEvent] = ()
    """Empty if nothing changed."""
