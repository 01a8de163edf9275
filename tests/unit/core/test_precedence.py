"""An object whose events of one second are counted in again, with and without the bodies that tell their order."""

from datetime import UTC, datetime

import pytest

from billing_core.events import Claim, Translation
from billing_core.model import EventId, TenantSubscription
from billing_core.state.evidence import no_evidence
from billing_core.state.precedence import resolve
from billing_core.state.reading import ClaimedEvent
from billing_core.testing.builders import provenance, provider_event, subscription

AT = datetime(2026, 3, 1, tzinfo=UTC)
FIRST, SECOND = EventId("evt_1"), EventId("evt_2")
BOTH = provenance(FIRST, SECOND, observed_at=AT, ambiguous=True)


def replayed(event_id: EventId, held: TenantSubscription) -> ClaimedEvent:
    """Build the replay of an event that shows what `held` holds."""
    event = provider_event(event_id, created_at=AT)
    translation = Translation(customer_id=held.snapshot.customer_id, snapshots=(held.snapshot,))
    return ClaimedEvent(claim=Claim(dispatch_id=1, attempt=2, event=event, applied=True), translation=translation)


@pytest.mark.parametrize(("event_id", "status"), [(FIRST, "active"), (SECOND, "past_due")])
def test_without_bodies_a_replayed_event_speaks_for_itself_only(event_id: EventId, status: str) -> None:
    """Its snapshot is its own, and the held one stands for the other event. The greatest id decides an open tie."""
    held = subscription(status="active", basis=BOTH)
    shown = subscription(status="past_due", basis=BOTH)
    resolution = resolve(held, shown.snapshot, replayed(event_id, shown), no_evidence)
    assert resolution.snapshot.status == status
    assert resolution.provenance.event_ids == (FIRST, SECOND)


def test_the_same_state_on_another_group_of_events_still_needs_evidence() -> None:
    """Two events of one second that show the same may stand for a walk through a third state: both are read."""
    asked: list[EventId] = []

    def evidence(event_id: EventId, _snapshot: object) -> None:
        asked.append(event_id)

    held = subscription(status="active", basis=BOTH)
    resolve(held, held.snapshot, replayed(SECOND, held), evidence)  # type: ignore[arg-type]
    assert asked == [FIRST, SECOND]
