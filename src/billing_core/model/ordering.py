"""Which of two snapshots of one object is the later truth.

The provider delivers late, twice and out of order, and stamps events with whole seconds. So the state of an object is
defined as a function of the *set* of events known of it, never of their arrival:

1. higher `precedence` wins: a life that has ended does not resume, a finalized invoice is no draft again;
2. then the newer `created` wins;
3. what is left is a tie group. Each `updated` event in it is an edge from the snapshot it overwrote to the snapshot it
   carries; the true history is a walk over all edges, and its end does not depend on the order they are found in.

See docs/adr/0002-order-of-snapshots.md.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Generic, Protocol, TypeVar

import attrs

from billing_core.model.identifiers import EventId
from billing_core.model.time import aware


class Snapshot(Hashable, Protocol):
    """What an event says of one object: a value, compared by its content."""

    @property
    def object_id(self) -> str:
        """Which object it is, unique over all kinds."""
        ...

    @property
    def precedence(self) -> int:
        """Stage of the object's life. Lives only move up; equal stages are ordered by time."""
        ...

    @property
    def progress(self) -> int:
        """A count that never falls within a stage; decides a tie the edges leave open. 0 where there is none."""
        ...


S = TypeVar("S", bound=Snapshot)


@attrs.frozen(kw_only=True)
class Provenance:
    """Which events the state of an object rests on."""

    observed_at: datetime = attrs.field(validator=aware)
    """The provider's `created` of the deciding event: whole seconds."""
    event_ids: tuple[EventId, ...]
    """Every event of this precedence known at that second, by their ids: never in order of arrival. Usually one."""
    ambiguous: bool = False
    """The tie could not be decided by what the events say: the choice is the same everywhere, but may be wrong."""


class Order(Enum):
    """How an arriving snapshot stands to the known one."""

    NEWER = "newer"
    STALE = "stale"
    TIE = "tie"


def compare(known: Snapshot, known_at: datetime, seen: Snapshot, seen_at: datetime) -> Order:
    """Place `seen` against what is known, by precedence, then by time."""
    mine, theirs = (known.precedence, known_at), (seen.precedence, seen_at)
    if theirs > mine:
        return Order.NEWER
    return Order.TIE if theirs == mine else Order.STALE


@attrs.frozen(kw_only=True)
class Sighting(Generic[S]):
    """One member of a tie group: the snapshot an event carries and, of an update, the one it overwrote."""

    event_id: EventId
    after: S
    before: S | None = None
    creation: bool = False
    """The event says that the object was made: whatever else the group holds came later."""


@attrs.frozen(kw_only=True)
class Decision(Generic[S]):
    """The end of a tie group's walk."""

    snapshot: S
    ambiguous: bool


def decide(group: Sequence[Sighting[S]]) -> Decision[S]:
    """Find the snapshot in which a tie group ends; the same for every order of `group`. `group` is not empty.

    When the edges do not single out one end (an event type that is not subscribed leaves an edge out), progress
    decides; else the choice falls to the greatest event id: arbitrary, but equal on every machine, marked ambiguous.
    """
    later = [sighting for sighting in group if not sighting.creation] or list(group)
    ends = _ends_of_walk(group, later)
    candidates = [sighting for sighting in later if sighting.after in ends] or later
    furthest = max(sighting.after.progress for sighting in candidates)
    candidates = [sighting for sighting in candidates if sighting.after.progress == furthest]
    last = max(candidates, key=lambda sighting: sighting.event_id)
    return Decision(snapshot=last.after, ambiguous=any(sighting.after != last.after for sighting in candidates))


def _ends_of_walk(group: Iterable[Sighting[S]], later: Iterable[Sighting[S]]) -> set[S]:
    """Snapshots that are entered once more than they are left; empty when every walk is a circle.

    A snapshot that is stated without an edge (the twin of an update, say) has to lie on the walk of the others: one
    that does not is a rival end.
    """
    balance: Counter[S] = Counter()
    touched: set[S] = set()
    for sighting in group:
        if sighting.creation:
            balance[sighting.after] += 1
        elif sighting.before is not None and sighting.before != sighting.after:
            balance[sighting.after] += 1
            balance[sighting.before] -= 1
            touched |= {sighting.before, sighting.after}
    ends = {snapshot for snapshot, surplus in balance.items() if surplus > 0}
    rivals = {sighting.after for sighting in later if sighting.after not in touched}
    return (ends & touched) | rivals if touched else rivals
