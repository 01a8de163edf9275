"""The contracts of the operations ports, in memory and on Postgres."""

from tests.contract.conftest import InMemory, OnPostgres

from billing_core.testing.operations.operation_log import OperationLogContract


class TestMemoryOperationLog(InMemory, OperationLogContract): ...


class TestPostgresOperationLog(OnPostgres, OperationLogContract): ...
