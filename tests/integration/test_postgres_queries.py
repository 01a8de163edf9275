"""The SQL: named, valid, in one place, and with a constant number of statements per batch."""

import ast
import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import attrs
import pytest
from tests.databases import Databases

import billing_postgres
from billing_core.events import Disposition, Effect, Outcome
from billing_core.model import CustomerId, InvoiceId, TenantId
from billing_core.state.ports import Changes
from billing_core.testing.arrange import claimed, due, park, save
from billing_core.testing.builders import (
    ACME,
    customer,
    invoice,
    message,
    provenance,
    provider_event,
    subscription,
    usage,
)
from billing_core.testing.timing import LONG
from billing_postgres import queries
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Connection, Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.state.transaction import PostgresTransaction

ADAPTER = Path(billing_postgres.__file__).parent
SOURCES = [path for path in ADAPTER.parents[1].rglob("*.py") if "testing" not in path.parts]
FILES = sorted(path.stem for path in (ADAPTER / "queries").glob("*.sql"))
WRITERS = {
    "write_inbox": {"event_inbox.py", "recorder.py", "wakeup.py"},
    "write_inbox_upkeep": {"upkeep.py"},
    "write_state": {"transaction.py"},
    "write_erasures": {"transaction.py"},
    "write_outbox": {"outbox.py"},
    "write_audits": {"event_log.py", "oversight.py"},
    "write_consumers": {"register.py", "queue.py", "oversight.py"},
    "write_consumer_actions": {"oversight.py"},
    "write_delays": {"delays.py"},
    "write_epochs": {"epochs.py"},
    "write_tickets": {"tickets.py"},
    "write_revocations": {"revocations.py"},
    "write_processes": {"processes.py"},
    "write_refusals": {"refusals.py"},
    "write_rules": {"rules.py"},
    "write_operations": {"log.py"},
    "write_provider_account": {"installation.py"},
    "write_receivers": {"receivers.py"},
    "migrate": {"migrate.py"},
    "session": {"pool.py"},
}
"""The modules that may use a file of statements that write."""
STATE_TABLES = {
    "billing_customers",
    "billing_events",
    "billing_grants",
    "billing_link_decisions",
    "billing_occasions",
    "billing_records",
    "billing_tenants",
    "provisional_views",
    "subscription_invoices",
    "subscription_items",
    "subscription_usage",
    "tenant_subscriptions",
}
"""Nothing but `write_state` writes them."""
QUEUE_TABLES = {
    "billing_consumer_skips",
    "billing_consumer_tenants",
    "billing_consumers",
    "billing_log_rewrites",
    "billing_outbox",
    "operation_echoes",
    "stripe_event_attempts",
    "stripe_event_bodies",
    "stripe_event_dispatch",
    "stripe_event_waits",
    "stripe_events",
}
"""Work to do, and notes of it, which some statements hand to others or delete once they are old."""
TABLES = (
    "billing_customers",
    "billing_events",
    "billing_records",
    "stripe_event_dispatch",
    "stripe_events",
    "subscription_invoices",
    "subscription_items",
    "subscription_usage",
    "tenant_subscriptions",
)
SQL = re.compile(
    r"\b(INSERT\s+INTO|UPDATE\s+(ONLY\s+)?[\w.\"]+(\s+(AS\s+)?\w+)?\s+SET|DELETE\s+FROM|SELECT\s.+\sFROM|TRUNCATE\s+\w+"
    r"|MERGE\s+INTO|COPY\s+[\w.\"]+\s+FROM\s+STDIN|ALTER\s+TABLE|CREATE\s+TABLE)\b",
    re.DOTALL | re.IGNORECASE,
)


KEPT = {
    "create_customers",
    "create_tenants",
    "erase_bodies",
    "find_customers",
    "find_deciding_subscriptions",
    "find_decisions",
    "find_disputes",
    "find_erased",
    "find_held_grants",
    "find_invoices",
    "find_occasions",
    "find_owners",
    "find_records",
    "find_stored_events",
    "find_tenants_on",
    "find_tenants_under",
    "find_usage",
    "find_views",
    "lock_customers",
    "lock_tenants",
    "note_rules",
    "save_access",
    "save_batch",
    "save_customers",
    "save_echoes",
    "save_invoices",
    "save_occasions",
    "save_records",
    "save_usage",
    "save_views",
    "wait_for_objects",
}
"""Statements that apply the events of subscriptions and invoices."""
STATE = {**queries.load("read_state"), **queries.load("write_state"), **queries.load("write_erasures")}
SEARCHED = {"CTE Scan", "Function Scan", "Materialize", "ProjectSet"}
"""Nodes that return all values of a batch, whatever they are asked for."""
SMALL = {"billing_rules", "stripe_event_dispatch_parked_since"}
"""A table, and an index of parked events, that stay small enough to be read whole."""
FEW_FIRST = {"billing_tenants_rules_generation"}
"""Indexes whose first column has few values: Postgres 18 looks a later column up below each of them."""


