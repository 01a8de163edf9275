"""Rows of stored events as operators see them; see docs/adr/0017-columns-declared-once.md."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import asyncpg

from billing_core.events import Disposition, Effect
from billing_core.oversight.inspection import FailedAttempt, StoredEvent
from billing_core.oversight.ports import RunningProcess
from billing_postgres.columns import Column, Columns, Fields
from billing_postgres.inbox.rows import ENVELOPE, KEY_OF_EVENT, key_from_row

_PROGRESS: Final = Fields(
    attempt="int",
    due_at="timestamptz",
    reason="text",
    error="text",
    customer_id="text",
    parked_on="text",
    tenant_id="text",
    sequence="bigint",
    finished_at="timestamptz",
    duplicates="int",
    last_duplicate_at="timestamptz",
)
_ATTEMPT: Final = Fields(attempt="int", failed_at="timestamptz", reason="text", error="text")
STORED_EVENTS: Final = Columns[StoredEvent](
    [
        Column("id", "bigint", attrgetter("dispatch_id")),
        *KEY_OF_EVENT.columns,
        *ENVELOPE.columns,
        Column("status", "text", attrgetter("status.value")),
        Column("effect", "text", lambda event: event.effect and event.effect.value),
        *_PROGRESS.columns,
    ]
)
"""Only read: the columns belong to several tables."""


def stored_event_from_row(row: asyncpg.Record) -> StoredEvent:
    """Return one event of the inbox without its body."""
    return StoredEvent(
        dispatch_id=row["id"],
        key=key_from_row(row),
        status=Disposition(row["status"]),
        effect=row["effect"] and Effect(row["effect"]),
        body_kept=row["body_kept"],
        **ENVELOPE.read(row),
        **_PROGRESS.read(row),
    )


def failed_attempt_from_row(row: asyncpg.Record) -> FailedAttempt:
    """Return an attempt that failed."""
    return FailedAttempt(**_ATTEMPT.read(row))


_PROCESS: Final = Fields(
    process_id="text",
    kind="text",
    processes_events="boolean",
    host="text",
    pid="int",
    version="text",
    started_at="timestamptz",
)
PROCESSES: Final = Columns[RunningProcess](_PROCESS.columns)


def process_from_row(row: asyncpg.Record) -> RunningProcess:
    """Return a server or worker as it described itself."""
    return RunningProcess(**_PROCESS.read(row))


DECLARED: Final[Mapping[str, Columns[Any]]] = {"stored_events": STORED_EVENTS, "processes": PROCESSES}
"""By the name that statements use."""
