"""Handlers about stored events."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from billing_app.dashboard import dashboard_url
from billing_app.http.operations.problems import Problem
from billing_app.http.operator.answers import (
    BodyAnswer,
    EventCountsAnswer,
    EventDetailsAnswer,
    IgnoredAnswer,
    RevealedBodyAnswer,
    SelectionAnswer,
    StoredEventsAnswer,
    attempt_answers,
    event_answer,
    filter_answer,
    group_of,
    message_answer,
)
from billing_app.http.operator.bodies import (
    IgnoreBody,
    IgnoreWanted,
    ReplayBody,
    ReplayWanted,
    WhyBody,
    filter_of,
    why_of,
)
from billing_app.http.operator.calling import OperatorCall
from billing_app.http.operator.parameters import GROUPS
from billing_core.events import Disposition
from billing_core.inbox.ports import EventSelector
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId
from billing_core.oversight.event_details import find_by_id, find_by_number, read_details
from billing_core.oversight.ignoring import ignore_events
from billing_core.oversight.inspection import EventTally, StoredEvent
from billing_core.oversight.ports import TallyBy

REVEAL: Final = "reveal"
"""The action in the audit log."""
_COUNTED: Final = timedelta(hours=24)
"""How far back events are counted if nothing else is asked for."""
_LONGEST_NUMBER: Final = 18
MOST_IGNORED: Final = 1000
"""Events that one request may ignore."""
_LOGGED: Final[Mapping[str, TallyBy]] = {"status": "status", "reason": "status", "type": "type", "hour": "hour"}
"""How the log groups for each of `GROUPS`: it knows no status without its reason."""


async def list_events(call: OperatorCall[None]) -> StoredEventsAnswer:
    """Answer a page of events."""
    limit = call.query.limit
    found = await call.tools.events.find(call.query.event_filter, before=call.query.number("before"), limit=limit)
    return StoredEventsAnswer(
        as_of=call.now,
        events=tuple(map(event_answer, found)),
        next_before=found[-1].dispatch_id if len(found) == limit else None,
    )


async def count_events(call: OperatorCall[None]) -> EventCountsAnswer:
    """Answer how many events match, in groups."""
    wanted = call.query.event_filter
    by = call.query.word("by", GROUPS, "status")
    if wanted.since is None and not wanted.ids:
        wanted = attrs.evolve(wanted, since=call.now - _COUNTED)
    groups = await call.tools.events.tally(wanted, by=_LOGGED[by])
    groups = _without_reasons(groups) if by == "status" else groups
    return EventCountsAnswer(by=by, since=wanted.since, groups=tuple(map(group_of, groups)))


async def show_event(call: OperatorCall[None]) -> EventDetailsAnswer:
    """Answer everything about one event; its body is redacted."""
    event, others = await _find(call)
    (found, *_) = await read_details([event, *others], log=call.tools.events, history=call.services.history)
    account = event.key.account or call.services.settings.stripe.account_id
    return EventDetailsAnswer(
        event=event_answer(event),
        dashboard_url=dashboard_url(event.key.event_id, livemode=event.key.livemode, account=account),
        others=tuple(map(event_answer, others)),
        failed_attempts=attempt_answers(found.attempts),
        messages=tuple(map(message_answer, found.transitions)),
        body=_redacted(call, found.body),
    )


async def reveal_body(call: OperatorCall[WhyBody]) -> RevealedBodyAnswer:
    """Answer a whole body. The audit log has the request before the body is read."""
    why, (event, _) = why_of(call.body), await _find(call)
    audit_id = await call.tools.audits.begin(
        REVEAL, actor=call.operator.subject, reason=why, filter={"id": [event.key.event_id]}
    )
    body = await call.tools.events.body(event.dispatch_id)
    await call.tools.audits.finish(audit_id, {"revealed": body is not None})
    if body is None:
        raise Problem(404, "body_pruned", "The body of this event was pruned.")
    try:
        return RevealedBodyAnswer(audit_id=audit_id, content=call.tools.read_body(body, redacted=False))
    except ValueError:
        raise Problem(422, "body_unreadable", "The body of this event is not JSON.") from None


async def try_ignore(call: OperatorCall[IgnoreWanted]) -> SelectionAnswer:
    """Answer which events ignoring would concern."""
    return await selection(call, most=MOST_IGNORED)


async def selection(call: OperatorCall[IgnoreWanted] | OperatorCall[ReplayWanted], *, most: int) -> SelectionAnswer:
    """Return the events that a filter selects, for a confirmation. Raises Problem (422) if they are too many."""
    wanted = ended_filter(filter_of(call.body.filter), call.now)
    numbers = await _select(call.tools.events, wanted, most=most)
    return SelectionAnswer(
        as_of=call.now,
        filter=filter_answer(wanted),
        matched=len(numbers),
        fingerprint=await call.tools.events.fingerprint(numbers),
    )


def ended_filter(wanted: EventFilter, now: datetime) -> EventFilter:
    """Return a filter that no event can join that is received later."""
    return attrs.evolve(wanted, until=now) if wanted.until is None or wanted.until > now else wanted


async def ignore(call: OperatorCall[IgnoreBody]) -> IgnoredAnswer:
    """Ignore events that will never be applied."""
    why, wanted = why_of(call.body), filter_of(call.body.filter)
    numbers = await confirmed_numbers(call.tools.events, wanted, call.body, most=MOST_IGNORED)
    done = await ignore_events(
        numbers,
        wanted=wanted,
        actor=call.operator.subject,
        reason=why,
        upkeep=call.tools.inbox_upkeep,
        audits=call.tools.audits,
    )
    return IgnoredAnswer(audit_id=done.audit_id, matched=done.matched, ignored=done.ignored, left=done.left)


async def confirmed_numbers(
    events: EventSelector, wanted: EventFilter, seen: IgnoreBody | ReplayBody, *, most: int
) -> Sequence[int]:
    """Return the events that match, in the order in which they happened.

    Raises Problem: 422 if they are too many, 409 if they are not those that the operator has confirmed, 404 if
    there are none.
    """
    numbers = await _select(events, wanted, most=most)
    same = len(numbers) == seen.confirm
    if same and seen.fingerprint is not None:
        same = await events.fingerprint(numbers) == seen.fingerprint
    if not same:
        detail = f"{len(numbers)} events match now: others than were confirmed, or changed since. Look at them again."
        raise Problem(409, "selection_changed", detail, matched=len(numbers))
    if not numbers:
        raise Problem(404, "not_found", "No stored event matches.")
    return numbers


async def _select(events: EventSelector, wanted: EventFilter, *, most: int) -> Sequence[int]:
    numbers = await events.select(wanted, limit=most + 1)
    if len(numbers) > most:
        raise Problem(422, "too_many_events", f"More than {most} events match. Select fewer.")
    return numbers


async def _find(call: OperatorCall[Any]) -> tuple[StoredEvent, list[StoredEvent]]:
    """Return the event of a path, by our number or Stripe's id, and the others with its id. Raises Problem (404)."""
    name, log = call.ids["event"], call.tools.events
    event: StoredEvent | None = None
    if name.isdecimal():
        event = await find_by_number(log, int(name)) if len(name) <= _LONGEST_NUMBER else None
    same = await find_by_id(log, EventId(name) if event is None else event.key.event_id)
    event = event or next(iter(same), None)
    if event is None:
        raise Problem(404, "not_found", f"No event {name[:60]} is stored.")
    return event, [each for each in same if each.dispatch_id != event.dispatch_id]


def _without_reasons(groups: Sequence[EventTally]) -> Sequence[EventTally]:
    counts = Counter[Disposition]()
    for group in groups:
        counts.update(group.counts)
    return [EventTally(name=status.value, counts={status: counts[status]}) for status in Disposition if counts[status]]


def _redacted(call: OperatorCall[None], body: bytes | None) -> BodyAnswer:
    if body is None:
        return BodyAnswer(state="pruned")
    found = BodyAnswer(state="unreadable", bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
    try:
        return attrs.evolve(found, state="redacted", content=call.tools.read_body(body, redacted=True))
    except ValueError:
        return found
