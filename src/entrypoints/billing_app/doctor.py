"""The examination of an installation: what it needs, what waits, and what must hold of what is stored."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from enum import Enum
from typing import Final

import attrs

from billing_app.container import Operations, bring_schema_up_to_date, check_bus, open_operations
from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_core.errors import BillingError
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.ports import Backlog

_LATE: Final = timedelta(minutes=1)
"""How long an event or a message may wait before somebody should look."""


class Verdict(Enum):
    """What one check came to."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str | None = None
    """What to do, unless all is well."""


async def examine(settings: Settings, *, invariants: bool) -> AsyncIterator[Finding]:
    """Look at one thing after the other; what depends on something that failed is left out.

    Args:
        settings: the configuration on trial.
        invariants: also read all stored rows, which takes seconds per million.
    """
    for warning in settings.warnings:
        yield Finding("settings", Verdict.WARN, warning, "Correct or remove it.")
    yield Finding("settings", Verdict.OK, f"billing is {'on' if settings.enable_billing else 'off'}")
    database = await _examine_database(settings)
    yield database
    if settings.enable_stream:
        yield await _examine_bus(settings)
    if database.verdict is Verdict.FAIL:
        return
    async with open_operations(settings) as operations:
        for finding in _judge_backlog(await operations.store.backlog()):
            yield finding
        yield _judge_outbox(await operations.outbox.oldest())
        if invariants:
            for finding in await _examine_invariants(operations):
                yield finding


async def _examine_database(settings: Settings) -> Finding:
    try:
        schema = await bring_schema_up_to_date(settings, check=settings.database_url is not None)
    except (BillingError, OperatorError, OSError) as exc:
        return Finding("database", Verdict.FAIL, str(exc), "See that DATABASE_URL is right and the server runs.")
    if schema.pending:
        detail = f"{len(schema.pending)} migrations are pending, {schema.pending[0]} first"
        return Finding("database", Verdict.FAIL, detail, "Run: billing migrate")
    if schema.ahead:
        return Finding(
            "database", Verdict.WARN, f"migrated by newer code ({schema.ahead[-1]})", "Deploy that version here too."
        )
    return Finding("database", Verdict.OK, "answers, and its schema is up to date")


async def _examine_bus(settings: Settings) -> Finding:
    try:
        await check_bus(settings)
    except (BillingError, OperatorError) as exc:
        remedy = "See that REDIS_URL is right and the server runs; until then streams are served from Postgres."
        return Finding("redis", Verdict.FAIL, str(exc), remedy)
    return Finding("redis", Verdict.OK, "answers, and evicts nothing")


def _judge_backlog(backlog: Backlog) -> Iterator[Finding]:
    waiting = f"{backlog.due} events are due, the oldest for {backlog.oldest_due.total_seconds():.0f} s"
    if backlog.oldest_due > _LATE:
        yield Finding("inbox", Verdict.WARN, waiting, "Start `billing worker`, or more of them.")
    else:
        yield Finding("inbox", Verdict.OK, waiting)
    if backlog.parked:
        detail = f"{backlog.parked} events wait for a tenant or an object"
        remedy = "See `billing tenants list --unlinked` and `billing events list --status parked`."
        yield Finding("parked", Verdict.WARN, detail, remedy)
    for reason, count in sorted(backlog.dead.items()):
        remedy = f"See `billing events list --status dead --reason {reason}`, mend the cause, then replay them."
        yield Finding("dead", Verdict.WARN, f"{count} events: {reason}", remedy)


def _judge_outbox(oldest: timedelta) -> Finding:
    detail = f"the oldest message that waits for the bus has waited {oldest.total_seconds():.0f} s"
    if oldest > _LATE:
        return Finding("outbox", Verdict.WARN, detail, "See whether Redis answers and a server or worker runs.")
    return Finding("outbox", Verdict.OK, detail)


async def _examine_invariants(operations: Operations) -> list[Finding]:
    violated = {violation.invariant: violation for violation in await operations.invariants.everything()}
    return [
        Finding(
            f"invariant {invariant.value}",
            Verdict.FAIL,
            f"{found.count} rows: {invariant.meaning} Not so: {', '.join(found.examples)}",
            invariant.remedy,
        )
        if (found := violated.get(invariant)) is not None
        else Finding(f"invariant {invariant.value}", Verdict.OK, invariant.meaning)
        for invariant in Invariant
    ]
