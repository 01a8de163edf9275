"""Handlers about the whole: how events flow, what waits and what is wrong."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

import attrs

from billing_app.dependencies import Dependency
from billing_app.http.operator.answers import seconds
from billing_app.http.operator.calling import OperatorCall
from billing_app.http.operator.health import (
    Headline,
    InvariantsAnswer,
    LatencyAnswer,
    OverviewAnswer,
    ProcessAnswer,
    SeriesAnswer,
    SeriesStep,
    Stage,
    StageAnswer,
    StandingAnswer,
    ViolationAnswer,
    dead_groups,
)
from billing_app.http.operator.measures import Checked, Flow, Standing
from billing_app.http.operator.parameters import WINDOWS, Window
from billing_core.inbox.selection import EventFilter
from billing_core.oversight.delays import MeasuredStage, percentile
from billing_core.oversight.invariants import Invariant, Violation
from billing_core.oversight.ports import SeenProcess

_STEPS: Final[Mapping[Window, tuple[timedelta, timedelta]]] = {
    "5m": (timedelta(minutes=5), timedelta(seconds=5)),
    "1h": (timedelta(hours=1), timedelta(minutes=1)),
    "24h": (timedelta(hours=24), timedelta(minutes=15)),
}
"""The length of a window, and of its steps. A step is also how long its counts may be old, up to a minute."""
_OLDEST_COUNTS: Final = timedelta(minutes=1)
_BACKLOG_LIFE: Final = timedelta(seconds=2)
_INVARIANTS_LIFE: Final = timedelta(seconds=30)
_ALIVE: Final = timedelta(seconds=60)
"""How long ago a process may have confirmed that it is alive."""
_PENDING_COUNTED: Final = 1000
_ON_TIME: Final = timedelta(milliseconds=500)
"""The time that 95 of 100 changes should take from the webhook to an open stream: people take less for immediate."""
_ON_THE_WAY: Final = ("applied", "published", "delivered")
"""The stages whose delays follow one another; that of `applied` begins with the receipt and includes `stored`."""

_Delays = tuple[timedelta, timedelta] | None
"""The median and the 95th percentile, if there is any delay."""


async def show_overview(call: OperatorCall[None]) -> OverviewAnswer:
    """Answer how things are, at one glance."""
    flow, standing = await asyncio.gather(read_flow(call), read_standing(call))
    checked = await _check(call)
    processes = await call.tools.processes.current()
    refused = sum(each.count for each in await call.services.refusal_tally.since(call.now - timedelta(hours=1)))
    backlog = standing.backlog
    stages = _stages(flow, standing, refused=refused, streams=call.services.hub.open_streams)
    return OverviewAnswer(
        as_of=standing.as_of,
        window_seconds=seconds(flow.until - flow.since),
        step_seconds=seconds(flow.step),
        headline=Headline(
            events=flow.total("stored"),
            applied=flow.total("applied"),
            ignored=flow.total("ignored"),
            due=backlog.due,
            parked=backlog.parked,
            dead=sum(backlog.dead.values()),
            violations=len(checked.violations),
            workers=sum(each.process.processes_events and each.silent_for < _ALIVE for each in processes),
        ),
        stages=stages,
        latency=_latency(stages),
        dead=dead_groups(backlog),
        stripe=_standing_of(call.services.dependencies.stripe, used=call.services.operations is not None),
        bus=_standing_of(call.services.dependencies.bus, used=call.services.settings.switches.stream),
        invariants=InvariantsAnswer(
            checked_at=checked.at, total=len(Invariant), violations=tuple(map(_violation, checked.violations))
        ),
        processes=tuple(map(_process, processes)),
        operations_pending=len(await call.tools.operation_log.unresolved(limit=_PENDING_COUNTED)),
        rules_generation=call.services.rules.current.generation,
        streams_here=call.services.hub.open_streams,
    )


async def show_series(call: OperatorCall[None]) -> SeriesAnswer:
    """Answer the counts of each step of a window."""
    flow = await read_flow(call)
    return SeriesAnswer(
        since=flow.since,
        until=flow.until,
        step_seconds=seconds(flow.step),
        steps=tuple(
            SeriesStep(at=step.at, stored=step.stored, applied=step.ended, failed=step.dead, messages=step.messages)
            for step in flow.steps
        ),
    )


async def read_flow(call: OperatorCall[None]) -> Flow:
    """Return the flow of the window that was asked for; its last step has only begun."""
    window = cast("Window", call.query.word("window", WINDOWS, "1h"))
    length, step = _STEPS[window]

    async def read() -> Flow:
        # Steps begin at the same instants for every request, so that charts do not tremble.
        epoch = datetime.fromtimestamp(0, call.now.tzinfo)
        until = epoch + ((call.now - epoch) // step + 1) * step
        since = until - length
        steps = await call.tools.flow.steps(since=since, until=until, step=step)
        delays = await call.tools.flow.delays(since=since, until=until)
        measured = await call.tools.delays.since(since.replace(second=0))
        return Flow(since=since, until=until, step=step, steps=steps, delays=delays, measured=measured)

    return await call.tools.flows.get(window, read, life=min(step, _OLDEST_COUNTS))


async def read_standing(call: OperatorCall[None]) -> Standing:
    """Return what waits now."""

    async def read() -> Standing:
        newest = await call.tools.events.find(EventFilter(), before=None, limit=1)
        return Standing(
            as_of=call.now,
            backlog=await call.tools.backlog.backlog(),
            unpublished=await call.tools.outbox.oldest(),
            last_received_at=newest[0].received_at if newest else None,
        )

    return await call.tools.standings.get("standing", read, life=_BACKLOG_LIFE)


async def _check(call: OperatorCall[None]) -> Checked:
    async def read() -> Checked:
        return Checked(at=call.now, violations=await call.tools.invariants.sample())

    return await call.tools.checks.get("invariants", read, life=_INVARIANTS_LIFE)


def _stages(flow: Flow, standing: Standing, *, refused: int, streams: int) -> tuple[StageAnswer, ...]:
    backlog, last = standing.backlog, standing.last_received_at
    details = {
        "refused_last_hour": refused,
        "duplicates": flow.delays.duplicates,
        "last_received_at": None if last is None else last.isoformat(),
    }
    received = _stage("received", flow, "stored", flow.delays.sent)
    stored = _stage("stored", flow, "stored", _measured(flow, "stored"))
    applied = _stage("applied", flow, "ended", _measured(flow, "applied"))
    published = _stage("published", flow, "messages", _measured(flow, "published"))
    return (
        attrs.evolve(received, details=details),
        attrs.evolve(stored, waiting=backlog.due, oldest_seconds=seconds(backlog.oldest_due)),
        attrs.evolve(applied, waiting=backlog.parked, oldest_seconds=seconds(backlog.oldest_parked)),
        attrs.evolve(published, oldest_seconds=seconds(standing.unpublished)),
        _delivered(flow, streams),
    )


def _stage(name: Stage, flow: Flow, counted: str, delays: _Delays) -> StageAnswer:
    busiest = max((getattr(step, counted) for step in flow.steps), default=0)
    stage = _counted(name, flow, flow.total(counted), delays)
    return attrs.evolve(stage, peak=round(busiest / flow.step.total_seconds(), 3))


def _delivered(flow: Flow, streams: int) -> StageAnswer:
    count = sum(flow.measured.get("delivered", {}).values())
    stage = _counted("delivered", flow, count, _measured(flow, "delivered"))
    return attrs.evolve(stage, details={"open_streams": streams})


def _counted(name: Stage, flow: Flow, count: int, delays: _Delays) -> StageAnswer:
    p50, p95 = (None, None) if delays is None else map(seconds, delays)
    rate = count / (flow.until - flow.since).total_seconds()
    return StageAnswer(name=name, count=count, rate=round(rate, 3), p50_seconds=p50, p95_seconds=p95)


def _measured(flow: Flow, stage: MeasuredStage) -> _Delays:
    """Return the median and the 95th percentile of what the processes measured."""
    histogram = flow.measured.get(stage, {})
    p50, p95 = percentile(histogram, 0.5), percentile(histogram, 0.95)
    return None if p50 is None or p95 is None else (p50, p95)


def _latency(stages: Sequence[StageAnswer]) -> LatencyAnswer:
    followed = [stage for stage in stages if stage.name in _ON_THE_WAY]
    known = followed[0].p95_seconds is not None
    return LatencyAnswer(
        target_seconds=seconds(_ON_TIME),
        p50_seconds=round(sum(stage.p50_seconds or 0 for stage in followed), 3) if known else None,
        p95_seconds=round(sum(stage.p95_seconds or 0 for stage in followed), 3) if known else None,
    )


def _standing_of(dependency: Dependency, *, used: bool) -> StandingAnswer:
    if not used:
        return StandingAnswer(state="not_used", error=None)
    return StandingAnswer(state="reachable" if dependency.error is None else "unavailable", error=dependency.error)


def _violation(violation: Violation) -> ViolationAnswer:
    return ViolationAnswer(
        invariant=violation.invariant.value,
        meaning=violation.invariant.meaning,
        remedy=violation.invariant.remedy,
        count=violation.count,
        examples=violation.examples,
    )


def _process(seen: SeenProcess) -> ProcessAnswer:
    return ProcessAnswer(
        process_id=seen.process.process_id,
        kind=seen.process.kind,
        processes_events=seen.process.processes_events,
        host=seen.process.host,
        pid=seen.process.pid,
        version=seen.process.version,
        started_at=seen.process.started_at,
        silent_seconds=seconds(seen.silent_for),
    )
