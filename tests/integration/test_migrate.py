"""Migrations on a real Postgres: each is applied once, as a whole or not at all, whichever process runs it."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest
from click.testing import CliRunner

from billing_app.cli.migrate import migrate as migrate_command
from billing_core.converters import dumps
from billing_core.errors import StoreUnavailableError
from billing_core.model import PriceId, SubscriptionId
from billing_core.payloads import invoice_section, subscription_section
from billing_core.state.ports import Changes
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, AT, invoice, item, line, message, month, subscription
from billing_embedded import ServerUrls
from billing_postgres import migrate as module
from billing_postgres.migrate import MigrationError, inspect, migrate, packaged, pending, read_migrations
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

pytestmark = pytest.mark.postgres

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def empty_url(servers: ServerUrls, admin: Connection) -> AsyncIterator[str]:
    """The URL of a database without any table."""
    name = f"billing_empty_{secrets.token_hex(6)}"
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield servers.database_url.rpartition("/")[0] + f"/{name}"
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def connection(empty_url: str) -> AsyncIterator[Connection]:
    """A connection to that database."""
    connection = await asyncpg.connect(empty_url)
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the packaged migrations."""
    monkeypatch.setattr(module, "packaged", lambda: read_migrations(tmp_path))
    return tmp_path


def write(folder: Path, name: str, sql: str) -> None:
    """Add or replace a migration."""
    (folder / name).write_text(sql, encoding="utf-8")


async def tables(connection: Connection) -> set[str]:
    """The tables of a database."""
    return {
        row["tablename"]
        for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    }


async def test_an_empty_database_gets_everything_once(empty_url: str, connection: Connection) -> None:
    """The first run applies all in order and says so, the second has nothing to do."""
    names = [migration.name for migration in packaged()]
    assert [migration.name for migration in await pending(empty_url)] == names
    assert [applied.migration.name for applied in await migrate(empty_url)] == names
    assert await migrate(empty_url) == []
    assert await pending(empty_url) == ()
    assert {"stripe_events", "tenant_subscriptions", "billing_events", "schema_migrations"} <= await tables(connection)
    kept = await connection.fetch("SELECT name, ms >= 0 AS timed FROM schema_migrations ORDER BY version")
    assert [(row["name"], row["timed"]) for row in kept] == [(name, True) for name in names]


