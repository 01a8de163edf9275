"""Consumers in a process that tests kill and freeze: `consumer_process.py URL FILE [CONSUMER DIE_AT]`.

`mails` appends each message to a file, an effect outside of the database. `ledger` writes each to the table `effects`
in the transaction of its position. CONSUMER kills the process at message number DIE_AT, after the effect.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from billing_core.consumers.runner import ConsumerPolicy, ConsumerRunner
from billing_core.consumers.values import Consumer, ConsumerMessage
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.consumers.register import PostgresConsumerRegister
from billing_postgres.pool import Database

SOON = timedelta(milliseconds=50)
LEASE = timedelta(seconds=2)
MAILS = Consumer(name="mails", timeout=LEASE / 2, backoff_base=SOON)
LEDGER = Consumer(name="ledger", timeout=LEASE / 2, backoff_base=SOON)


async def main(url: str, file: Path, dying: str | None = None, die_at: str | None = None) -> None:
    """Handle messages until the process is killed."""

    def maybe_die(consumer: Consumer, message: ConsumerMessage) -> None:
        if consumer.name == dying and str(message.sequence) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def mail(message: ConsumerMessage) -> None:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(f"{message.tenant_id} {message.sequence} {message.id} {os.getpid()}\n")
        maybe_die(MAILS, message)
        await asyncio.sleep(0.02)

    async def enter(message: ConsumerMessage, transaction: Any) -> None:
        await transaction.execute("INSERT INTO effects VALUES ($1, $2)", message.tenant_id, message.sequence)
        maybe_die(LEDGER, message)
        await asyncio.sleep(0.02)

    database = Database(url=url)
    async with await database.open_pool(size=8) as pool:
        runner = ConsumerRunner(
            register=PostgresConsumerRegister(database, pool),
            queue=PostgresConsumerQueue(database, pool),
            policy=ConsumerPolicy(lease=LEASE, poll=SOON, messages=4),
            observe=lambda _: None,
        )
        runner.subscribe(MAILS, mail)
        runner.subscribe(LEDGER, enter)
        await runner.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
