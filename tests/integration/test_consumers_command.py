"""`billing consumers`: what operators see and do, as they type it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.outgoing_webhooks.receiver import receiving, secret

from billing_app import cli
from billing_app.cli.consumers import positions
from billing_app.troubleshooting import ConsumerTrouble
from billing_core.consumers.ports import Progress, Step, Want
from billing_core.consumers.values import Consumer, ConsumerName
from billing_core.model import TenantId
from billing_core.testing.builders import ACME, GLOBEX
from billing_core.testing.consumers.arrange import number_up_to
from billing_core.testing.timing import LONG
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.consumers.register import PostgresConsumerRegister
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

pytestmark = pytest.mark.postgres

CRM = ConsumerName("crm")
URL = "https://crm.example.com/hooks?key=hunter2"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{44}")


class Operator:
    """Types commands. Each runs in a thread, because it runs an event loop of its own."""

    def __init__(self, database_url: str) -> None:
        self.environment = {
            "ENABLE_BILLING": "",
            "DATABASE_URL": database_url,
            "BILLING_OUTGOING_ALLOWED_NETWORKS": "127.0.0.0/8",
        }

    async def types(self, *arguments: str, given: str = "") -> Result:
        command = ["consumers", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, cli.cli, command, env=self.environment, input=given)

    async def json(self, *arguments: str) -> Any:
        result = await self.types(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async def adds(self, url: str = URL, *arguments: str) -> Any:
        return await self.json("add", "crm", "--url", url, *arguments)


@pytest.fixture
def operator(database_url: str) -> Operator:
    return Operator(database_url)


class Store:
    """The consumers of the database, as a worker uses them."""

    def __init__(self, database: Database, pool: Any) -> None:
        self.unit_of_work = PostgresRepository(database, pool)
        self.queue = PostgresConsumerQueue(database, pool)
        self.register = PostgresConsumerRegister(database, pool)
        self.pool = pool

    async def bury(self, *tenants: TenantId, sequence: int = 1) -> None:
        """Have the next message of each tenant be dead."""
        claims = await self.queue.claim([Want(consumer=CRM, limit=10, lease=LONG)])
        assert {each.tenant_id for each in claims} == {*tenants}
        dead = [
            Progress(claim=each, step=Step.HOLD, position=sequence - 1, attempts=12, error="answered 500\x1b[31m")
            for each in claims
        ]
        assert all(await self.queue.settle(dead))

    async def due(self) -> set[TenantId]:
        """Claim what is due, and return its tenants."""
        claims = await self.queue.claim([Want(consumer=CRM, limit=10, lease=LONG)])
        return {each.tenant_id for each in claims}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        yield Store(database, pool)


# --- receivers --------------------------------------------------------------------------------------------------------


async def test_a_receiver_is_added_and_its_secret_is_shown_once(operator: Operator) -> None:
    """Lists show neither the secret nor the query of the URL."""
    empty = await operator.types("list")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "billing consumers add" in empty.stderr
    added = await operator.types("add", "crm", "--url", URL, "--types", "invoice.*,access.changed")
    assert added.exit_code == 0, added.output
    (shown,) = SECRET.findall(added.stdout)
    (listed,) = (await operator.json("list"))["consumers"]
    assert listed["url"] == "https://crm.example.com/hooks?…"
    assert (listed["state"], listed["types"]) == ("enabled", ["invoice.*", "access.changed"])
    (row,) = (await operator.types("list")).stdout.splitlines()
    assert row.split("\t")[:4] == ["crm", "https://crm.example.com/hooks?…", "invoice.*,access.changed", "enabled"]
    table = await operator.types("show", "crm", "--output", "table")
    for text in (json.dumps(listed), row, table.output):
        assert shown not in text
        assert "hunter2" not in text
    changed = await operator.types("add", "crm", "--url", "https://new.example.com/")
    assert changed.stdout == "Changed crm. Workers follow within seconds.\n"
    (listed,) = (await operator.json("list"))["consumers"]
    assert (listed["url"], listed["types"]) == ("https://new.example.com/", ["invoice.*", "access.changed"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("crm", "--url", "ftp://crm.example.com/"), "must begin with https://"),
        (("crm", "--url", "https://ada:hunter2@crm.example.com/"), "must not contain a user or a password"),
        (("CRM", "--url", URL), "is no name of a consumer"),
        (("crm", "--url", URL, "--types", "invoice.payed"), "no message has the type invoice.payed"),
        (("crm", "--url", URL, "--start", "soon"), "'soon' is none of now, beginning"),
        (("crm", "--url", URL, "--on-dead", "drop"), "is not one of 'hold', 'skip'"),
        (("crm",), "Missing option '--url'"),
    ],
)
async def test_wrong_usage_changes_nothing(operator: Operator, arguments: tuple[str, ...], error: str) -> None:
    """The exit status is 2, and the error says what is expected."""
    result = await operator.types("add", *arguments)
    assert result.exit_code == 2
    assert error in " ".join(result.stderr.split())
    assert "hunter2@" not in result.output
    assert (await operator.json("list"))["consumers"] == []


async def test_a_secret_of_ones_own_comes_from_standard_input(operator: Operator) -> None:
    """Never from an argument, which other users of the machine can read; and it is not shown again."""
    mine = secret().text
    added = await operator.types("add", "crm", "--url", URL, "--secret-stdin", given=f"{mine}\n")
    assert added.exit_code == 0, added.output
    assert mine not in added.output
    bad = await operator.types("rotate-secret", "crm", "--secret-stdin", given="whsec_hunter2!\n")
    assert bad.exit_code == 2
    assert "The secret is not base64" in bad.stderr
    assert "hunter2" not in bad.output
    again = await operator.types("add", "crm", "--url", URL, "--secret-stdin", given=f"{secret().text}\n")
    assert again.exit_code == 2
    assert "billing consumers rotate-secret crm" in again.stderr


async def test_a_secret_is_rotated_with_an_overlap(operator: Operator) -> None:
    """`show` has the fingerprints, and until when the former one signs."""
    await operator.adds()
    rotated = await operator.json("rotate-secret", "crm", "--overlap", "7d")
    assert SECRET.fullmatch(rotated["secret"])
    (listed,) = (await operator.json("list"))["consumers"]
    current, former = listed["secrets"]
    assert (current["fingerprint"], current["expires_at"]) == (rotated["fingerprint"], None)
    assert former["expires_at"] is not None
    leaked = await operator.types("rotate-secret", "crm", "--overlap", "0s")
    assert leaked.exit_code == 0
    (listed,) = (await operator.json("list"))["consumers"]
    assert len(listed["secrets"]) == 1
    unknown = await operator.types("rotate-secret", "erp")
    assert unknown.exit_code == 3
    assert "Unknown consumer 'erp'" in unknown.stderr


async def test_a_receiver_is_tested(operator: Operator) -> None:
    """The status of the command is that of the delivery."""
    async with receiving() as receiver:
        await operator.adds(receiver.url())
        delivered = await operator.types("test", "crm")
        assert delivered.exit_code == 0
        assert re.fullmatch(r"Delivered in \d+\.\d\d s: answered 204\.\n", delivered.stdout)
        ((headers, body),) = receiver.requests
        assert headers["webhook-id"].startswith("test:crm:")
        assert (json.loads(body)["type"], json.loads(body)["data"]) == ("test", {})
        receiver.answers(401)
        failed = await operator.types("test", "crm", "--json")
        assert failed.exit_code == 1
        assert json.loads(failed.stdout)["status"] == 401
        shown = await operator.types("test", "crm")
        assert str(ConsumerTrouble.SIGNATURE_DOES_NOT_MATCH) in shown.stderr
    assert (await operator.types("test", "crm")).exit_code == 1
    assert (await operator.types("test", "erp")).exit_code == 3


async def test_a_test_of_a_private_address_says_how_to_allow_it(operator: Operator) -> None:
    """The rule holds for commands as well."""
    async with receiving() as receiver:
        await operator.adds(receiver.url())
        operator.environment["BILLING_OUTGOING_ALLOWED_NETWORKS"] = ""
        refused = await operator.types("test", "crm")
    assert refused.exit_code == 1
    assert "127.0.0.1 is not a public address" in refused.stdout
    assert str(ConsumerTrouble.ADDRESS_IS_REFUSED) in refused.stderr
    assert receiver.requests == []


# --- switching --------------------------------------------------------------------------------------------------------


async def test_a_consumer_is_disabled_and_enabled(operator: Operator, store: Store) -> None:
    """Messages wait meanwhile; repeating a command is harmless."""
    await operator.adds()
    disabled = await operator.types("disable", "crm", "--why", "maintenance", "--by", "ada")
    assert disabled.stdout == "Disabled crm.\n"
    assert (await operator.types("disable", "crm", "--why", "again")).stdout == "crm is disabled already.\n"
    await number_up_to(store.unit_of_work, 1)
    assert await store.due() == set()
    shown = await operator.types("show", "crm", "--output", "table")
    assert "Disabled by ada: maintenance" in shown.stdout
    assert (await operator.types("enable", "crm")).stdout == "Enabled crm.\n"
    assert (await operator.types("enable", "crm")).stdout == "crm is enabled already.\n"
    assert await store.due() == {ACME}
    for command in (("enable", "erp"), ("disable", "erp", "--why", "x")):
        assert (await operator.types(*command)).exit_code == 3


async def test_a_consumer_is_removed_after_a_question(operator: Operator, store: Store) -> None:
    """Which says what is lost with it."""
    await operator.adds()
    await number_up_to(store.unit_of_work, 1)
    unsure = await operator.types("remove", "crm")
    assert unsure.exit_code == 2
    assert "The messages of 1 tenants that wait are never handed over." in unsure.stderr
    removed = await operator.types("remove", "crm", "--yes")
    assert removed.stdout == "Removed crm.\n"
    assert (await operator.json("list"))["consumers"] == []
    assert (await operator.types("remove", "crm", "--yes")).exit_code == 3


async def test_actions_are_kept_in_the_audit_log(operator: Operator, store: Store) -> None:
    """With who did it and why."""
    await operator.adds(URL, "--by", "ada", "--why", "the CRM wants to know")
    await operator.types("disable", "crm", "--why", "maintenance", "--by", "grace")
    await operator.types("remove", "crm", "--yes", "--by", "ada")
    rows = await store.pool.fetch("SELECT action, actor, reason FROM billing_audits ORDER BY audit_id")
    assert list(map(tuple, rows)) == [
        ("consumer_add", "ada", "the CRM wants to know"),
        ("consumer_disable", "grace", "maintenance"),
        ("consumer_remove", "ada", None),
    ]


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_held_tenants_are_shown_and_retried(operator: Operator, store: Store) -> None:
    """One of them, or all; a dry run changes nothing. Errors cannot control the terminal."""
    await operator.adds()
    for tenant in (ACME, GLOBEX):
        await number_up_to(store.unit_of_work, 2, tenant)
    await store.bury(ACME, GLOBEX)
    (listed,) = (await operator.json("list"))["consumers"]
    assert (listed["waiting_tenants"], listed["held_tenants"]) == (2, 2)
    shown = await operator.types("show", "crm", "--held")
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == [ACME, GLOBEX]
    assert "held by dead message 1" in shown.stdout
    assert "\x1b" not in shown.stdout
    dry = await operator.json("retry", "crm", "--all", "--dry-run")
    assert dry == {"consumer": "crm", "tenants": 2, "dry_run": True}
    assert await store.due() == set()
    assert (await operator.types("retry", "crm")).exit_code == 2
    assert (await operator.types("retry", "crm", "--all")).exit_code == 2
    one = await operator.types("retry", "crm", ACME)
    assert (one.exit_code, one.stdout) == (0, "The dead messages of 1 tenants are tried again.\n")
    assert await store.due() == {ACME}
    assert (await operator.types("retry", "crm", ACME)).exit_code == 3
    rest = await operator.types("retry", "crm", "--all", "--yes")
    assert (rest.exit_code, rest.stdout) == (0, "The dead messages of 1 tenants are tried again.\n")
    assert await store.due() == {GLOBEX}


async def test_a_dead_message_is_skipped(operator: Operator, store: Store) -> None:
    """After the question about it, with a reason; it is listed from then on, and the next message is due."""
    await operator.adds()
    await number_up_to(store.unit_of_work, 2)
    await store.bury(ACME)
    unsure = await operator.types("skip", "crm", ACME, "--why", "the account was closed")
    assert unsure.exit_code == 2
    assert "Message 1 of acme failed: answered 500\\x1b[31m" in unsure.stderr
    dry = await operator.types("skip", "crm", ACME, "--why", "the account was closed", "--dry-run")
    assert dry.stdout == "Message 1 of acme would be passed over.\n"
    done = await operator.types("skip", "crm", ACME, "--why", "the account was closed", "--by", "ada", "--yes")
    assert done.stdout == "Message 1 of acme was passed over.\n"
    assert await store.due() == {ACME}
    shown = await operator.types("show", "crm", "--output", "table")
    assert "message 1 by ada: the account was closed" in shown.stdout
    assert (await operator.types("skip", "crm", ACME, "--why", "again", "--yes")).exit_code == 3


async def test_another_message_that_is_dead_by_then_is_not_skipped(
    operator: Operator, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the question stands, a colleague's retry may have handled the message, and the next one failed."""
    await operator.adds()
    await number_up_to(store.unit_of_work, 2)
    await store.bury(ACME)

    def answer(_question: str, *, yes: bool) -> None:
        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result()

    async def meanwhile() -> None:
        await store.pool.execute("UPDATE billing_consumer_tenants SET position = 1")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(positions, "confirm", answer)
    late = await operator.types("skip", "crm", ACME, "--why", "the account was closed")
    assert (late.exit_code, late.stdout) == (3, "")
    assert "Message 1 no longer holds acme back. See `billing consumers show crm`." in late.stderr
    (tenant,) = (await operator.json("show", "crm", "--held"))["tenants"]
    assert tenant["position"] == 1