class Scan(NamedTuple):
    """A scan in a plan: of an index, or of a whole table."""

    statement: str
    of: str
    by_key: bool
    """Whether it begins at a value of the index's first column. With a condition on a later one only, all is read."""


async def _plans(session: Connection, name: str, text: str) -> list[dict[str, Any]]:
    """Return all nodes of the plan of a statement that is kept in this session."""
    await session.execute(f"PREPARE {name} AS {text}")
    count = max(map(int, re.findall(r"\$(\d+)", text)), default=0)
    arguments = f"({', '.join(['NULL'] * count)})" if count else ""
    (row,) = await session.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE {name}{arguments}")
    return _nodes(row[0])


def _nodes(explained: str) -> list[dict[str, Any]]:
    """Return all nodes of the plan that an EXPLAIN in JSON shows."""
    plans: list[dict[str, Any]] = [json.loads(explained)[0]["Plan"]]
    for plan in plans:
        plans += plan.get("Plans", ())
    return plans


def _searches(name: str, plans: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return where a plan searches all values of a batch again for each row; hashed, they are searched once."""
    found = []
    for plan in plans:
        joined = [part["Node Type"] for part in plan.get("Plans", ()) if "Subplan Name" not in part]
        if plan["Node Type"] == "Nested Loop" and joined[0] != "Result":
            found += [(name, inner) for inner in joined[1:] if inner in SEARCHED]
        conditions = " ".join(plan.get(kind, "") for kind in ("Filter", "Join Filter", "One-Time Filter"))
        found += [(name, text) for text in re.findall(r"(?:ANY|ALL) \(\$\d+\)", conditions)]
        unhashed = {f"SubPlan {number}" for number in re.findall(r"(?<!hashed )SubPlan (\d+)", conditions)}
        found += [
            (name, part["Node Type"])
            for part in plan.get("Plans", ())
            if part.get("Subplan Name") in unhashed and part["Node Type"] in SEARCHED
        ]
    return found


async def _scans(session: Connection, name: str, plans: list[dict[str, Any]]) -> list[Scan]:
    """Return the scans of a plan."""
    first = dict(
        await session.fetch("SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid, 1, false) FROM pg_index")
    )
    scans = []
    for plan in plans:
        table, index = plan.get("Relation Name"), plan.get("Index Name")
        if not SMALL.isdisjoint((table, index)):
            continue
        if index is not None:
            key = rf"\((\w+\.)?{re.escape(first[index])} (=|IS NULL)"
            by_key = re.search(key, plan.get("Index Cond", "")) is not None
            scans.append(Scan(name, index, by_key or index in FEW_FIRST))
        elif plan["Node Type"] == "Seq Scan":
            scans.append(Scan(name, table, by_key=False))
    return scans


@cache
def strings(path: Path) -> list[str]:
    """Every string in a module, docstrings and comments left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    plain = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    formatted = [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "formatted" for part in node.values)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
    ]
    return plain + formatted


def test_sql_stands_in_the_queries_only() -> None:
    """There is no second way to write a table: no module contains SQL."""
    assert len(SOURCES) > 40
    offenders = {path.name for path in SOURCES for text in strings(path) if SQL.search(text)}
    assert offenders == set()


@pytest.mark.parametrize(
    "code",
    [
        'x = "UPDATE tenant_subscriptions SET status = $1"',
        'x = "UPDATE tenant_subscriptions AS s SET status = $1"',
        'x = "UPDATE ONLY public.tenant_subscriptions s SET status = $1"',
        'x = f"UPDATE {table} SET status = $1"',
        'x = "MERGE INTO tenant_subscriptions USING seen ON true WHEN MATCHED THEN DELETE"',
        'x = "COPY tenant_subscriptions FROM STDIN"',
    ],
)
def test_sql_is_recognized_in_any_form(code: str, tmp_path: Path) -> None:
    """With an alias, a schema, or a table that is put in."""
    module = tmp_path / "module.py"
    module.write_text(code)
    assert any(SQL.search(text) for text in strings(module))


