"""Rows of consumers."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from billing_core.consumers.ports import ConsumerClaim, Progress, RegisteredConsumer
from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName, MessageId, Start
from billing_core.model.epoch import FIRST_EPOCH
from billing_postgres.stream.rows import message_from_row
from billing_postgres.text import storable


def consumer_arguments(consumer: Consumer) -> Sequence[object]:
    """Return the columns that a consumer declares; the last two are its start."""
    instant = None if isinstance(consumer.start, str) else consumer.start
    return [
        consumer.name,
        list(consumer.event_types),
        [_like(glob) for glob in consumer.event_types],
        consumer.on_dead.value,
        consumer.attempts,
        consumer.backoff_base,
        consumer.backoff_cap,
        consumer.timeout,
        "instant" if instant else consumer.start,
        instant,
    ]


def _like(glob: str) -> str:
    """Return the pattern of LIKE, in which an underscore stands for any character unless it is escaped."""
    return glob.replace("_", r"\_").replace("*", "%")


def registered_from_row(row: asyncpg.Record) -> RegisteredConsumer:
    """Return a consumer."""
    start: Start = row["start_at"] or row["start"]
    return RegisteredConsumer(
        consumer=Consumer(
            name=row["consumer"],
            event_types=tuple(row["event_types"]),
            start=start,
            on_dead=row["on_dead"],
            attempts=row["attempts"],
            backoff_base=row["backoff_base"],
            backoff_cap=row["backoff_cap"],
            timeout=row["timeout"],
        ),
        registered_at=row["registered_at"],
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
        catching_up=row["walk_cursor"] is not None,
    )


def claim_from_row(row: asyncpg.Record) -> ConsumerClaim:
    """Return a claim."""
    return ConsumerClaim(
        consumer=ConsumerName(row["consumer"]),
        tenant_id=row["tenant_id"],
        position=row["position"],
        last=row["last"],
        fence=row["fence"],
        attempt=row["attempts"],
    )


def received_from_row(row: asyncpg.Record) -> ConsumerMessage:
    """Return a message with its id."""
    event = message_from_row(row)
    epoch = row["epoch"] or FIRST_EPOCH.token
    return ConsumerMessage(id=MessageId(epoch=epoch, tenant_id=event.tenant_id, sequence=event.sequence), event=event)


def progress_arrays(progress: Sequence[Progress]) -> Sequence[Sequence[object]]:
    """Return the arguments of `settle_positions`."""
    claims = [each.claim for each in progress]
    return [
        [each.consumer for each in claims],
        [each.tenant_id for each in claims],
        [each.fence for each in claims],
        [each.position for each in claims],
        [each.step.value for each in progress],
        [each.position for each in progress],
        [each.attempts for each in progress],
        [each.after for each in progress],
        [storable(each.error) for each in progress],
    ]
