"""The contracts of the consumer ports, in memory and on Postgres."""

from __future__ import annotations

from tests.contract.conftest import InMemory, OnPostgres

from billing_core.testing.consumers.consumer_oversight import ConsumerOversightContract
from billing_core.testing.consumers.consumer_queue import ConsumerQueueContract
from billing_core.testing.consumers.consumer_register import ConsumerRegisterContract


class TestMemoryRegister(InMemory, ConsumerRegisterContract): ...


class TestPostgresRegister(OnPostgres, ConsumerRegisterContract): ...


class TestMemoryQueue(InMemory, ConsumerQueueContract): ...


class TestPostgresQueue(OnPostgres, ConsumerQueueContract): ...


class TestMemoryOversight(InMemory, ConsumerOversightContract): ...


class TestPostgresOversight(OnPostgres, ConsumerOversightContract): ...
