"""Find one stored event with everything that belongs to it: failed attempts, messages, changes and body."""

from collections.abc import Sequence

import attrs

from billing_core.events import BillingEvent
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId
from billing_core.oversight.explain import MESSAGES_BEFORE, Transition, transitions
from billing_core.oversight.inspection import FailedAttempt, StoredEvent
from billing_core.oversight.ports import EventLog
from billing_core.stream.ports import MessageHistory

_OF_ONE_ID = 100
"""Events of different accounts and modes that are looked at, if they share an id."""


@attrs.frozen(kw_only=True)
class EventDetails:
    """An event with its attempts, changes and body."""

    event: StoredEvent
    attempts: Sequence[FailedAttempt]
    transitions: Sequence[Transition]
    """The messages it caused and what changed by them."""
    body: bytes | None
    """As received; None if it was pruned."""


async def find_by_number(log: EventLog, dispatch_id: int) -> StoredEvent | None:
    """Return the event with this number of ours."""
    found = await log.find(EventFilter(), before=dispatch_id + 1, limit=1)
    return next((event for event in found if event.dispatch_id == dispatch_id), None)


async def find_by_id(log: EventLog, event_id: EventId) -> Sequence[StoredEvent]:
    """Return the events with this id of the provider's, the latest received first: one of each account and mode."""
    return await log.find(EventFilter(ids=(event_id,)), before=None, limit=_OF_ONE_ID)


async def read_details(
    events: Sequence[StoredEvent], *, log: EventLog, history: MessageHistory
) -> Sequence[EventDetails]:
    """Return everything about events that share one id.

    Of several, each has the messages that its own tenant was sent. Raises: StoreUnavailableError.
    """
    if not events:
        return ()
    messages = [await _transition(history, message) for message in await log.messages(events[0].key.event_id)]
    return [
        EventDetails(
            event=event,
            attempts=await log.attempts(event.dispatch_id),
            transitions=[each for each in messages if len(events) == 1 or each.tenant_id == event.tenant_id],
            body=await log.body(event.dispatch_id),
        )
        for event in events
    ]


async def _transition(history: MessageHistory, message: BillingEvent) -> Transition:
    """Compare a message with the previous ones of its tenant."""
    first = max(0, message.sequence - 1 - MESSAGES_BEFORE)
    messages = await history.events(message.tenant_id, after=first, limit=message.sequence - first)
    *_, (_, transition) = transitions(messages)
    return transition
