"""Resolve the state of an object once another event is counted in; the result does not depend on arrival order."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from billing_core.events import Effect
from billing_core.frozen import frozen
from billing_core.model import EventId, Order, Ordered, Provenance, Sighting, compare, decide
from billing_core.state.reading import ProviderAnswer, Statement

S = TypeVar("S", bound=Ordered)
S_co = TypeVar("S_co", bound=Ordered, covariant=True)


class Held(Protocol[S_co]):
    """An object as it is held; both are None until an event of it arrived."""

    @property
    def snapshot(self) -> S_co | None:
        """The deciding snapshot."""
        ...

    @property
    def provenance(self) -> Provenance | None:
        """The events that it rests on."""
        ...


class Evidence(Protocol):
    """Looks up what another event showed of a snapshot's object."""

    def __call__(self, event_id: EventId, snapshot: S) -> Sighting[S] | None:
        """Return what the event showed; None when its body is no longer kept."""
        ...


@frozen
class Resolution(Generic[S]):
    """An object once a statement is counted in: its snapshot, and the events it rests on."""

    snapshot: S
    provenance: Provenance
    effect: Effect = Effect.CONFIRMED
    """The event's effect, unless the object turns out to have changed."""


def resolve(known: Held[S] | None, seen: S, statement: Statement, evidence: Evidence) -> Resolution[S]:
    """Count a statement in.

    Args:
        known: the object as it is held; None when this is the first event of it.
        seen: the snapshot that the statement shows.
        statement: the event, or the provider's answer.
        evidence: looks up other events of the object, for a tie.
    """
    if isinstance(statement, ProviderAnswer):
        return Resolution(seen, attrs.evolve(statement.basis, ambiguous=False))
    event_id, seen_at = statement.event_id, statement.created_at
    latest = Resolution(seen, Provenance(observed_at=seen_at, event_ids=(event_id,)))
    if known is None or known.snapshot is None or known.provenance is None:
        return latest
    snapshot, provenance = known.snapshot, known.provenance
    if event_id in provenance.event_ids:
        return _count_in_again(snapshot, provenance, latest, event_id, evidence)
    match compare(snapshot, provenance.observed_at, seen, seen_at):
        case Order.STALE:
            return Resolution(snapshot, provenance, Effect.STALE)
        case Order.NEWER:
            return latest
        case Order.TIE:
            return _break_tie(snapshot, provenance, seen, event_id, evidence)


def needs_no_evidence(known: Ordered, provenance: Provenance, seen: Ordered) -> bool:
    """Tell whether there is no tie to break: the only other event of that second shows the same."""
    return seen == known and len(provenance.event_ids) == 1


def _break_tie(known: S, provenance: Provenance, seen: S, event_id: EventId, evidence: Evidence) -> Resolution[S]:
    group = _with_event(provenance, event_id)
    if needs_no_evidence(known, provenance, seen):
        return Resolution(known, group)
    sightings = [evidence(member, seen) or Sighting(event_id=member, after=known) for member in group.event_ids]
    return _decide_group(group, sightings)


def _count_in_again(
    known: S, provenance: Provenance, latest: Resolution[S], event_id: EventId, evidence: Evidence
) -> Resolution[S]:
    """Resolve an object that already rests on this event as its events say, even if its row was damaged.

    The stage of life may be damaged too, so nothing is compared. A refetched state stays: a replay knows no better,
    because the events were ambiguous or showed only a part.
    """
    group = attrs.evolve(provenance, observed_at=latest.provenance.observed_at)
    if needs_no_evidence(known, provenance, latest.snapshot):
        return Resolution(known, group)
    seen = latest.snapshot
    members = [  # the held snapshot stands in for a member whose body is not kept or that shows no object
        evidence(member, seen) or Sighting(event_id=member, after=seen if member == event_id else known)
        for member in group.event_ids
    ]
    resolution = _decide_group(group, members)
    uncertain = resolution.provenance.ambiguous or resolution.snapshot.partial
    if uncertain and not (provenance.ambiguous or known.partial):
        return Resolution(known, provenance)
    return resolution


def _with_event(provenance: Provenance, event_id: EventId) -> Provenance:
    if event_id in provenance.event_ids:
        return provenance
    return attrs.evolve(provenance, event_ids=tuple(sorted((*provenance.event_ids, event_id))))


def _decide_group(group: Provenance, members: Sequence[Sighting[S]]) -> Resolution[S]:
    """Resolve an object that rests on a group of events.

    Only members of the highest stage of life count: others are there only if the row was damaged when they arrived.
    """
    stage = max(member.after.precedence for member in members)
    leading = [member for member in members if member.after.precedence == stage]
    decision = decide(leading)
    event_ids = tuple(member.event_id for member in leading)
    return Resolution(decision.snapshot, attrs.evolve(group, event_ids=event_ids, ambiguous=decision.ambiguous))
