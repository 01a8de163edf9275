"""Translation of the driver's errors: callers see `StoreUnavailableError`, or a bug."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from billing_core.errors import StoreUnavailableError

UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shut down, starting up, statement canceled
    asyncpg.InsufficientResourcesError,  # disk full, no connection left
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,  # lock_timeout
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, after a failover
    asyncpg.PostgresSystemError,  # I/O errors of the server's disk
    asyncpg.InvalidCachedStatementError,  # the schema changed under a prepared statement
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""Errors that a retry can cure. asyncpg's come from two unrelated trees, and the network's from a third."""


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise `StoreUnavailableError` for errors that a retry can cure, keeping the cause. All others are bugs.

    The text names the type of the cause only: its own text may hold addresses, which do not belong in a log.
    """
    try:
        yield
    except UNAVAILABLE as exc:
        # The driver's error for an argument that does not fit its column; one of a certificate is a ValueError too.
        if isinstance(exc, ValueError) and not isinstance(exc, OSError):
            raise
        raise StoreUnavailableError(f"{operation}: {type(exc).__name__}") from exc
