"""Handlers that replay stored events: tried first, then confirmed, then followed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import attrs

from billing_app.http.operations.problems import Problem
from billing_app.http.operator.answers import SelectionAnswer, filter_answer
from billing_app.http.operator.bodies import ReplayBody, ReplayWanted, WhyBody, filter_of, why_of
from billing_app.http.operator.calling import OperatorCall
from billing_app.http.operator.events import confirmed_numbers, ended_filter, selection
from billing_app.http.operator.recording import recorded
from billing_app.http.operator.replay_answers import (
    AccessChange,
    DryRunAnswer,
    LostPlan,
    ReplayAnswer,
    ReplayedEvent,
    ReplayedTenant,
    ReplayFailure,
    ReplaysAnswer,
    counts_of,
    replay_answer,
)
from billing_app.http.operator.tenant_answers import difference_answers, planned_messages
from billing_core.events import Disposition, Outcome
from billing_core.inbox.ports import HeldPlan
from billing_core.inbox.replay import ACTION, DRY_RUN_LIMIT, DryRunReport, ReplayRequest
from billing_core.model import TenantId
from billing_core.oversight.inspection import Audit
from billing_core.payloads import access_section
from billing_core.state.results import ComparedAccess

if TYPE_CHECKING:
    from billing_app.http.operator.replay_answers import Decision

MOST_REPLAYED: Final = 100_000
"""Events of one replay that is asked for here."""
_SLOWEST: Final = 0.1
"""Events per second."""


async def try_replay(call: OperatorCall[ReplayWanted]) -> DryRunAnswer:
    """Answer what a replay would change, found in a transaction that is rolled back."""
    wanted = ended_filter(filter_of(call.body.filter), call.now)
    replayer = call.tools.replays.replayer()
    numbers = await replayer.find(wanted, limit=DRY_RUN_LIMIT + 1)
    if len(numbers) > DRY_RUN_LIMIT:
        detail = f"A dry run is one transaction of at most {DRY_RUN_LIMIT} events, and more match. Select fewer."
        raise Problem(422, "too_many_events", detail)
    # Before they are tried: an event that ends meanwhile is not confirmed by it.
    fingerprint = await call.tools.events.fingerprint(numbers)
    lost = await replayer.find_lost_plans(numbers)
    found = await replayer.dry_run(numbers)
    tenants = _tenants(found)
    return DryRunAnswer(
        as_of=call.now,
        filter=filter_answer(wanted),
        matched=len(numbers),
        fingerprint=fingerprint,
        counts=counts_of(found.report),
        access_changes=sum(tenant.access.changes for tenant in tenants),
        lost_plans=tuple(
            LostPlan(plan_code=each.plan_code, subscriptions=each.subscriptions, tenant_id=each.tenant_id)
            for each in lost
        ),
        tenants=tenants,
        failures=tuple(
            ReplayFailure(event_id=each.event_id, reason=each.reason, error=each.error) for each in found.failures
        ),
    )


async def select_events(call: OperatorCall[ReplayWanted]) -> SelectionAnswer:
    """Answer which events a replay would process, for one that is larger than a dry run may be."""
    return await selection(call, most=MOST_REPLAYED)


async def start_replay(call: OperatorCall[ReplayBody]) -> ReplayAnswer:
    """Begin a replay that was confirmed, and answer at once."""
    body = call.body
    why, wanted = why_of(body), filter_of(body.filter)
    if body.rate is not None and body.rate < _SLOWEST:
        raise Problem(400, "bad_request", f"rate must be at least {_SLOWEST} events per second.")
    replayer = call.tools.replays.replayer(publishes=body.notify)
    numbers = await confirmed_numbers(call.tools.events, wanted, body, most=MOST_REPLAYED)
    if not body.force:
        _require_plans(await replayer.find_lost_plans(numbers))
    request = ReplayRequest(
        wanted=wanted, actor=call.operator.subject, reason=why, rate=body.rate, publishes=body.notify
    )
    begun = await _replay(call, await call.tools.replays.start(request, numbers))
    return attrs.evolve(replay_answer(begun, call.now), matched=len(numbers))


async def list_replays(call: OperatorCall[None]) -> ReplaysAnswer:
    """Answer the last replays, those of the command line among them."""
    found = await call.tools.audits.latest(limit=call.query.limit, action=ACTION)
    return ReplaysAnswer(replays=tuple(replay_answer(each, call.now) for each in found))


async def show_replay(call: OperatorCall[None]) -> ReplayAnswer:
    """Answer one replay."""
    return replay_answer(await _replay(call, _number(call.ids["audit_id"])), call.now)


async def cancel_replay(call: OperatorCall[WhyBody]) -> ReplayAnswer:
    """Ask a replay to end after the batch in progress, wherever it runs."""
    number = _number(call.ids["audit_id"])
    await _replay(call, number)
    async with recorded(call, "cancel_replay", call.body, {"replay": number}) as entry:
        asked = await call.tools.audits.cancel(number, actor=call.operator.subject)
        entry.result = {"asked": asked}
    if not asked:
        raise Problem(409, "not_running", "This replay has ended.")
    return replay_answer(await _replay(call, number), call.now)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


async def _replay(call: OperatorCall[ReplayBody] | OperatorCall[WhyBody] | OperatorCall[None], number: int) -> Audit:
    """Return the entry of a replay. Raises Problem (404)."""
    found = await call.tools.audits.latest(limit=1, action=ACTION, before=number + 1)
    if not found or found[0].audit_id != number:
        raise Problem(404, "not_found", "There is no such replay.")
    return found[0]


def _require_plans(lost: Sequence[HeldPlan]) -> None:
    if lost:
        plans = ", ".join(f"{each.plan_code} ({each.subscriptions}, such as {each.tenant_id})" for each in lost)
        detail = f"The plans in force lack plans that live subscriptions are on: {plans}. Put them back, or force it."
        raise Problem(409, "plans_missing", detail)


def _tenants(found: DryRunReport) -> tuple[ReplayedTenant, ...]:
    """Return what would happen to each tenant, those with another access first."""
    trial = found.trial
    ends: dict[TenantId | None, list[Outcome]] = {}
    for outcome in trial.outcomes:
        ends.setdefault(outcome.tenant_id, []).append(outcome)
    moved = (id_ for id_, access in trial.access.items() if access.before.state is not access.after.state)
    for owner in (*(each.tenant_id for each in trial.differences), *(each.tenant_id for each in trial.events), *moved):
        ends.setdefault(owner, [])
    tenants = [_tenant(found, tenant_id, outcomes) for tenant_id, outcomes in ends.items()]
    return tuple(sorted(tenants, key=lambda each: (not each.access.changes, each.tenant_id or "")))


def _tenant(found: DryRunReport, tenant_id: TenantId | None, outcomes: Sequence[Outcome]) -> ReplayedTenant:
    return ReplayedTenant(
        tenant_id=tenant_id,
        access=_access(None if tenant_id is None else found.trial.access.get(tenant_id)),
        events=tuple(map(_event, outcomes)),
        differences=difference_answers(each for each in found.trial.differences if each.tenant_id == tenant_id),
        messages=planned_messages(event for event in found.trial.events if event.tenant_id == tenant_id),
    )


def _access(change: ComparedAccess | None) -> AccessChange:
    if change is None:
        return AccessChange(before=None, after=None, changes=False)
    before, after = access_section(change.before), access_section(change.after)
    return AccessChange(before=before, after=after, changes=before.state != after.state)


def _event(outcome: Outcome) -> ReplayedEvent:
    decision = outcome.disposition.value
    if outcome.unconfirmed is not None:
        decision = "not_confirmed"
    elif outcome.disposition is Disposition.APPLIED and outcome.effect is not None:
        decision = outcome.effect.value
    return ReplayedEvent(
        event_id=outcome.claim.event.event_id,
        decision=cast("Decision", decision),
        reason=outcome.reason,
        error=outcome.error,
        sequence=outcome.sequence,
    )
