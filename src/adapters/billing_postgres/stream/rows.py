"""Rows of numbered messages. The columns are declared here once; see docs/adr/0017-columns-declared-once.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import asyncpg

from billing_core.events import BillingEvent
from billing_postgres.columns import Columns, Fields

_MESSAGE: Final = Fields(
    tenant_id="text", sequence="bigint", event_type="text", event_id="text", occurred_at="timestamptz", payload="json"
)
MESSAGES: Final = Columns[BillingEvent](_MESSAGE.columns)


def message_from_row(row: asyncpg.Record) -> BillingEvent:
    """Return a numbered message."""
    return BillingEvent(**_MESSAGE.read(row))


DECLARED: Final[Mapping[str, Columns[Any]]] = {"messages": MESSAGES}
"""By the name that statements use."""
