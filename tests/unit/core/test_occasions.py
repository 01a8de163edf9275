"""Occasions that are over: announcing them would mislead."""

from datetime import timedelta
from typing import Any

import pytest

from billing_core.events import Notice, Translation
from billing_core.model import Snapshot
from billing_core.state.occasions import Occasion, reported
from billing_core.testing.builders import AT, invoice, provider_event, subscription

DAY = timedelta(days=1)


def trial(**fields: Any) -> Snapshot:
    """Return a subscription whose trial ends at `AT`, unless the fields say otherwise."""
    return subscription(**{"status": "trialing", "trial_ends_at": AT, **fields}).snapshot


def bill(**fields: Any) -> Snapshot:
    """Return an open invoice."""
    return invoice(**fields).snapshot


def noticed(notice: Notice, seen: Snapshot) -> Occasion:
    """Return the occasion that an event reports which shows an object."""
    (occasion,) = reported(Translation(notice=notice, snapshots=(seen,)), provider_event())
    return occasion


@pytest.mark.parametrize(
    ("known", "over"),
    [
        (trial(), False),
        (trial(trial_ends_at=AT - DAY), True),
        (trial(trial_ends_at=AT + DAY), True),
        (trial(trial_ends_at=None), True),
        (trial(status="active"), True),
        (trial(status="unpaid"), True),
        (bill(), False),
        (None, False),
    ],
)
def test_the_end_of_a_trial_is_over_once_it_has_begun_or_moved(known: Snapshot | None, over: bool) -> None:
    """An extension as well as a shortening makes another end, which has an occasion of its own."""
    assert noticed(Notice.TRIAL_ENDING, trial()).is_over(known) is over


@pytest.mark.parametrize("notice", [Notice.OVERDUE, Notice.ACTION_REQUIRED])
@pytest.mark.parametrize(
    ("known", "over"),
    [
        (bill(), False),
        (bill(amount_remaining=1), False),
        (bill(amount_remaining=0), True),
        (bill(status="paid", amount_remaining=0), True),
        (bill(status="void"), True),
        (None, False),
    ],
)
def test_what_an_invoice_demands_is_over_once_nothing_is_owed(
    notice: Notice, known: Snapshot | None, over: bool
) -> None:
    """A partial payment leaves something to pay."""
    assert noticed(notice, bill()).is_over(known) is over
