"""Decide which of two snapshots of one object is the later truth.

The provider delivers late, twice and out of order, and stamps events with whole seconds. So the state of an object is
defined as a function of the *set* of events known of it, never of their arrival:

1. higher `precedence` wins: a life that has ended does not resume, a finalized invoice is no draft again;
2. then the newer `created` wins;
3. what is left is a tie group. Each `updated` event in it is an edge from the snapshot it overwrote to the snapshot it
   carries; the true history is a walk over all edges, and its end does not depend on the order they are found in.

See docs/adr/0002-order-of-snapshots.md.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import ClassVar, Generic, TypeVar

import attrs

from billing_core.frozen import frozen
from billing_core.model.identifiers import EventId
from billing_core.model.time import aware


class Ordered:
    """Base of every snapshot: what an event says of one object, a value compared by its content.

    Not an abstract base class: its metaclass would slow down each `isinstance` while events are folded.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The kind of object: it stands in rows, filters and metric labels."""
    refetchable: ClassVar[bool] = False
    """Whether the provider can be asked for the object as it is now."""

    @property
    def object_id(self) -> str:
        """The provider's id of the object: prefixed by kind, so unique over all kinds."""
        raise NotImplementedError

    @property
    def precedence(self) -> int:
        """Stage of the object's life. Lives only move up; equal stages are ordered by time."""
        return 0

    @property
    def progress(self) -> int:
        """A count that never falls within a stage; decides a tie the edges leave open."""
        return 0

    @property
    def partial(self) -> bool:
        """Whether only a part of the object is shown, so that the rest has to be fetched."""
        return False


S = TypeVar("S", bound=Ordered)


@frozen(kw_only=True)
class Provenance:
    """The events that the state of an object rests on."""

    observed_at: datetime = attrs.field(validator=aware)
    """The provider's `created` of the deciding event: whole seconds."""
    event_ids: tuple[EventId, ...]
    """Every event of this precedence known at that second, by their ids: never in order of arrival. Usually one."""
    ambiguous: bool = False
    """The events do not decide the tie: the choice is the same everywhere, but may be wrong."""


class Order(Enum):
    """Place of an arriving snapshot relative to the known one."""

    NEWER = "newer"
    STALE = "stale"
    TIE = "tie"


def compare(known: Ordered, known_at: datetime, seen: Ordered, seen_at: datetime) -> Order:
    """Place `seen` against what is known, by precedence, then by time."""
    mine, theirs = (known.precedence, known_at), (seen.precedence, seen_at)
    if theirs > mine:
        return Order.NEWER
    return Order.TIE if theirs == mine else Order.STALE


@frozen(kw_only=True)
class Sighting(Generic[S]):
    """One member of a tie group: the snapshot an event carries and, of an update, the one it overwrote."""

    event_id: EventId
    after: S
    before: S | None = None
    creation: bool = False
    """The event says that the object was created: every other event in the group came later."""


@attrs.frozen(kw_only=True)
class Decision(Generic[S]):
    """The end of a tie group's walk."""

    snapshot: S
    ambiguous: bool


def decide(group: Sequence[Sighting[S]]) -> Decision[S]:
    """Find the snapshot in which a tie group ends; the same for every order of `group`, which is not empty.

    When the edges do not single out one end (an event type that is not subscribed leaves an edge out), progress
    decides; else the choice falls to the greatest event id: arbitrary, but equal on every machine, marked ambiguous.
    """
    later = [member for member in group if not member.creation] or list(group)
    ends = _ends_of_walk(group, later)
    candidates = [member for member in later if member.after in ends] or later
    furthest = max(member.after.progress for member in candidates)
    candidates = [member for member in candidates if member.after.progress == furthest]
    last = max(candidates, key=lambda member: member.event_id)
    return Decision(snapshot=last.after, ambiguous=any(member.after != last.after for member in candidates))


def _ends_of_walk(group: Iterable[Sighting[S]], later: Iterable[Sighting[S]]) -> set[S]:
    """Find the snapshots that are entered once more than they are left; none when every walk is a circle.

    A snapshot that is stated without an edge (the twin of an update, say) has to lie on the walk of the others: one
    that does not is a rival end.
    """
    balance: Counter[S] = Counter()
    touched: set[S] = set()
    for member in group:
        if member.creation:
            balance[member.after] += 1
        elif member.before is not None and member.before != member.after:
            balance[member.after] += 1
            balance[member.before] -= 1
            touched |= {member.before, member.after}
    ends = {snapshot for snapshot, surplus in balance.items() if surplus > 0}
    rivals = {member.after for member in later if member.after not in touched}
    return (ends & touched) | rivals if touched else rivals