async def test_a_consumer_is_rewound(operator: Operator, store: Store) -> None:
    """For one tenant to a number, or for all to a moment; a dry run changes nothing."""
    await number_up_to(store.unit_of_work, 3)
    await operator.adds()
    assert await store.due() == set()
    dry = await operator.types("rewind", "crm", "--to", "2", "--tenant", ACME, "--why", "lost", "--dry-run")
    assert dry.stdout == "Would set crm to message 2 for acme.\n"
    assert await store.due() == set()
    assert (await operator.types("rewind", "crm", "--to", "2", "--why", "lost")).exit_code == 2
    unknown = await operator.types("rewind", "crm", "--to", "2", "--tenant", "initech", "--why", "lost", "--yes")
    assert unknown.exit_code == 3
    for more in ("--dry-run", "--yes"):
        beyond = await operator.types("rewind", "crm", "--to", "30", "--tenant", ACME, "--why", "lost", more)
        assert beyond.exit_code == 2
        assert "there is no message 30 yet, the last one is 3" in " ".join(beyond.stderr.split())
    done = await operator.types("rewind", "crm", "--to", "2", "--tenant", ACME, "--why", "lost", "--yes")
    assert done.stdout == "Set crm to message 2 for acme.\n"
    (tenant,) = (await operator.json("show", "crm"))["tenants"]
    assert (tenant["position"], tenant["last"]) == (1, 3)
    everyone = await operator.types("rewind", "crm", "--to", "now", "--why", "enough", "--yes")
    assert everyone.stdout == "Set crm to what comes next for all tenants.\n"


async def test_an_unknown_consumer_has_the_status_3(operator: Operator) -> None:
    """Each command says so, and how to list those that are known."""
    for arguments in (
        ("show", "erp"),
        ("retry", "erp", "--all"),
        ("skip", "erp", "acme", "--why", "x", "--yes"),
        ("rewind", "erp", "--to", "now", "--why", "x", "--yes"),
    ):
        result = await operator.types(*arguments)
        assert result.exit_code == 3, result.output
        assert "Unknown consumer 'erp'" in result.stderr


async def test_a_handler_in_code_has_no_url(operator: Operator, store: Store) -> None:
    """It is listed with the others, and cannot be given a receiver."""
    await store.register.register(Consumer(name=CRM))
    (listed,) = (await operator.json("list"))["consumers"]
    assert (listed["url"], listed["secrets"]) == (None, None)
    refused = await operator.types("add", "crm", "--url", URL)
    assert "handled by code" in str(refused.exception)
