"""Where the driver's errors end: everything above sees `StoreUnavailableError` or a bug."""

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
    asyncpg.OperatorInterventionError,  # shut down, starting up, statement cancelled
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
"""What another attempt can cure. asyncpg's errors come from two unrelated trees, and the network's from a third."""


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise `StoreUnavailableError` for what another attempt can cure, keeping the cause. Everything else is a bug.

    The text names the kind of the cause only: an address or a name in it may be one too many for a log.
    """
    try:
        yield
    except UNAVAILABLE as exc:
        if isinstance(exc, ValueError):  # the driver's word for an argument that does not fit its column
            raise
        raise StoreUnavailableError(f"{operation}: {type(exc).__name__}") from exc