async def test_events_that_died_for_their_price_are_due_again(
    empty_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With new attempts; events that died of something else stay dead."""
    migrations = packaged()
    revival = next(at for at, each in enumerate(migrations) if "revive_unknown_prices" in each.name)
    with monkeypatch.context() as before:
        before.setattr(module, "packaged", lambda: migrations[:revival])
        await migrate(empty_url)
    await connection.execute(
        "INSERT INTO stripe_event_dispatch (event, status, due_at, attempt, reason) VALUES"
        " (1, 'dead', 'infinity', 7, 'unknown_price'), (2, 'dead', 'infinity', 7, 'bug')"
    )
    await migrate(empty_url)
    rows = await connection.fetch(
        "SELECT status, attempt, forgiven, due_at <= now() AS due FROM stripe_event_dispatch ORDER BY event"
    )
    assert [tuple(row) for row in rows] == [("due", 7, 7, True), ("dead", 7, 0, False)]


async def test_what_was_announced_or_paid_before_keys_were_kept_is_not_announced_again(database_url: str) -> None:
    """The keys are those that the code makes of the same objects."""
    calls = PriceId("price_calls")
    metered = item("si_2", price_id=calls, usage_type="metered", quantity=None)
    regular = line("il_1", price_id=PriceId("price_pro"), period=month(2))
    usage = line("il_2", price_id=calls, period=month(1))
    paid = invoice("in_1", status="paid", subscription_id=SubscriptionId("sub_1"), lines=(regular, usage))
    failed = invoice("in_2", attempt_count=2).snapshot
    trial = subscription(trial_ends_at=month(1).end).snapshot
    shown: Sequence[tuple[str, dict[str, object]]] = [
        ("invoice.payment_failed", {"invoice": invoice_section(failed)}),
        ("invoice.overdue", {"invoice": invoice_section(failed)}),
        ("subscription.trial_ending", {"subscription": subscription_section(trial)}),
        ("subscription.updated", {"subscription": subscription_section(trial)}),
    ]
    sent = [
        message(ACME, number, event_type=event_type, payload=dumps(sections))
        for number, (event_type, sections) in enumerate(shown, start=1)
    ]
    database = Database(url=database_url)
    async with await database.open_pool(size=1) as pool:
        changes = Changes(subscriptions=[subscription(items=(item(), metered))], invoices=[paid], events=sent)
        await save(PostgresRepository(database, pool), changes)
        (migration,) = [each for each in packaged() if "recall_announced_occasions" in each.name]
        await pool.execute(migration.sql)
        rows = await pool.fetch("SELECT key, sequence FROM billing_occasions ORDER BY sequence, key")
    at, end, begin = (int(instant.timestamp()) for instant in (AT, month(1).end, month(2).start))
    assert [tuple(row) for row in rows] == [
        (f"invoice.payment_failed:in_2:2:{at}", 1),
        ("invoice.overdue:in_2:0", 2),
        (f"subscription.trial_ending:sub_1:{end}", 3),
        (f"subscription.renewed:sub_1:{begin}", None),
    ]


async def test_access_and_failed_payments_are_filled_in_from_the_history(
    empty_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The access that the last message named, and failures of invoices that are still owed."""
    migrations = packaged()
    backfill = next(at for at, each in enumerate(migrations) if "backfill_access" in each.name)
    with monkeypatch.context() as before:
        before.setattr(module, "packaged", lambda: migrations[:backfill])
        await migrate(empty_url)
    await connection.execute("INSERT INTO billing_tenants (tenant_id, sequence) VALUES ('acme', 3), ('globex', 0)")
    access = {"state": "grace", "reason": "past_due", "until": "2026-03-08T09:30:00Z"}
    for sequence, minute, invoice_id in ((1, 31, "in_1"), (2, 30, "in_1"), (3, 32, "in_paid")):
        payload = {"access": access if sequence == 3 else None, "invoice": {"invoice_id": invoice_id}}
        await connection.execute(
            "INSERT INTO billing_events (tenant_id, sequence, event_type, event_id, occurred_at, payload)"
            " VALUES ('acme', $1, 'invoice.payment_failed', 'evt_1', $2, $3)",
            sequence,
            datetime(2026, 3, 1, 9, minute, tzinfo=UTC),
            json.dumps(payload),
        )
    for invoice_id, status, failed in (
        ("in_1", "open", '["2026-03-01T09:31:00+00:00", "2026-03-02T00:00:00+00:00"]'),
        ("in_2", "open", "[]"),
        ("in_paid", "paid", "[]"),
    ):
        await connection.execute(
            "INSERT INTO subscription_invoices (invoice_id, tenant_id, status, currency, amount_due, amount_paid,"
            " amount_remaining, total, tax, attempt_count, lines_complete, observed_at, event_ids, failed_at)"
            " VALUES ($1, 'acme', $2, 'usd', 9, 0, 9, 9, 0, 0, true, now(), '{}', $3)",
            *(invoice_id, status, failed),
        )
    await migrate(empty_url)
    tenants = await connection.fetch(
        "SELECT access_state, access_reason, access_until, access_due_at, access_policy FROM billing_tenants"
        " ORDER BY tenant_id"
    )
    until = datetime(2026, 3, 8, 9, 30, tzinfo=UTC)
    assert [tuple(row) for row in tenants] == [("grace", "past_due", until, until, None), (None,) * 5]
    invoices = await connection.fetch("SELECT failed_at FROM subscription_invoices ORDER BY invoice_id")
    assert [json.loads(row["failed_at"]) for row in invoices] == [
        ["2026-03-01T09:30:00+00:00", "2026-03-01T09:31:00+00:00", "2026-03-02T00:00:00+00:00"],
        [],
        [],
    ]


async def test_inspecting_a_database_changes_nothing(empty_url: str, connection: Connection) -> None:
    """Not even the table of applied migrations is created."""
    await inspect(empty_url)
    assert await tables(connection) == set()


async def test_ten_processes_at_once_apply_each_file_once(empty_url: str, connection: Connection) -> None:
    """One applies them, the others wait and find nothing to do."""
    program = (
        "import asyncio, sys; from billing_postgres.migrate import migrate; "
        "print(len(asyncio.run(migrate(sys.stdin.read()))))"
    )

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(empty_url.encode())
        assert process.returncode == 0
        return int(out)

    counts = await asyncio.gather(*(run() for _ in range(10)))
    assert sorted(counts) == [0] * 9 + [len(packaged())]
    assert await connection.fetchval("SELECT count(*) FROM schema_migrations") == len(packaged())


async def test_a_failing_file_leaves_no_trace(empty_url: str, connection: Connection, folder: Path) -> None:
    """Files before it stay applied, files after it are not tried, and the corrected file continues there."""
    write(folder, "0001_pre_one.sql", "CREATE TABLE one (); INSERT INTO one DEFAULT VALUES;")
    write(folder, "0002_pre_two.sql", "CREATE TABLE two (); SELECT * FROM nowhere;")
    write(folder, "0003_post_three.sql", "CREATE TABLE three ();")
    with pytest.raises(MigrationError, match=r"0002_pre_two\.sql: relation \"nowhere\" does not exist"):
        await migrate(empty_url)
    assert await tables(connection) == {"schema_migrations", "one"}
    write(folder, "0002_pre_two.sql", "CREATE TABLE two ();")
    assert [applied.migration.version for applied in await migrate(empty_url)] == [2, 3]


async def test_functions_with_semicolons_pass_unchanged(empty_url: str, connection: Connection, folder: Path) -> None:
    """A file is sent to the database as one text."""
    write(
        folder,
        "0001_pre_function.sql",
        "CREATE FUNCTION two() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; RETURN 2; END $$; SELECT two();",
    )
    await migrate(empty_url)
    assert await connection.fetchval("SELECT two()") == 2


async def test_an_edited_file_is_refused(empty_url: str, folder: Path) -> None:
    """Neither a run nor a check ignores it, and the message says what to do."""
    write(folder, "0001_pre_one.sql", "CREATE TABLE one ();")
    await migrate(empty_url)
    write(folder, "0001_pre_one.sql", "CREATE TABLE one (id int);")
    for look in (migrate, pending):
        with pytest.raises(MigrationError, match=r"0001_pre_one\.sql is not what was applied.*restore the file"):
            await look(empty_url)


async def test_other_line_ends_are_no_edit(empty_url: str, folder: Path) -> None:
    """A checkout on Windows has the same migrations."""
    write(folder, "0001_pre_one.sql", "CREATE TABLE one ();\n-- end\n")
    await migrate(empty_url)
    (folder / "0001_pre_one.sql").write_bytes(b"CREATE TABLE one ();\r\n-- end\r\n")
    assert await migrate(empty_url) == []


async def test_a_database_that_is_ahead_is_named_as_such(empty_url: str, folder: Path) -> None:
    """Older code may run beside newer code: it has nothing to apply, and reports it."""
    write(folder, "0001_pre_one.sql", "CREATE TABLE one ();")
    write(folder, "0002_pre_two.sql", "CREATE TABLE two ();")
    await migrate(empty_url)
    (folder / "0002_pre_two.sql").unlink()
    status = await inspect(empty_url)
    assert (status.pending, status.ahead) == ((), ("0002_pre_two",))
    assert await migrate(empty_url) == []


async def test_a_database_of_other_code_is_refused(empty_url: str, connection: Connection, folder: Path) -> None:
    """A database with a later migration but without an earlier one was migrated by other code."""
    write(folder, "0001_pre_one.sql", "CREATE TABLE one ();")
    write(folder, "0002_pre_two.sql", "CREATE TABLE two ();")
    await migrate(empty_url)
    await connection.execute("UPDATE schema_migrations SET version = 9, name = '0009_pre_other' WHERE version = 2")
    with pytest.raises(MigrationError, match="has 0009 but not 0002_pre_two"):
        await migrate(empty_url)


async def test_waiting_for_a_busy_table_has_a_limit(empty_url: str, connection: Connection, folder: Path) -> None:
    """All other statements would queue behind the waiting migration."""
    write(folder, "0001_pre_one.sql", "CREATE TABLE one ();")
    await migrate(empty_url)
    write(folder, "0002_pre_two.sql", "SET LOCAL lock_timeout = '50ms'; ALTER TABLE one ADD COLUMN id int;")
    async with connection.transaction():
        await connection.execute("LOCK TABLE one IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="a table is in use; nothing was changed"):
            await migrate(empty_url)
    assert len(await migrate(empty_url)) == 1


async def test_an_unreachable_database_is_unavailable() -> None:
    """The same error as everywhere, without the password of the URL in it."""
    with pytest.raises(StoreUnavailableError) as caught:
        await migrate("postgresql://someone:secret@127.0.0.1:1/nowhere")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_pre_one.sql", "0003_pre_three.sql"], r"0003_pre_three\.sql should have the number 0002"),
        (["0001_pre_one.sql", "0001_pre_two.sql"], r"0001_pre_two\.sql should have the number 0002"),
        (["0001_one.sql"], r"0001_one\.sql is not named like"),
        (["0001_pre_one.sql", "notes.txt"], r"notes\.txt is not named like"),
    ],
)
def test_a_folder_with_a_wrong_name_or_number_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    """Two branches with the same number are detected before anything is applied."""
    for name in names:
        write(tmp_path, name, "SELECT 1;")
    with pytest.raises(MigrationError, match=message):
        read_migrations(tmp_path)


def test_the_command_checks_applies_and_reports(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` exits with 1 while something is pending and changes nothing; a run applies it; then it exits with 0."""
    monkeypatch.setenv("DATABASE_URL", empty_url)
    names = [migration.name for migration in packaged()]
    runner = CliRunner()
    results = [runner.invoke(migrate_command, [*flags, "--json"]) for flags in (["--check"], [], ["--check"])]
    assert [result.exit_code for result in results] == [1, 0, 0]
    assert [json.loads(result.output) for result in results] == [
        {"applied": [], "pending": names, "ahead": []},
        {"applied": names, "pending": [], "ahead": []},
        {"applied": [], "pending": [], "ahead": []},
    ]