def test_tables_of_state_are_written_by_one_file_of_queries() -> None:
    """The statements that `BillingService` writes through stand together; no other file changes a tenant's rows.

    A new table fails here until it is listed as one of them, or is written by another file.
    """
    writing = (
        r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO|COPY)\s+(?:ONLY\s+)?([a-z]\w+)"
    )
    writers: dict[str, set[str]] = {}
    for name in set(FILES) - {"write_erasures"}:  # an erasure deletes rows, whatever wrote them
        for table in re.findall(writing, "\n".join(queries.load(name).values())):
            writers.setdefault(table, set()).add(name)
    assert {table for table, files in writers.items() if files == {"write_state"}} == STATE_TABLES
    assert {table for table, files in writers.items() if len(files) > 1} == QUEUE_TABLES


@pytest.mark.parametrize("name", FILES)
def test_no_statement_gives_a_session_other_rights(name: str) -> None:
    """A connection that only reads would be one no more if a statement could make it write."""
    looked_at = "current_setting('default_transaction_read_only')"
    text = "\n".join(queries.load(name).values()).replace(looked_at, "")
    assert re.search(r"\bREAD\s+WRITE\b|read_only|\bSET\s+(SESSION|ROLE|LOCAL\s+ROLE)\b", text, re.IGNORECASE) is None


def test_writing_queries_are_loaded_where_writing_is_allowed() -> None:
    """Each file of statements that write belongs to one adapter."""
    users: dict[str, set[str]] = {name: set() for name in WRITERS}
    for path in SOURCES:
        for name in users.keys() & set(re.findall(r'load\("(\w+)"\)', path.read_text(encoding="utf-8"))):
            users[name].add(path.name)
    assert users == WRITERS


@pytest.mark.parametrize("name", [name for name in FILES if name not in WRITERS])
def test_a_readers_file_only_reads(name: str) -> None:
    """It contains no statement that changes or locks anything, and its name says so."""
    assert name.startswith("read_")
    text = "\n".join(queries.load(name).values())
    assert re.search(r"\b(INSERT|UPDATE|DELETE|FOR NO KEY|NOTIFY)\b", text) is None


@pytest.mark.parametrize("name", FILES)
def test_every_statement_is_used(name: str) -> None:
    """A query without a caller is deleted."""
    used = {text for path in SOURCES for text in strings(path)}
    assert queries.load(name).keys() - used == set()


@pytest.fixture(scope="module")
async def databases_of_plans(databases: Databases) -> AsyncIterator[Databases]:
    """Return databases that no other test has filled: plans depend on the size of tables."""
    async with databases.apart() as apart:
        yield apart


