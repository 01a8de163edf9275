"""The later of two snapshots, in whatever order the events of one second arrive."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from random import Random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.model import Decision, EventId, Order, Ordered, Sighting, compare, decide

AT = datetime(2026, 3, 1, tzinfo=UTC)


@attrs.frozen
class State(Ordered):
    """A snapshot reduced to the properties that ordering uses."""

    name: str
    precedence: int = 0
    progress: int = 0

    @property
    def object_id(self) -> str:
        """All states are of one object."""
        return "obj_1"


A, B, C, D = (State(name) for name in "ABCD")


def seen(event_id: str, after: State, before: State | None = None, *, creation: bool = False) -> Sighting[State]:
    """Build one event of the group."""
    return Sighting(event_id=EventId(event_id), after=after, before=before, creation=creation)


def decision(*group: Sighting[State]) -> Decision[State]:
    """Return the decision on a group, which has to be the same in every order."""
    (only,) = {decide(order) for order in permutations(group)}
    return only


def end(snapshot: State) -> Decision[State]:
    """Build an unambiguous decision."""
    return Decision(snapshot=snapshot, ambiguous=False)


def test_a_later_stage_of_life_wins_over_a_newer_event() -> None:
    """An ended object stays ended, whenever its events were created."""
    ended = State("ended", precedence=1)
    assert compare(ended, AT, A, AT + timedelta(days=1)) is Order.STALE
    assert compare(A, AT, ended, AT - timedelta(days=1)) is Order.NEWER


@pytest.mark.parametrize(
    ("seconds", "order"), [(-1, Order.STALE), (0, Order.TIE), (1, Order.NEWER)], ids=["older", "same second", "newer"]
)
def test_within_a_stage_the_newer_event_wins(seconds: int, order: Order) -> None:
    """Only whole seconds are known, so equal ones decide nothing."""
    assert compare(A, AT, B, AT + timedelta(seconds=seconds)) is order


def test_an_event_alone_is_the_end() -> None:
    """Usually there is one event in a second, with an edge or without, a creation or not."""
    assert decision(seen("1", A)) == end(A)
    assert decision(seen("1", B, before=A)) == end(B)
    assert decision(seen("1", A, creation=True)) == end(A)


def test_edges_are_followed_to_their_end() -> None:
    """Event ids run against the true order here; they must not matter."""
    assert decision(seen("3", B, A), seen("2", C, B), seen("1", D, C)) == end(D)


def test_a_state_that_is_left_and_entered_again_can_be_the_end() -> None:
    """A → B → A → B enters B once more than it leaves it."""
    assert decision(seen("1", B, A), seen("2", A, B), seen("3", B, A)) == end(B)


def test_whatever_shares_a_second_with_a_creation_came_later() -> None:
    """The creation carries no edge, yet nothing can precede it; the greatest id does not win."""
    assert decision(seen("9", A, creation=True), seen("1", B)) == end(B)
    assert decision(seen("9", A, creation=True), seen("1", B, A), seen("2", C, B)) == end(C)


def test_a_circle_that_starts_with_the_creation_ends_where_it_began() -> None:
    """The creation says where the walk starts, so even a circle has a known end."""
    assert decision(seen("1", A, creation=True), seen("9", B, A), seen("2", A, B)) == end(A)


def test_a_circle_of_unknown_start_is_ambiguous() -> None:
    """A → B → A and B → A → B leave the same events; the choice is arbitrary, equal everywhere, and marked."""
    assert decision(seen("1", B, A), seen("2", A, B)) == Decision(snapshot=A, ambiguous=True)


def test_a_twin_of_an_update_changes_nothing() -> None:
    """Many changes are reported twice, by an update and by a second event without an edge."""
    assert decision(seen("1", B, A), seen("9", B)) == end(B)
    assert decision(seen("1", B, A), seen("9", B), seen("2", C, B)) == end(C)


def test_an_update_of_fields_we_do_not_read_is_no_edge() -> None:
    """Changes outside our terms leave a snapshot as it was."""
    assert decision(seen("9", A, A), seen("1", B, A)) == end(B)
    assert decision(seen("1", A, A), seen("2", A, A)) == end(A)


def test_a_lone_state_beside_a_walk_is_a_rival() -> None:
    """The event that would join them is missing, so it is unknown which came last."""
    assert decision(seen("1", B, A), seen("9", C)) == Decision(snapshot=C, ambiguous=True)
    assert decision(seen("9", B, A), seen("1", C)) == Decision(snapshot=B, ambiguous=True)


def test_a_missing_edge_leaves_two_ends() -> None:
    """A → B, then C → D: the event that took B to C was never sent to us."""
    assert decision(seen("1", B, A), seen("2", D, C)) == Decision(snapshot=D, ambiguous=True)
    assert decision(seen("2", B, A), seen("1", D, C)) == Decision(snapshot=B, ambiguous=True)


def test_progress_decides_what_edges_leave_open() -> None:
    """A count that only grows shows which of two rivals came later, whatever their ids."""
    first, second = attrs.evolve(A, progress=1), attrs.evolve(A, progress=2)
    assert decision(seen("9", first), seen("1", second)) == end(second)


def test_progress_does_not_overrule_edges() -> None:
    """It decides only among the ends of the walk."""
    further = attrs.evolve(A, progress=5)
    assert decision(seen("1", B, further), seen("2", further, C)) == end(B)


STATES = [State(name) for name in "ABCDEF"]


@given(
    walk=st.lists(st.sampled_from(STATES), min_size=2, max_size=9),
    created=st.booleans(),
    ids=st.permutations(list("0123456789")),
    random=st.randoms(use_true_random=False),
)
def test_the_true_end_of_any_walk_is_found(
    walk: Sequence[State], created: bool, ids: Sequence[str], random: Random
) -> None:
    """Always, unless the walk is a closed circle of unknown start: then it is marked."""
    edges = [(before, after) for before, after in pairwise(walk) if before != after]
    group = [seen(ids[index], after, before) for index, (before, after) in enumerate(edges)]
    if created or not group:
        group.append(seen(ids[-1], walk[0], creation=True))
    random.shuffle(group)
    found = decide(group)
    if walk[0] == walk[-1] and edges and not created:
        assert found.ambiguous
        assert found == decide(sorted(group, key=lambda sighting: sighting.event_id))
    else:
        assert found == end(walk[-1])


@given(
    group=st.lists(
        st.builds(
            Sighting[State],
            event_id=st.uuids().map(str),
            after=st.builds(State, name=st.sampled_from("ABC"), progress=st.integers(0, 2)),
            before=st.none() | st.builds(State, name=st.sampled_from("ABC"), progress=st.integers(0, 2)),
            creation=st.booleans(),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda sighting: sighting.event_id,
    ),
    random=st.randoms(use_true_random=False),
)
def test_any_group_at_all_is_decided_alike_in_every_order(group: list[Sighting[State]], random: Random) -> None:
    """Nonsense included: edges that fit nowhere, several creations."""
    expected = decide(group)
    assert expected.snapshot in [sighting.after for sighting in group]
    random.shuffle(group)
    assert decide(group) == expected
