"""Thin events, which follow from the account's events."""

from collections.abc import Iterator

from billing_stripe.testing.events import make_id
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.journal import Entry
from billing_stripe.testing.thin import ThinEvent


def thin_of(entry: Entry) -> ThinEvent:
    """Return the thin event about what an event is about: it has an id of its own, and names the other."""
    own = entry.type.startswith("v2.")
    return ThinEvent(
        event_id=make_id("evt_test", entry.event_id),
        type=entry.type if own else f"v1.{entry.type}",
        created_at=entry.created_at,
        related_type=entry.kind.noun,
        related_id=entry.kind.key(entry.source),
        snapshot_event_id=None if own else entry.event_id,
    )


def find_thin(account: Account, event_id: str) -> ThinEvent | None:
    """Return a thin event by its id: one that a test has put there, or one that follows from an event; or None."""
    stored = account.find(ThinEvent, event_id)
    if stored is not None:
        return stored
    return next((thin for thin in thin_events(account) if thin.event_id == event_id), None)


def thin_events(account: Account) -> Iterator[ThinEvent]:
    """Yield all thin events, newest first: those that a test has put there, then those that follow from events."""
    yield from account.all(ThinEvent)
    yield from (thin_of(entry) for entry in reversed(account.journal.entries))