@pytest.mark.postgres
class TestStatements:
    """Against the schema."""

    @pytest.fixture
    async def database_url(self, databases_of_plans: Databases) -> AsyncIterator[str]:
        async with databases_of_plans.fresh() as url:
            yield url

    @pytest.fixture
    async def connection(self, database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        connection = await asyncpg.connect(database_url)
        yield connection
        await connection.close()

    @pytest.mark.parametrize("name", [name for name in FILES if name != "migrate"])
    async def test_every_statement_fits_the_schema(
        self, connection: "asyncpg.Connection[asyncpg.Record]", name: str
    ) -> None:
        """Also those that a test run may not reach; each takes as many arguments as it numbers."""
        for query, text in queries.load(name).items():
            statement = await connection.prepare(text)
            numbered = {int(number) for number in re.findall(r"\$(\d+)", text)}
            assert len(statement.get_parameters()) == max(numbered, default=0), query

    async def test_a_claim_whose_body_was_pruned_is_buried(
        self, connection: "asyncpg.Connection[asyncpg.Record]", database_url: str
    ) -> None:
        """It can never be processed; the other events of its batch are."""
        database = Database(url=database_url)
        async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as store:
            for number in (1, 2):
                await store.record(provider_event(f"evt_{number}"))
            await connection.execute(
                "DELETE FROM stripe_event_bodies WHERE event = (SELECT id FROM stripe_events WHERE event_id = 'evt_1')"
            )
            claims = await store.claim(limit=10, lease=LONG)
            assert [claim.event.event_id for claim in claims] == ["evt_2"]
        row = await connection.fetchrow(
            "SELECT status, reason, finished_at IS NOT NULL AS finished FROM stripe_event_dispatch JOIN stripe_events"
            " ON id = event WHERE event_id = 'evt_1'"
        )
        assert row is not None
        assert tuple(row) == ("dead", "permanent", True)

    async def test_the_bodies_of_claimed_events_are_not_written_to_temporary_files(
        self, connection: "asyncpg.Connection[asyncpg.Record]", database_url: str
    ) -> None:
        """They would be if a part of the statement returned them: together they do not fit into `work_mem`."""
        database, body = Database(url=database_url), b"x" * 7_000
        async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as store:
            events = [attrs.evolve(provider_event(f"evt_{number}"), body=body) for number in range(800)]
            await asyncio.gather(*(store.record(event) for event in events))
        claim = queries.load("write_inbox")["claim_events"]
        explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claim}", 800, LONG)
        (plan,) = json.loads(explained)
        assert (plan["Plan"]["Actual Rows"], plan["Plan"]["Temp Written Blocks"]) == (800, 0)

    async def test_bodies_are_compressed_where_the_server_can_do_so_quickly(
        self, connection: "asyncpg.Connection[asyncpg.Record]", database_url: str
    ) -> None:
        """Beside their row, so that many share a page; where it cannot, they are stored as they are."""
        database, body = Database(url=database_url), b'{"object": "event"}' * 200
        async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as store:
            await store.record(attrs.evolve(provider_event(), body=body))
        quickly = await connection.fetchval(
            "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
        )
        row = await connection.fetchrow(
            "SELECT body, pg_column_compression(body) AS method, pg_column_size(body) AS stored"
            " FROM stripe_event_bodies"
        )
        assert row is not None
        assert (row["body"], row["method"]) == (body, "lz4" if quickly else None)
        assert (row["stored"] < len(body) / 10) == quickly

    async def test_events_whose_link_was_missed_are_found_unless_they_are_locked(
        self, connection: "asyncpg.Connection[asyncpg.Record]", database_url: str
    ) -> None:
        """No unit of work leaves such an event behind; looking for them waits for no other transaction."""
        database = Database(url=database_url)
        async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as store:
            repository = PostgresRepository(database, pool)
            await save(repository, Changes(customers=[customer("cus_1", None), customer("cus_2", None)]))
            for number in (1, 2):
                await park(store, repository, f"evt_{number}", on=CustomerId(f"cus_{number}"))
            await connection.execute("UPDATE billing_customers SET tenant_id = 'acme' WHERE customer_id = 'cus_1'")
            async with connection.transaction():
                await connection.execute("SELECT FROM stripe_event_dispatch FOR UPDATE")
                assert await store.unpark() == 0
            assert await store.unpark() == 1
            assert await due(store) == ["evt_1"]

    async def test_a_batch_takes_the_same_statements_whatever_its_size(self, database_url: str) -> None:
        """Every event would pay for round trips of its own."""
        database = Database(url=database_url)
        async with await database.open_pool(size=1) as pool, PostgresEventInbox(database, pool) as store:
            repository = PostgresRepository(database, pool)
            await self._statements(store, repository, pool, 2)  # a new connection learns its types first
            counts = [await self._statements(store, repository, pool, size) for size in (1, 7, 60)]
        assert counts == [12, 12, 12]

    @pytest.mark.parametrize("tenants", [0, 1, 60])
    async def test_statements_that_keep_their_plans_look_rows_up_by_index(
        self, database_url: str, connection: "asyncpg.Connection[asyncpg.Record]", tenants: int
    ) -> None:
        """A plan that was made for empty tables is kept while they grow, and serves batches of any size."""
        database = Database(url=database_url)
        async with await database.open_pool(size=1) as pool, PostgresEventInbox(database, pool) as store:
            repository = PostgresRepository(database, pool)
            if tenants:
                await self._statements(store, repository, pool, tenants)
                await connection.execute("ANALYZE")
            async with database.begun(pool, isolation="read_committed", readonly=False) as session:
                await PostgresTransaction(session).hold([await claimed(store, provider_event("evt_1"))])
                assert await session.fetchval("SHOW plan_cache_mode") == "force_generic_plan"
                plans = {name: await _plans(session, name, STATE[name]) for name in sorted(KEPT)}
                scans = [await _scans(session, name, nodes) for name, nodes in plans.items()]
        assert [scan for scan in itertools.chain(*scans) if not scan.by_key] == []
        assert list(itertools.chain(*itertools.starmap(_searches, plans.items()))) == []

    @pytest.mark.parametrize("minutes", [0, 5, 1500])
    async def test_delays_of_some_minutes_are_found_by_index(
        self, connection: "asyncpg.Connection[asyncpg.Record]", minutes: int
    ) -> None:
        """The overview asks for a window of them again and again; what it reads grows with the window only."""
        await connection.execute(
            "INSERT INTO billing_delays SELECT date_trunc('minute', now()) - m * interval '1 minute', s, b, 1"
            " FROM generate_series(0, $1::int - 1) AS m, unnest(ARRAY['stored', 'applied', 'published']) AS s,"
            " generate_series(1, 8) AS b",
            minutes,
        )
        await connection.execute("ANALYZE billing_delays")
        since = datetime.now(UTC) - timedelta(minutes=5)
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {queries.load('write_delays')['sum_delays']}", since
        )
        (scan,) = [plan for plan in _nodes(explained) if plan.get("Relation Name") == "billing_delays"]
        assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= 5 * 3 * 8
        if minutes > 100:
            assert "Index Cond" in scan or "Recheck Cond" in scan

    async def test_columns_of_a_later_version_do_not_disturb_this_one(
        self, connection: "asyncpg.Connection[asyncpg.Record]", database_url: str
    ) -> None:
        """A migration adds them while this code still runs: it reads and writes its own columns, by their names."""
        for table in TABLES:
            await connection.execute(f"ALTER TABLE {table} ADD COLUMN later text, ADD COLUMN latest int DEFAULT 7")
        database = Database(url=database_url)
        async with await database.open_pool(size=1) as pool, PostgresEventInbox(database, pool) as store:
            repository = PostgresRepository(database, pool)
            for size in (1, 3):
                await self._statements(store, repository, pool, size)
            state = await repository.state(TenantId("3_0"))
        assert [each.snapshot for each in state.subscriptions] == [subscription("sub_3_0", TenantId("3_0")).snapshot]

    @pytest.mark.parametrize("text", ["", "NULL", "a,b", "{a}", '"', "\\", '\\"', "\x1f", " a ", "ä€😀", "\n"])
    async def test_event_ids_are_stored_as_they_are(self, database_url: str, text: str) -> None:
        """An id may consist of any characters; several of them stay apart."""
        database, ids = Database(url=database_url), (text, "evt_2")
        async with await database.open_pool(size=1) as pool:
            repository = PostgresRepository(database, pool)
            async with repository.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(subscriptions=[subscription(basis=provenance(*ids))]))
            (stored,) = await repository.subscriptions(ACME)
        assert stored.provenance.event_ids == ids

    async def _statements(
        self,
        store: PostgresEventInbox,
        repository: PostgresRepository,
        pool: "asyncpg.Pool[asyncpg.Record]",
        size: int,
    ) -> int:
        """Return the number of statements that apply one event for each of `size` tenants."""
        names = [f"{size}_{number}" for number in range(size)]
        for name in names:
            await store.record(provider_event(f"evt_{name}"))
        claims = await store.claim(limit=size, lease=LONG)
        seen: list[object] = []
        async with pool.acquire() as connection:
            connection.add_query_logger(seen.append)
        async with repository.transaction() as transaction:
            held = (await transaction.hold(claims)).claims
            await transaction.lock_customers([CustomerId(f"cus_{name}") for name in names])
            await transaction.lock_tenants([TenantId(name) for name in names])
            await transaction.deciding_subscriptions(
                tenants=[TenantId(name) for name in names], ids=[f"sub_{name}" for name in names]
            )
            await transaction.settle(
                [Outcome(claim=claim, disposition=Disposition.APPLIED, effect=Effect.CHANGED) for claim in held],
                Changes(
                    customers=[customer(f"cus_{name}", TenantId(name)) for name in names],
                    subscriptions=[subscription(f"sub_{name}", TenantId(name)) for name in names],
                    invoices=[invoice(f"in_{name}", TenantId(name)) for name in names],
                    usage={InvoiceId(f"in_{name}"): [usage(f"in_{name}", "il_1", TenantId(name))] for name in names},
                    events=[message(TenantId(name), 1) for name in names],
                ),
            )
        async with pool.acquire() as connection:
            connection.remove_query_logger(seen.append)
        return len(seen)
