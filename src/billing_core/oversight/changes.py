"""Find out which of the newest stored events are new, or have changed, since the last look."""

from collections.abc import Sequence

from billing_core.oversight.inspection import StoredEvent


class EventChanges:
    """The newest events as they stood at the last look."""

    def __init__(self, newest: Sequence[StoredEvent]) -> None:
        """Begin with the newest events; none of them counts as changed."""
        self._known = {event.dispatch_id: _standing(event) for event in newest}

    def since_last_look(self, newest: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
        """Return those that are new, or whose status or attempt is another one than before, the newest last."""
        changed = [event for event in reversed(newest) if self._known.get(event.dispatch_id) != _standing(event)]
        self._known = {event.dispatch_id: _standing(event) for event in newest}
        return changed


def _standing(event: StoredEvent) -> tuple[object, ...]:
    return event.status, event.attempt, event.finished_at
