"""`billing events`: inspecting and repairing the inbox on the command line."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.commands import started
from tests.patience import PATIENCE

from billing_app import cli
from billing_app.settings.parsers import parse_moment
from billing_core.events import Disposition, Effect, Outcome, ProviderEvent
from billing_core.model import NO_SUBSCRIPTION, CustomerId, EventId
from billing_core.payloads import (
    SCHEMA_VERSION,
    BillingEventPayload,
    SourceSection,
    access_section,
    dumps,
    subscription_section,
)
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
    """The payload of a message about a subscription with this many seats."""
    shown = subscription("sub_1", items=(item(quantity=seats),)).snapshot
    return dumps(
        BillingEventPayload(
            schema_version=SCHEMA_VERSION,
            sequence=sequence,
            tenant_id=ACME,
            event_type="subscription.seats_changed",
            source=SourceSection(kind="webhook", id=f"evt_{sequence}"),
            stripe_event_id=EventId(f"evt_{sequence}"),
            occurred_at=AT,
            summary="The seats changed.",
            status=shown.status,
            subscription=subscription_section(shown),
            invoice=None,
            usage=(),
            access=access_section(NO_SUBSCRIPTION),
        )
    )


class CommandLine:
    """The command line with a database."""

    def __init__(
        self, url: str, store: PostgresEventInbox, repository: PostgresRepository, log: PostgresEventLog
    ) -> None:
        self._url = url
        self.store = store
        self.repository = repository
        self.log = log

    async def billing(self, *arguments: str, stdin: str | None = None) -> Result:
        """Run the command in a thread, because it runs an event loop of its own."""
        environment = {"DATABASE_URL": self._url, "ENABLE_BILLING": "", "COLUMNS": "200"}
        runner = CliRunner()
        return await asyncio.to_thread(
            runner.invoke, cli.cli, ["events", *arguments], env=environment, input=stdin, standalone_mode=False
        )

    async def json(self, *arguments: str) -> Any:
        """Run the command with --json and return its output."""
        return json.loads((await self.billing(*arguments, "--json")).stdout)

    async def ids(self, *arguments: str) -> list[str]:
        """Return the ids of the events that `list` prints."""
        return [event["event_id"] for event in (await self.json("list", *arguments))["events"]]

    async def dead(self, event_id: str, error: str = "boom", **fields: Any) -> ProviderEvent:
        """Store an event and mark it as dead."""
        event = provider_event(event_id, **fields)
        receipt = await self.store.record(event, lease=LONG)
        assert receipt.claim is not None
        await self.store.bury(receipt.claim, reason="bug", error=error)
        return event

    async def applied(self, event_id: str, *sequences: int, **fields: Any) -> ProviderEvent:
        """Store an event and mark it as applied, with messages of these numbers."""
        event = provider_event(event_id, **fields)
        receipt = await self.store.record(event, lease=LONG)
        assert receipt.claim is not None
        messages = [
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
            effect=Effect.CHANGED if messages else Effect.CONFIRMED,
            tenant_id=ACME,
            customer_id=CustomerId("cus_1"),
            sequence=sequences[-1] if sequences else None,
        )
        async with self.repository.transaction() as transaction:
            await transaction.hold([receipt.claim])
            await transaction.lock_customers([CustomerId("cus_1")])
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(customers=[customer("cus_1")], events=messages))
            await transaction.settle([outcome])
        return event


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[CommandLine]:
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool, PostgresEventInbox(database, pool) as store:
        yield CommandLine(database_url, store, PostgresRepository(database, pool), PostgresEventLog(database, pool))


def status(result: Result) -> int:
    """Return the exit status; outside of standalone mode click returns it as a value."""
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
def test_moments_are_parsed_as_durations_or_dates(text: str, expected: datetime | None) -> None:
    """A duration before now or a date, which is UTC without an offset."""
    assert parse_moment(text, datetime(2026, 3, 1, 12, tzinfo=UTC)) == expected


async def test_every_condition_narrows_the_list(desk: CommandLine) -> None:
    """Newest first; conditions are combined, and pages follow each other."""
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


async def test_no_match_has_its_own_exit_status(desk: CommandLine) -> None:
    """Scripts can distinguish it from a failure and from a usage error."""
    await desk.dead("evt_1")
    for hostile in ("' OR '1'='1", "%", "_vt_1", "evt_1'; DROP TABLE stripe_events; --", "\\"):
        assert status(await desk.billing("list", "--id", hostile)) == 3
        assert status(await desk.billing("list", "--tenant", hostile)) == 3
    assert await desk.ids() == ["evt_1"]
    assert status(await desk.billing("show", "evt_9")) == 3
    wrong = await desk.billing("list", "--since", "yesterday")
    assert "neither a duration" in str(wrong.exception)


async def test_an_event_is_shown_with_its_changes(desk: CommandLine) -> None:
    """The output has its envelope, its messages, and the fields that changed since the previous message."""
    await desk.applied("evt_1", 1)
    await desk.applied("evt_2", 2)
    (shown,) = (await desk.json("show", "evt_2"))["events"]
    assert (shown["status"], shown["effect"], shown["sequence"], shown["tenant_id"]) == (
        "applied",
        "changed",
        2,
        "acme",
    )
    (entry,) = shown["messages"]
    assert (entry["sequence"], entry["event_type"]) == (2, "subscription.seats_changed")
    assert entry["changes"].keys() == {"items"}
    text = (await desk.billing("show", "evt_2")).stdout
    assert "message      2: subscription.seats_changed, The seats changed." in text
    assert "items: [" in text


async def test_failed_attempts_are_shown_without_control_characters(desk: CommandLine) -> None:
    """Control characters that a payload brought into an error are escaped."""
    await desk.dead("evt_1", error=HOSTILE)
    for arguments in (("show", "evt_1"), ("list",)):
        text = (await desk.billing(*arguments)).stdout
        assert "\x1b" not in text
        assert "\u202e" not in text
    (shown,) = (await desk.json("show", "evt_1"))["events"]
    assert [attempt["reason"] for attempt in shown["failed_attempts"]] == ["bug"]
    assert shown["failed_attempts"][0]["error"] == HOSTILE


async def test_events_are_counted_by_status_type_and_hour(desk: CommandLine) -> None:
    """Of the last 24 hours, unless --since says otherwise."""
    now = datetime.now(UTC)
    await desk.applied("evt_1", type="invoice.paid", received_at=now)
    await desk.dead("evt_2", received_at=now)
    await desk.dead("evt_3", received_at=now - timedelta(days=3))
    found = await desk.json("stats")
    assert [(each["name"], each["total"]) for each in found["groups"]] == [("applied", 1), ("dead: bug", 1)]
    assert (found["groups"][0]["applied"], found["groups"][0]["dead"]) == (1, 0)
    by_type = await desk.json("stats", "--by", "type", "--since", "7d", "--sort", "-dead")
    assert [(each["name"], each["dead"]) for each in by_type["groups"]] == [
        ("customer.subscription.updated", 2),
        ("invoice.paid", 0),
    ]
    hours = (await desk.billing("stats", "--by", "hour")).stdout.splitlines()
    assert hours == [f"{now:%Y-%m-%dT%H:00Z}\t2\t0\t0\t1\t0\t0\t1"]
    assert status(await desk.billing("stats", "--tenant", "initech")) == 3


async def test_the_newest_events_are_shown_last(desk: CommandLine) -> None:
    """With their error beside the next attempt; --json is one object per line."""
    await desk.applied("evt_1")
    receipt = await desk.store.record(provider_event("evt_2"), lease=LONG)
    assert receipt.claim is not None
    await desk.store.retry(receipt.claim, after=LONG, reason="transient", error="the pool is busy")
    await desk.dead("evt_3")
    lines = (await desk.billing("tail", "-n", "2")).stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["evt_2", "evt_3"]
    assert lines[0].endswith(" after 1 attempts: transient (the pool is busy)")
    shown = (await desk.billing("tail", "--json")).stdout.splitlines()
    assert [json.loads(line)["event_id"] for line in shown] == ["evt_1", "evt_2", "evt_3"]


async def test_events_are_followed_as_they_arrive_and_change(desk: CommandLine, database_url: str) -> None:
    """Each once for every status that it is seen in, until Ctrl-C, which is no error."""
    await desk.applied("evt_1")
    environment = {**os.environ, "DATABASE_URL": database_url, "ENABLE_BILLING": ""}
    process = await started("events", "tail", "-f", "--json", environment=environment, captured=(1,))
    seen: list[tuple[str, str]] = []

    async def following(event_id: str, status: str) -> None:
        while (event_id, status) not in seen:
            event = json.loads(await process.stdout.readline())
            seen.append((event["event_id"], event["status"]))

    try:
        async with asyncio.timeout(PATIENCE):
            await following("evt_1", "applied")
            receipt = await desk.store.record(provider_event("evt_2"), lease=LONG)
            await following("evt_2", "leased")
            assert receipt.claim is not None
            await desk.store.bury(receipt.claim, reason="bug", error="boom")
            await following("evt_2", "dead")
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert seen == [("evt_1", "applied"), ("evt_2", "leased"), ("evt_2", "dead")]


async def test_an_event_links_to_the_dashboard(desk: CommandLine) -> None:
    """Of its mode and account."""
    await desk.dead("evt_1")
    await desk.dead("evt_2", livemode=True, account="acct_1")
    urls = [(await desk.json("show", each))["events"][0]["dashboard_url"] for each in ("evt_1", "evt_2")]
    assert urls == [
        "https://dashboard.stripe.com/test/events/evt_1",
        "https://dashboard.stripe.com/acct_1/events/evt_2",
    ]
    assert urls[0] in (await desk.billing("show", "evt_1")).stdout


async def test_the_raw_body_is_printed_unchanged(desk: CommandLine) -> None:
    """It is printed only with --raw, exactly as it was received."""
    body = b'{"a": "\\u0000\xff\x1b"}\n'
    await desk.dead("evt_1", body=body)
    assert (await desk.billing("show", "evt_1", "--raw")).stdout_bytes == body
    assert "\x1b" not in (await desk.billing("show", "evt_1")).stdout


async def test_dead_and_parked_events_can_be_ignored(desk: CommandLine) -> None:
    """The reason is recorded; applied events are left unchanged, and the exit status is 1."""
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


async def test_ignoring_several_events_needs_confirmation(desk: CommandLine) -> None:
    """Without a terminal, --yes is required; without any condition, the command refuses."""
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


async def test_old_bodies_are_pruned_and_duplicates_still_recognized(desk: CommandLine) -> None:
    """The hash replaces the body; bodies of dead events are kept."""
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
