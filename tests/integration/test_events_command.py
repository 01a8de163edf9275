"""`billing events`: what the one on call sees and does, from the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from billing_app import cli
from billing_app.cli.events.filters import parse_moment
from billing_core.events import Disposition, Effect, Outcome, ProviderEvent
from billing_core.model import AccessPolicy, CustomerId, EventId
from billing_core.payloads import SCHEMA_VERSION, BillingEventPayload, access_section, dumps, subscription_section
from billing_core.state.ports import Changes
from billing_core.testing.arrange import park
from billing_core.testing.builders import ACME, AT, customer, item, message, provider_event, subscription
from billing_core.testing.timing import LONG
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

pytestmark = pytest.mark.postgres

HOSTILE = "\x1b[31m[bold]red[/bold]\r\nforged \u202egnp"


def payload(sequence: int, *, seats: int) -> str:
    """A message about a subscription with so many seats."""
    shown = subscription("sub_1", items=(item(quantity=seats),)).snapshot
    return dumps(
        BillingEventPayload(
            schema_version=SCHEMA_VERSION,
            sequence=sequence,
            tenant_id=ACME,
            event_type="subscription.seats_changed",
            stripe_event_id=EventId(f"evt_{sequence}"),
            occurred_at=AT,
            summary="The seats changed.",
            status=shown.status,
            subscription=subscription_section(shown),
            invoice=None,
            usage=(),
            access=access_section(AccessPolicy().evaluate([shown], AT)),
        )
    )


class Desk:
    """A database, and the command line on it."""

    def __init__(
        self, url: str, store: PostgresEventInbox, repository: PostgresRepository, log: PostgresEventLog
    ) -> None:
        self._url = url
        self.store = store
        self.repository = repository
        self.log = log

    async def billing(self, *arguments: str, stdin: str | None = None) -> Result:
        """Run the command in a thread, for it has an event loop of its own."""
        environment = {"DATABASE_URL": self._url, "ENABLE_BILLING": "", "COLUMNS": "200"}
        runner = CliRunner()
        return await asyncio.to_thread(
            runner.invoke, cli.cli, ["events", *arguments], env=environment, input=stdin, standalone_mode=False
        )

    async def json(self, *arguments: str) -> Any:
        """What the command prints as JSON."""
        return json.loads((await self.billing(*arguments, "--json")).stdout)

    async def ids(self, *arguments: str) -> list[str]:
        """Ids of the events that it lists."""
        return [event["event_id"] for event in (await self.json("list", *arguments))["events"]]

    async def dead(self, event_id: str, error: str = "boom", **fields: Any) -> ProviderEvent:
        """Store an event and bury it."""
        event = provider_event(event_id, **fields)
        receipt = await self.store.record(event, lease=LONG)
        assert receipt.claim is not None
        await self.store.bury(receipt.claim, reason="bug", error=error)
        return event

    async def applied(self, event_id: str, *sequences: int, **fields: Any) -> ProviderEvent:
        """Store an event and settle it, with messages of these numbers."""
        event = provider_event(event_id, **fields)
        receipt = await self.store.record(event, lease=LONG)
        assert receipt.claim is not None
        notified = [
            message(
                ACME,
                number,
                event_id=EventId(event_id),
                payload=payload(number, seats=number),
            )
            for number in sequences
        ]
        outcome = Outcome(
            claim=receipt.claim,
            disposition=Disposition.APPLIED,
            effect=Effect.CHANGED if notified else Effect.CONFIRMED,
            tenant_id=ACME,
            customer_id=CustomerId("cus_1"),
            sequence=sequences[-1] if sequences else None,
        )
        async with self.repository.transaction() as transaction:
            await transaction.hold([receipt.claim])
            await transaction.lock_customers([CustomerId("cus_1")])
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(customers=[customer("cus_1")], events=notified))
            await transaction.settle([outcome])
        return event


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool, PostgresEventInbox(database, pool) as store:
        yield Desk(database_url, store, PostgresRepository(database, pool), PostgresEventLog(database, pool))


def status(result: Result) -> int:
    """The exit status the command asks for: outside of standalone mode click hands it back."""
    return result.return_value or result.exit_code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("3d", datetime(2026, 2, 26, 12, tzinfo=UTC)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T10:00+02:00", datetime(2026, 2, 1, 8, tzinfo=UTC)),
        ("999999w", None),
        ("yesterday", None),
        ("-2h", None),
        ("", None),
    ],
)
def test_moments_are_read_as_people_type_them(text: str, expected: datetime | None) -> None:
    """A span before now or a date; without a zone it is UTC."""
    assert parse_moment(text, datetime(2026, 3, 1, 12, tzinfo=UTC)) == expected


async def test_events_are_listed_by_every_condition(desk: Desk) -> None:
    """Latest first; each condition narrows it down, and pages follow each other."""
    now = datetime.now(UTC)
    await desk.applied("evt_1", 1, type="invoice.paid", received_at=now - timedelta(hours=5))
    await desk.dead("evt_2", type="invoice.created", received_at=now - timedelta(minutes=1))
    await park(desk.store, desk.repository, "evt_3", on=CustomerId("cus_2"))
    assert await desk.ids() == ["evt_3", "evt_2", "evt_1"]
    assert await desk.ids("--type", "invoice.*") == ["evt_2", "evt_1"]
    assert await desk.ids("--status", "dead", "--status", "parked") == ["evt_3", "evt_2"]
    assert await desk.ids("--reason", "bug") == ["evt_2"]
    assert await desk.ids("--tenant", "acme") == ["evt_1"]
    assert await desk.ids("--customer", "cus_1") == ["evt_1"]
    assert await desk.ids("--customer", "cus_2") == ["evt_3"]
    assert await desk.ids("--since", "1h", "--type", "invoice.*") == ["evt_2"]
    assert await desk.ids("--until", "1h", "--type", "invoice.*") == ["evt_1"]
    page = await desk.json("list", "--limit", "2")
    assert await desk.ids("--limit", "2", "--before", str(page["before"])) == ["evt_1"]


async def test_nothing_that_matches_is_an_exit_status_of_its_own(desk: Desk) -> None:
    """Scripts can tell it from a failure; what is typed wrong is another one."""
    await desk.dead("evt_1")
    for hostile in ("' OR '1'='1", "%", "_vt_1", "evt_1'; DROP TABLE stripe_events; --", "\\"):
        assert status(await desk.billing("list", "--id", hostile)) == 3
        assert status(await desk.billing("list", "--tenant", hostile)) == 3
    assert await desk.ids() == ["evt_1"]
    assert status(await desk.billing("show", "evt_9")) == 3
    wrong = await desk.billing("list", "--since", "yesterday")
    assert "neither a duration" in str(wrong.exception)


async def test_an_event_shows_what_it_did(desk: Desk) -> None:
    """Its envelope, its messages and what changed by them since the one before."""
    await desk.applied("evt_1", 1)
    await desk.applied("evt_2", 2)
    (shown,) = (await desk.json("show", "evt_2"))["events"]
    assert (shown["status"], shown["effect"], shown["sequence"], shown["tenant_id"]) == (
        "applied",
        "changed",
        2,
        "acme",
    )
    (notified,) = shown["messages"]
    assert (notified["sequence"], notified["event_type"]) == (2, "subscription.seats_changed")
    assert notified["changes"].keys() == {"items"}
    text = (await desk.billing("show", "evt_2")).stdout
    assert "message      2: subscription.seats_changed, The seats changed." in text
    assert "items: [" in text


async def test_failed_attempts_are_shown_and_nothing_acts_on_the_terminal(desk: Desk) -> None:
    """Whatever a payload brought into an error is spelt out."""
    await desk.dead("evt_1", error=HOSTILE)
    for arguments in (("show", "evt_1"), ("list",)):
        text = (await desk.billing(*arguments)).stdout
        assert "\x1b" not in text
        assert "\u202e" not in text
    (shown,) = (await desk.json("show", "evt_1"))["events"]
    assert [attempt["reason"] for attempt in shown["failed_attempts"]] == ["bug"]
    assert shown["failed_attempts"][0]["error"] == HOSTILE


async def test_the_body_is_printed_byte_by_byte(desk: Desk) -> None:
    """Only on demand, and exactly as it was received."""
    body = b'{"a": "\\u0000\xff\x1b"}\n'
    await desk.dead("evt_1", body=body)
    assert (await desk.billing("show", "evt_1", "--raw")).stdout_bytes == body
    assert "\x1b" not in (await desk.billing("show", "evt_1")).stdout


async def test_dead_and_parked_events_can_be_ended(desk: Desk) -> None:
    """With a reason that is kept; applied ones stay, and the exit status says so."""
    await desk.dead("evt_1")
    await park(desk.store, desk.repository, "evt_2", on=CustomerId("cus_2"))
    await desk.applied("evt_3")
    result = await desk.billing(
        "ignore", "--status", "dead", "--status", "parked", "--why", "a test", "--yes", "--json"
    )
    assert json.loads(result.stdout) == {"matched": 2, "ignored": 2, "left": 0}
    assert await desk.ids("--status", "ignored", "--reason", "by_operator") == ["evt_2", "evt_1"]
    left = await desk.billing("ignore", "--id", "evt_3", "--why", "a test", "--by", "ann")
    assert (status(left), "0 of 1" in left.stdout) == (1, True)
    audits = await desk.log.latest(limit=5)
    assert [(audit.action, audit.actor == "ann", audit.reason) for audit in audits] == [
        ("ignore", True, "a test"),
        ("ignore", False, "a test"),
    ]


async def test_many_are_ended_only_on_demand(desk: Desk) -> None:
    """Where nobody can be asked, the command says what to add; without any condition it refuses."""
    await desk.dead("evt_1")
    await desk.dead("evt_2")
    one = await desk.json("ignore", "--status", "dead", "--why", "a test", "--limit", "1")
    assert one == {"matched": 1, "ignored": 1, "left": 0}
    await desk.dead("evt_3")
    refused = await desk.billing("ignore", "--status", "dead", "--why", "a test")
    assert "--yes" in str(refused.exception)
    everything = await desk.billing("ignore", "--why", "a test", "--yes")
    assert "Select events with" in str(everything.exception)
    assert await desk.ids("--status", "dead") == ["evt_3", "evt_2"]


async def test_old_bodies_are_pruned_and_duplicates_still_recognised(desk: Desk) -> None:
    """The hash takes the body's place; dead ones stay whole."""
    long_ago = datetime.now(UTC) - timedelta(days=100)
    event = await desk.applied("evt_1", received_at=long_ago)
    await desk.dead("evt_2", received_at=long_ago)
    await desk.applied("evt_3", received_at=datetime.now(UTC))
    assert (await desk.json("prune", "--dry-run"))["bodies"] == 1
    assert (await desk.json("prune"))["bodies"] == 1
    assert "0 bodies" in (await desk.billing("prune", "--older-than", "90d")).stdout
    kept = {shown["event_id"]: shown["body_kept"] for shown in (await desk.json("list"))["events"]}
    assert kept == {"evt_1": False, "evt_2": True, "evt_3": True}
    assert (await desk.store.record(event)).status.value == "duplicate"
    gone = await desk.billing("show", "evt_1", "--raw")
    assert "was pruned" in str(gone.exception)
