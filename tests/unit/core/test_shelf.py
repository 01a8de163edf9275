"""The shelves of a ledger."""

import attrs

from billing_core.state.shelf import Shelf
from billing_core.testing.builders import subscription

FIRST, SECOND = subscription("sub_1"), subscription("sub_2")
CHANGED = attrs.evolve(FIRST, snapshot=attrs.evolve(FIRST.snapshot, status="past_due"))


def test_an_equal_object_is_no_change() -> None:
    """It is held already."""
    shelf = Shelf([FIRST])
    assert not shelf.keep(subscription("sub_1"))
    assert (shelf.get("sub_1"), shelf.changed(), shelf.changes()) == (FIRST, [], [])


def test_a_changed_object_replaces_the_one_that_was_loaded() -> None:
    """It is compared with the loaded one after every further change, too."""
    shelf = Shelf([FIRST])
    last = attrs.evolve(FIRST, snapshot=attrs.evolve(FIRST.snapshot, status="canceled"))
    assert shelf.keep(CHANGED)
    assert shelf.keep(last)
    assert (shelf.get("sub_1"), shelf.changed(), shelf.changes()) == (last, [last], [(FIRST, last)])


def test_a_new_object_has_no_earlier_state() -> None:
    """Changed objects are listed by id, whichever changed first."""
    shelf = Shelf([FIRST])
    shelf.keep(SECOND)
    shelf.keep(CHANGED)
    assert list(shelf.all()) == [CHANGED, SECOND]
    assert shelf.changed() == [CHANGED, SECOND]
    assert sorted(shelf.changes(), key=lambda change: change[1].object_id) == [(FIRST, CHANGED), (None, SECOND)]
