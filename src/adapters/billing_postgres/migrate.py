"""Migrates a database to the schema this code needs: plain SQL files, applied in order, each once.

A file is named `NNNN_pre_what.sql` when it runs before the new code is rolled out and `NNNN_post_what.sql` when it runs
after the old code is gone. Once released it is never edited: its checksum is stored and compared.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import asyncpg
import attrs

from billing_core.errors import BillingError
from billing_postgres import queries
from billing_postgres.errors import reaching, translated

_QUERIES: Final = queries.load("migrate")
_FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<phase>pre|post)_\w+\.sql", re.ASCII)
_LOCK: Final = 0x62696C6C696E67
"""The advisory lock of all migrations in a database: "billing" in ASCII."""
_LOCK_PATIENCE: Final = timedelta(minutes=2)
_CONNECT_PATIENCE: Final = 10.0
"""Seconds that a connection may take."""
_LOCK_POLL: Final = timedelta(milliseconds=50)


class MigrationError(BillingError):
    """The schema cannot be migrated. The text names the file and what to do."""

    code = "migration_error"


@attrs.frozen(kw_only=True)
class Migration:
    """One migration file."""

    version: int
    name: str
    """The file's name without its extension."""
    checksum: str
    sql: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class AppliedMigration:
    """A migration that was applied just now."""

    migration: Migration
    took: timedelta


@attrs.frozen(kw_only=True)
class SchemaStatus:
    """The schema of a database, compared with what this code needs."""

    pending: tuple[Migration, ...]
    """Migrations that this code needs and the database does not have yet, in order."""
    ahead: tuple[str, ...]
    """Migrations applied by newer code, by name. Older code may still run: additions do not harm it."""


async def migrate(database_url: str) -> Sequence[AppliedMigration]:
    """Apply the pending migrations, each in a transaction of its own, and return them.

    Any number of processes may call this at once: one applies them, and the others wait and find nothing to do.
    Raises: MigrationError for a file that was edited after it was applied, or that the database refuses;
    StoreUnavailableError when the database is not reachable.
    """
    known = packaged()
    async with _connected(database_url) as connection, _locked(connection):
        await connection.execute(_QUERIES["create_schema_migrations"])
        status = _compare(known, await _applied(connection))
        return [await _apply(connection, migration) for migration in status.pending]


async def pending(database_url: str) -> Sequence[Migration]:
    """Return the migrations that `migrate` would apply. Raises as it does."""
    return (await inspect(database_url)).pending


async def inspect(database_url: str) -> SchemaStatus:
    """Compare the database's schema with this code; changes nothing. Raises as `migrate` does."""
    async with _connected(database_url) as connection:
        return _compare(packaged(), await _applied(connection))


def packaged() -> Sequence[Migration]:
    """Return the migrations that this code comes with, in order."""
    return read_migrations(files("billing_postgres").joinpath("migrations"))


def read_migrations(folder: Traversable) -> Sequence[Migration]:
    """Return the migrations of a folder, in order. MigrationError for a wrong name, a missing or a repeated number."""
    migrations = sorted(map(_read, folder.iterdir()), key=lambda migration: migration.name)
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(f"{migration.name}.sql should have the number {expected:04}")
    return migrations


def _read(file: Traversable) -> Migration:
    match = _FILE_NAME.fullmatch(file.name)
    if match is None:
        raise MigrationError(f"{file.name} is not named like 0001_pre_create_tables.sql")
    raw = file.read_bytes().replace(b"\r\n", b"\n")  # a checkout on Windows is not an edit
    return Migration(
        version=int(match["version"]),
        name=file.name.removesuffix(".sql"),
        checksum=hashlib.sha256(raw).hexdigest(),
        sql=raw.decode(),
    )


def _compare(known: Iterable[Migration], applied: Mapping[int, tuple[str, str]]) -> SchemaStatus:
    """Compare the files with the applied migrations, given as name and checksum by version."""
    missing = []
    foreign = dict(applied)
    for migration in known:
        name, checksum = foreign.pop(migration.version, (None, None))
        if name is None:
            missing.append(migration)
        elif checksum != migration.checksum:
            raise MigrationError(
                f"{migration.name}.sql is not what was applied as {name}: restore the file as it was released, "
                "and put the change into a new one"
            )
    if missing and foreign:
        raise MigrationError(f"the database has {min(foreign):04} but not {missing[0].name}: it belongs to other code")
    return SchemaStatus(pending=tuple(missing), ahead=tuple(name for name, _ in foreign.values()))


async def _applied(connection: "asyncpg.Connection[asyncpg.Record]") -> Mapping[int, tuple[str, str]]:
    if not await connection.fetchval(_QUERIES["find_schema_migrations"]):
        return {}
    rows = await connection.fetch(_QUERIES["list_schema_migrations"])
    return {row["version"]: (row["name"], row["checksum"]) for row in rows}


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> AppliedMigration:
    started = time.monotonic()
    try:
        async with connection.transaction():
            await connection.execute(_QUERIES["limit_lock_waits"])
            await connection.execute(migration.sql)
            took = timedelta(seconds=time.monotonic() - started)
            await connection.execute(
                _QUERIES["write_schema_migration"],
                migration.version,
                migration.name,
                migration.checksum,
                round(took / timedelta(milliseconds=1)),
            )
    except asyncpg.LockNotAvailableError as exc:
        raise MigrationError(f"{migration.name}.sql: a table is in use; nothing was changed, run it again") from exc
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as exc:
        raise MigrationError(f"{migration.name}.sql: {exc}; nothing of it was applied") from exc
    return AppliedMigration(migration=migration, took=took)


@asynccontextmanager
async def _connected(database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Open a connection outside any pool: a pool would pass the session's lock on to another user."""
    with reaching(database_url, within=_CONNECT_PATIENCE):
        connection = await asyncpg.connect(
            database_url,
            timeout=_CONNECT_PATIENCE,
            statement_cache_size=0,
            server_settings={"application_name": "billing migrate"},
        )
    with translated("migrate"):
        try:
            yield connection
        finally:
            await connection.close(timeout=5)


@asynccontextmanager
async def _locked(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    """Hold the lock of all migrations.

    Polled, because a session that waits for an advisory lock holds a snapshot, and a migration that builds an index
    concurrently would wait for that snapshot in turn. The lock ends with the connection.
    """
    deadline = time.monotonic() + _LOCK_PATIENCE.total_seconds()
    while not await connection.fetchval(_QUERIES["try_lock_migrations"], _LOCK):
        if time.monotonic() > deadline:
            raise MigrationError("another process has been migrating this database for two minutes: see what it does")
        await asyncio.sleep(_LOCK_POLL.total_seconds())
    yield
