"""Judging: how an object stands once one more event of it is counted in, whatever the order in which events come."""

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import attrs

from billing_core.events import Claim, Effect, Snapshot, Translation
from billing_core.model import (
    DELETED,
    CustomerSnapshot,
    EntitlementsSnapshot,
    EventId,
    InvoiceSnapshot,
    Order,
    Provenance,
    RecordSnapshot,
    Sighting,
    SubscriptionSnapshot,
    Tracked,
    Uncertainty,
    UncertaintyKind,
    compare,
    decide,
)

S = TypeVar("S", SubscriptionSnapshot, InvoiceSnapshot, CustomerSnapshot, RecordSnapshot)


class Evidence(Protocol):
    """Looks up what another event said of the object of a snapshot."""

    def __call__(self, event_id: EventId, snapshot: S) -> Sighting[S] | None:
        """What the event said; None when its body is not kept any more."""
        ...


@attrs.frozen(kw_only=True)
class Work:
    """One claimed event and what it says, read in our terms."""

    claim: Claim
    translation: Translation

    @property
    def event_id(self) -> EventId:
        """The provider event's id."""
        return self.claim.event.event_id

    @property
    def created_at(self) -> datetime:
        """When the provider made the event."""
        return self.claim.event.created_at


@attrs.frozen(kw_only=True)
class ProviderAnswer:
    """What the provider said when it was asked about an object in doubt, read in our terms."""

    translation: Translation
    basis: Provenance
    """What the doubted state rests on; the answer rests on the same, and leaves no doubt."""

    @property
    def event_id(self) -> EventId:
        """The last of the events that the state rests on."""
        return self.basis.event_ids[-1]

    @property
    def created_at(self) -> datetime:
        """When that event was made: what the provider says now is dated back, so that later events outrank it."""
        return self.basis.observed_at


Statement = Work | ProviderAnswer
"""Something the provider said."""


@attrs.frozen
class Resolution(Generic[S]):
    """An object once an event is counted in: its snapshot, what that rests on, and what became of the event."""

    snapshot: S
    provenance: Provenance
    effect: Effect = Effect.CONFIRMED
    """Of the event, should nothing have changed by it."""


def resolve(
    known: S | None, provenance: Provenance | None, seen: S, work: Statement, evidence: Evidence
) -> Resolution[S]:
    """How an object stands once an event is counted in.

    Args:
        known: the object as it is held; None when this is the first event of it.
        provenance: what that rests on.
        seen: what the event shows.
        work: the event.
        evidence: what others said of the object, for a tie.
    """
    seen_at = work.created_at
    if isinstance(work, ProviderAnswer):
        return Resolution(seen, attrs.evolve(work.basis, ambiguous=False))
    latest = Resolution(seen, Provenance(observed_at=seen_at, event_ids=(work.event_id,)))
    if known is None or provenance is None:
        return latest
    if work.event_id in provenance.event_ids:
        return _count_in_again(known, provenance, latest, work.event_id, evidence)
    match compare(known, provenance.observed_at, seen, seen_at):
        case Order.STALE:
            return Resolution(known, provenance, Effect.STALE)
        case Order.NEWER:
            return latest
        case Order.TIE:
            return _break_tie(known, provenance, seen, work.event_id, evidence)


def _break_tie(known: S, provenance: Provenance, seen: S, event_id: EventId, evidence: Evidence) -> Resolution[S]:
    group = _with_event(provenance, event_id)
    if needs_no_evidence(known, provenance, seen):
        return Resolution(known, group)
    sightings = [evidence(member, seen) or Sighting(event_id=member, after=known) for member in group.event_ids]
    return _decided(group, sightings)


def _count_in_again(
    known: S, provenance: Provenance, latest: Resolution[S], event_id: EventId, evidence: Evidence
) -> Resolution[S]:
    """How an object stands that rests on this very event: as the events say, whatever happened to its row.

    Its stage of life is part of what may have been damaged, so nothing is compared. What the provider was asked
    about stands: a replay knows no better, for the events were ambiguous or showed a part only.
    """
    group = attrs.evolve(provenance, observed_at=latest.provenance.observed_at)
    if needs_no_evidence(known, provenance, latest.snapshot):
        return Resolution(known, group)
    seen = latest.snapshot
    members = [  # what is held, of a member whose body is not kept or that shows no object
        evidence(member, seen) or Sighting(event_id=member, after=seen if member == event_id else known)
        for member in group.event_ids
    ]
    resolution = _decided(group, members)
    unsure = resolution.provenance.ambiguous or is_incomplete(resolution.snapshot)
    if unsure and not (provenance.ambiguous or is_incomplete(known)):
        return Resolution(known, provenance)
    return resolution


def _with_event(provenance: Provenance, event_id: EventId) -> Provenance:
    if event_id in provenance.event_ids:
        return provenance
    return attrs.evolve(provenance, event_ids=tuple(sorted((*provenance.event_ids, event_id))))


def _decided(group: Provenance, members: Sequence[Sighting[S]]) -> Resolution[S]:
    """How an object stands that rests on a group of events.

    Only those of the highest stage of life count: beside them others are there if the row was damaged when they came.
    """
    stage = max(member.after.precedence for member in members)
    leading = [member for member in members if member.after.precedence == stage]
    decision = decide(leading)
    event_ids = tuple(member.event_id for member in leading)
    return Resolution(decision.snapshot, attrs.evolve(group, event_ids=event_ids, ambiguous=decision.ambiguous))


def uncertainty_of(held: Tracked) -> Uncertainty | None:
    """Why the provider should be asked about an object, if it should. It is not asked about most records."""
    seen, basis = held.snapshot, held.provenance
    if seen is None or basis is None:
        return None
    match seen:
        case SubscriptionSnapshot():
            kind: UncertaintyKind = "subscription"
        case InvoiceSnapshot():
            kind = "invoice"
        case CustomerSnapshot():
            kind = "customer"
        case EntitlementsSnapshot():
            kind = "entitlements"
        case _:
            return None
    uncertain = basis.ambiguous or is_incomplete(seen)
    return Uncertainty(kind=kind, object_id=seen.object_id, basis=basis) if uncertain else None


def is_incomplete(seen: Snapshot) -> bool:
    """Whether a snapshot shows a part of its object, so that the provider has to be asked for the rest."""
    match seen:
        case InvoiceSnapshot():
            return not seen.lines_complete and seen.status != DELETED
        case EntitlementsSnapshot():
            return not seen.complete
        case _:
            return False


def needs_no_evidence(known: Snapshot, provenance: Provenance, seen: Snapshot) -> bool:
    """Whether a tie is none: the only other event of that second says the same."""
    return seen == known and len(provenance.event_ids) == 1
