"""Rows of received events. The columns are declared here once; see docs/adr/0017-columns-declared-once.md."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import asyncpg

from billing_core.events import Claim, EventKey, Outcome, ProviderEvent
from billing_postgres.columns import Column, Columns, Fields
from billing_postgres.text import storable

_KEY_TYPES: Final = {"event_id": "text", "livemode": "boolean", "account": "text"}
_KEY: Final = Fields(**_KEY_TYPES)
KEY_OF_EVENT: Final = Fields("key", **_KEY_TYPES)
ENVELOPE: Final = Fields(
    type="text",
    api_version="text",
    created_at="timestamptz",
    received_at="timestamptz",
    secret_slot="smallint",  # noqa: S106 - its SQL type
)
KEYS: Final = Columns[EventKey](_KEY.columns)
_TRACE: Final = Fields(trace_context="text")
EVENTS: Final = Columns[ProviderEvent]([*KEY_OF_EVENT.columns, *ENVELOPE.columns, *_TRACE.columns])
CLAIMS: Final = Columns[Claim](
    [Column("event", "bigint", attrgetter("dispatch_id")), Column("attempt", "int", attrgetter("attempt"))]
)
OUTCOMES: Final = Columns[Outcome](
    [
        Column("event", "bigint", attrgetter("claim.dispatch_id")),
        Column("attempt", "int", attrgetter("claim.attempt")),
        Column("status", "text", attrgetter("disposition.value")),
        Column("effect", "text", lambda outcome: outcome.effect and outcome.effect.value),
        Column("reason", "text", attrgetter("reason")),
        Column("error", "text", lambda outcome: storable(outcome.error)),
        *Fields(parked_on="text", tenant_id="text", customer_id="text", sequence="bigint").columns,
    ]
)
DECLARED: Final[Mapping[str, Columns[Any]]] = {"keys": KEYS, "events": EVENTS, "claims": CLAIMS, "outcomes": OUTCOMES}
"""By the name that statements use."""


def key_from_row(row: asyncpg.Record) -> EventKey:
    """Return what a provider event is recognized by."""
    return EventKey(**_KEY.read(row))


def event_from_row(row: asyncpg.Record) -> ProviderEvent:
    """Return a stored provider event with its body."""
    return ProviderEvent(key=key_from_row(row), body=row["body"], **ENVELOPE.read(row), **_TRACE.read(row))


def claim_from_row(row: asyncpg.Record) -> Claim:
    """Return the right to process a stored event."""
    return Claim(
        dispatch_id=row["event"],
        attempt=row["attempt"],
        event=event_from_row(row),
        forgiven=row["forgiven"],
        applied=row["applied"],
        parked=row["parked"],
    )
