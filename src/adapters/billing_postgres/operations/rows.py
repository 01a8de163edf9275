"""Rows of operations; see docs/adr/0017-columns-declared-once.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import asyncpg

from billing_core.converters import loads
from billing_core.operations.commands import Command, command_from_json
from billing_core.operations.errors import OperationFailure
from billing_core.operations.results import OperationResult
from billing_core.operations.stored import OperationRequest, OperationStatus, StoredOperation
from billing_postgres.columns import Column, Columns, Fields

_REQUEST: Final = Fields(
    "request",
    tenant_id="text",
    operation="text",
    request_id="text",
    subject="text",
    arguments_hash="text",
    actor="text",
)
_STANDING: Final = Fields(
    operation_id="bigint",
    number="int",
    key="text",
    attempts="int",
    last_error="text",
    given_up_by="text",
    given_up_reason="text",
    begun_at="timestamptz",
    planned_at="timestamptz",
    resolved_at="timestamptz",
    leased_until="timestamptz",
)


def _unwritten(_: object) -> object:
    raise NotImplementedError("operations are written column by column")


OPERATIONS: Final = Columns[StoredOperation](
    [
        *_REQUEST.columns,
        *_STANDING.columns,
        Column("status", "text", _unwritten),
        Column("command", "json", _unwritten),
        Column("result", "json", _unwritten),
        Column("failure", "json", _unwritten),
    ]
)
"""Only read: each statement writes some of them."""


def operation_from_row(row: asyncpg.Record) -> StoredOperation:
    """Return a stored operation."""
    return StoredOperation(
        request=OperationRequest(**_REQUEST.read(row)),
        **_STANDING.read(row),
        status=OperationStatus(row["status"]),
        command=_command_in(row["command"]),
        result=None if row["result"] is None else loads(row["result"], OperationResult),
        failure=None if row["failure"] is None else loads(row["failure"], OperationFailure),
        read_at=row["read_at"],
    )


def _command_in(text: str | None) -> Command | None:
    """Read a command; None if there is none, and if another release wrote one that this one does not know."""
    if text is None:
        return None
    try:
        return command_from_json(text)
    except (KeyError, ValueError, TypeError):
        return None


DECLARED: Final[Mapping[str, Columns[Any]]] = {"operations": OPERATIONS}
"""By the name that statements use."""
