"""Translation of the driver's errors: callers see `StoreUnavailableError`, or a bug."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

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

_REFUSED_WRITES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (asyncpg.ReadOnlySQLTransactionError, "Postgres is read-only: a standby, or default_transaction_read_only is on"),
    (asyncpg.DiskFullError, "the disk of Postgres is full"),
    (asyncpg.PostgresSystemError, "Postgres cannot use its disk"),
)
_PORT: Final = 5432


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise `StoreUnavailableError` for errors that a retry can cure, keeping the cause. All others are bugs.

    The text names the type of the cause only: its own text may hold values, which do not belong in a log.
    """
    try:
        yield
    except UNAVAILABLE as exc:
        _require_unavailable(exc)
        meaning = next((f" ({text})" for kind, text in _REFUSED_WRITES if isinstance(exc, kind)), "")
        raise StoreUnavailableError(f"{operation}: {type(exc).__name__}{meaning}") from exc


@contextmanager
def reaching(database_url: str, *, within: float) -> Iterator[None]:
    """Do the same for a connection: the text says which server cannot be reached, how it failed and what to do.

    Args:
        database_url: the address; only its host, port and database are shown.
        within: seconds after which the server counts as one that does not answer.
    """
    try:
        yield
    except UNAVAILABLE as exc:
        _require_unavailable(exc)
        raise StoreUnavailableError(_unreachable(exc, database_url, within)) from exc


def address_of(database_url: str) -> str:
    """Return `host:port` of a database's URL, or the folder of its socket; never the user or the password."""
    parts = urlsplit(database_url)
    query = parse_qs(parts.query)
    host = parts.hostname or next(iter(query.get("host", ())), "localhost")
    if host.startswith("/"):
        return host
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{f'[{host}]' if ':' in host else host}:{port or next(iter(query.get('port', ())), _PORT)}"


def _require_unavailable(exc: Exception) -> None:
    """Raise the error for an argument that does not fit its column. That of a certificate is a ValueError, too."""
    if isinstance(exc, ValueError) and not isinstance(exc, OSError):
        raise exc


def _unreachable(exc: Exception, database_url: str, within: float) -> str:
    kind = _UNRESOLVED if isinstance(exc, socket.gaierror) else _network_fault(exc)
    text = kind or next((text for kinds, text in _UNREACHABLE if isinstance(exc, kinds)), _UNUSABLE)
    database = urlsplit(database_url).path.lstrip("/")
    return f"Postgres at {address_of(database_url)} " + text.format(
        error=type(exc).__name__, seconds=f"{within:g}", database=database
    )


def _network_fault(exc: Exception) -> str | None:
    """Return the text of an error of the network; the driver sums up those of several addresses in a text."""
    if not isinstance(exc, OSError) or isinstance(exc, TimeoutError):
        return None
    if exc.errno == errno.ECONNREFUSED or "refused" in str(exc).lower():
        return "refuses connections: start it, or correct DATABASE_URL"
    if exc.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "cannot be reached over the network: check routes and firewalls, or correct DATABASE_URL"
    return None


_UNRESOLVED: Final = "cannot be found: its name is unknown. Correct DATABASE_URL, or the name service"
_UNUSABLE: Final = "cannot be used ({error}): look at its log"
_UNREACHABLE: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    (
        (asyncpg.InvalidAuthorizationSpecificationError,),
        "refuses the user or the password ({error}): correct DATABASE_URL",
    ),
    ((asyncpg.InvalidCatalogNameError,), "has no database {database!r}: create it, or correct DATABASE_URL"),
    (
        (asyncpg.TooManyConnectionsError,),
        "has no connection left: raise max_connections, or lower BILLING_DB_POOL_SIZE",
    ),
    ((asyncpg.CannotConnectNowError,), "is starting up or shutting down: wait, and look at its log"),
    (
        (TimeoutError,),
        "does not answer within {seconds} s: it is frozen or overloaded, or a firewall drops what is sent to it",
    ),
)
"""Texts about a server that cannot be reached, by the error; the first that fits."""
