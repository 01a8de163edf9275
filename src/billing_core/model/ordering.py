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
    def precedence(self) -> int:
        """Stage of the object's life. Lives only move up; equal stages are ordered by time."""
        ...


S = TypeVar("S", bound=Snapshot)


@attrs.frozen(kw_only=True)
class Provenance:
    """Which events the state of an object rests on."""

    observed_at: datetime = attrs.field(validator=aware)
    """The provider's `created` of the deciding event: whole seconds."""
    event_ids: tuple[EventId, ...]
    """Every event of this precedence known at that second, in order of arrival. Usually one."""
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


@attrs.frozen(kw_only=True)
class Decision(Generic[S]):
    """The end of a tie group's walk."""

    snapshot: S
    ambiguous: bool


def decide(group: Sequence[Sighting[S]]) -> Decision[S]:
    """Find the snapshot in which a tie group ends; the same for every order of `group`. `group` is not empty.

    When the edges do not single out one end (an event type that is not subscribed leaves an edge out), the choice falls
    to the greatest event id: arbitrary, but equal on every machine, and marked ambiguous.
    """
    snapshots = {sighting.after for sighting in group}
    if len(snapshots) == 1:
        return Decision(snapshot=group[0].after, ambiguous=False)
    ends = _ends_of_walk(group)
    if len(ends) == 1:
        return Decision(snapshot=ends[0], ambiguous=False)
    candidates = [sighting for sighting in group if sighting.after in ends] or list(group)
    last = max(candidates, key=lambda sighting: sighting.event_id)
    return Decision(snapshot=last.after, ambiguous=True)


def _ends_of_walk(group: Iterable[Sighting[S]]) -> list[S]:
    """Snapshots that are entered once more than they are left.

    An edge that is stated twice by different events was walked twice; an event that states no change is no edge, but
    its snapshot still has to lie on the walk: one that does not is a rival end.
    """
    balance: Counter[S] = Counter()
    touched: set[S] = set()
    bare: set[S] = set()
    for sighting in group:
        if sighting.before is None or sighting.before == sighting.after:
            bare.add(sighting.after)
            continue
        balance[sighting.after] += 1
        balance[sighting.before] -= 1
        touched |= {sighting.before, sighting.after}
    ends = [snapshot for snapshot, surplus in balance.items() if surplus > 0]
    return ends + [snapshot for snapshot in bare if snapshot not in touched]
