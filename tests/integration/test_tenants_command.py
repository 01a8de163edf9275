"""`billing tenants`: the links between customers and tenants, on the command line."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing_app import cli
from billing_core.events import Translation
from billing_core.model import CustomerId, CustomerSnapshot, SubscriptionId, SubscriptionSnapshot, TenantId
from billing_core.testing.arrange import claimed, park, service_over
from billing_core.testing.builders import provider_event
from billing_core.testing.timing import LONG
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.upkeep import PostgresStateUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

pytestmark = pytest.mark.postgres


async def billing(database_url: str, *arguments: str, **environ: str) -> Result:
    """Run the command in a thread, because it runs an event loop of its own."""
    environment = {"DATABASE_URL": database_url, "ENABLE_BILLING": "", **environ}
    runner = CliRunner()
    return await asyncio.to_thread(runner.invoke, cli.cli, ["tenants", *arguments], env=environment)


async def link(database_url: str, customer: str, tenant: str) -> Result:
    """Link a customer that no event has named to a tenant that may be new."""
    return await billing(database_url, "link", customer, tenant, "--force", "--yes")


async def test_an_unlinked_customer_is_listed_until_it_is_linked(database_url: str) -> None:
    """Events that waited for the link are due immediately."""
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool, PostgresEventInbox(database, pool) as store:
        repository, upkeep = PostgresRepository(database, pool), PostgresStateUpkeep(database, pool)
        async with repository.transaction() as transaction:
            await transaction.lock_customers([CustomerId("cus_1")])
        for number in range(3):
            await park(store, repository, f"evt_{number}")

        listed = await billing(database_url, "list", "--unlinked", "--json")
        assert json.loads(listed.stdout) == {
            "customers": [
                {
                    "customer_id": "cus_1",
                    "tenant_id": None,
                    "plans": [],
                    "statuses": [],
                    "access": None,
                    "email": None,
                    "waiting_events": 3,
                    "dead_events": 0,
                    "attention": False,
                }
            ]
        }
        assert (await billing(database_url, "list", "--unlinked")).stdout == "cus_1\t\t\t\t\t\t3\t0\n"

        linked = await billing(database_url, "link", "cus_1", "acme", "--yes", "--json")
        assert json.loads(linked.stdout) == {"customer_id": "cus_1", "tenant_id": "acme", "made": True}
        assert len(await store.claim(limit=10, lease=LONG)) == 3
        assert (await billing(database_url, "list", "--unlinked")).stderr == "Every known customer has a tenant.\n"
        assert "cus_1\tacme" in (await billing(database_url, "list")).stdout
        (link,) = await upkeep.customers(linked=True, after="", limit=10)
        assert link.tenant_id == TenantId("acme")


async def test_a_customer_with_dead_events_needs_attention(database_url: str) -> None:
    """The list says so, with their number."""
    await link(database_url, "cus_1", "acme")
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool, PostgresEventInbox(database, pool) as store:
        claim = await claimed(store, provider_event())
        await store.bury(claim, reason="bug", error="boom", customer_id=CustomerId("cus_1"))
    (listed,) = json.loads((await billing(database_url, "list", "--json")).stdout)["customers"]
    assert (listed["dead_events"], listed["attention"]) == (1, True)
    assert (await billing(database_url, "list")).stdout == "cus_1\tacme\t\t\t\t\t0\t1\n"


async def test_a_tenant_is_shown_by_any_of_its_ids(database_url: str) -> None:
    """With its access, subscriptions, addresses and links; the list has them in short."""
    await subscribe(database_url, "cus_1", "acme")
    mode = {"STRIPE_SECRET_KEY": "sk_test_1"}
    for object_id in ("acme", "cus_1", "sub_cus_1", "evt_cus_1"):
        shown = await billing(database_url, "show", object_id, **mode)
        assert shown.exit_code == 0
        assert shown.stdout.startswith("acme: access full (active)")
        assert "https://dashboard.stripe.com/test/customers/cus_1" in shown.stdout
        assert "https://dashboard.stripe.com/test/subscriptions/sub_cus_1" in shown.stdout
    found = json.loads((await billing(database_url, "show", "acme", "--json")).stdout)
    assert (found["tenant_id"], found["access"]["state"]) == ("acme", "full")
    assert [each["subscription_id"] for each in found["subscriptions"]] == ["sub_cus_1"]
    assert found["customers"][0]["dashboard_url"] is None  # without a key the mode is unknown
    (line,) = (await billing(database_url, "list")).stdout.splitlines()
    assert line.split("\t")[:5] == ["cus_1", "acme", "", "active", "full"]
    for unknown in ("initech", "cus_9", "evt_9"):
        missing = await billing(database_url, "show", unknown)
        assert (missing.exit_code, missing.stdout) == (3, "")
        assert unknown in missing.stderr


async def test_a_link_is_created_once_and_cannot_be_moved(database_url: str) -> None:
    """Repeating the command is harmless; for another tenant it is refused, and nothing changes."""
    assert "Linked cus_1 to acme." in (await link(database_url, "cus_1", "acme")).stdout
    assert "already" in (await link(database_url, "cus_1", "acme")).stdout
    refused = await link(database_url, "cus_1", "globex")
    assert getattr(refused.exception, "code", None) == "tenant_conflict"
    assert "cus_1\tacme" in (await billing(database_url, "list")).stdout


async def test_a_long_list_is_paged(database_url: str) -> None:
    """The end of a full page says how to continue."""
    none = await billing(database_url, "list")
    assert (none.stdout, none.stderr) == ("", "No customer is linked to a tenant.\n")
    for number in range(3):
        await link(database_url, f"cus_{number}", "acme")
    page = await billing(database_url, "list", "--limit", "2")
    assert page.stdout.splitlines() == ["cus_0\tacme\t\t\t\t\t0\t0", "cus_1\tacme\t\t\t\t\t0\t0"]
    assert "--after cus_1" in page.stderr
    rest = await billing(database_url, "list", "--limit", "2", "--after", "cus_1")
    assert (rest.stdout.splitlines(), rest.stderr) == (["cus_2\tacme\t\t\t\t\t0\t0"], "")


@pytest.mark.parametrize("arguments", [("", "acme"), ("cus_1", " acme"), ("cus_1", "ac\nme")])
async def test_invalid_ids_are_rejected(database_url: str, arguments: tuple[str, str]) -> None:
    """A typing error must not create a link that cannot be moved."""
    result = await billing(database_url, "link", *arguments)
    assert result.exit_code == 2
    assert "the id " in result.output


async def test_an_id_of_another_form_is_rejected(database_url: str, tmp_path: Path) -> None:
    """As it is in metadata: `id_pattern` of billing.toml decides."""
    rules = tmp_path / "billing.toml"
    rules.write_text('[tenants]\nid_pattern = "org-[0-9]+"\n', encoding="utf-8")
    arguments = ("link", "cus_1", "acme", "--force", "--yes")
    refused = await billing(database_url, *arguments, BILLING_CONFIG=str(rules))
    assert refused.exit_code == 2
    assert "TENANT: the id does not have the form of a tenant id" in refused.output
    taken = await billing(database_url, *arguments[:2], "org-1", "--force", "--yes", BILLING_CONFIG=str(rules))
    assert "Linked cus_1 to org-1." in taken.stdout


async def test_a_customer_that_no_event_has_named_is_linked_only_by_force(database_url: str) -> None:
    """A swapped or mistyped id would otherwise wait for events that never come."""
    unseen = await billing(database_url, "link", "cus_1", "acme", "--yes")
    swapped = await billing(database_url, "link", "acme", "cus_1", "--yes")
    assert (unseen.exit_code, swapped.exit_code) == (2, 2)
    assert "No event has named cus_1 yet. Pass --force" in unseen.output
    assert "acme is not the id of a customer" in swapped.output
    assert "No customer is linked" in (await billing(database_url, "list")).stderr
    assert "Linked cus_1 to acme." in (await link(database_url, "cus_1", "acme")).stdout


async def test_a_tenant_that_is_not_known_is_not_created_without_consent(database_url: str) -> None:
    """A known one needs none."""
    asked = await billing(database_url, "link", "cus_1", "acme", "--force")
    assert asked.exit_code == 2
    assert "The tenant acme is not known. Create it?" in asked.output
    await link(database_url, "cus_1", "acme")
    assert "Linked cus_2 to acme." in (await billing(database_url, "link", "cus_2", "acme", "--force")).stdout


async def subscribe(database_url: str, customer: str, tenant: str) -> None:
    """Give a tenant a customer with a subscription, an invoice, an applied event and a message about it."""
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool, PostgresEventInbox(database, pool) as store:
        event = provider_event(f"evt_{customer}")
        seen = CustomerSnapshot(customer_id=CustomerId(customer))
        subscribed = SubscriptionSnapshot(
            subscription_id=SubscriptionId(f"sub_{customer}"), customer_id=seen.customer_id, status="active"
        )
        says = Translation(customer_id=seen.customer_id, tenant_hint=TenantId(tenant), snapshots=(seen, subscribed))
        claim = await claimed(store, event)
        service = service_over(PostgresRepository(database, pool))
        await service.apply([(claim, says)])


async def test_a_customer_is_moved_with_everything_it_has(database_url: str) -> None:
    """First a dry run with the difference of each row; then the move, once it is confirmed."""
    await subscribe(database_url, "cus_1", "acme")
    arguments = ("move", "cus_1", "--to", "globex", "--why", "two companies shared a card", "--by", "zoë")
    tried = json.loads((await billing(database_url, *arguments, "--dry-run", "--json")).stdout)
    assert tried["dry_run"] is True
    assert [(each["kind"], each["object_id"]) for each in tried["differences"]] == [
        ("customer", "cus_1"),
        ("subscription", "sub_cus_1"),
    ]
    assert tried["differences"][1]["fields"] == {"tenant_id": {"before": "acme", "after": "globex"}}
    assert [(each["tenant_id"], each["event_type"]) for each in tried["messages"]] == [
        ("acme", "customer.unlinked"),
        ("globex", "customer.linked"),
    ]
    assert "cus_1\tacme" in (await billing(database_url, "list")).stdout
    shown = (await billing(database_url, *arguments, "--dry-run")).stdout
    assert "Dry run. Nothing was changed:" in shown
    assert 'tenant_id: "acme" → "globex"' in shown

    asked = await billing(database_url, *arguments)
    assert asked.exit_code == 2
    assert "Move 2 objects of cus_1 to globex, a tenant that is not known? Not a terminal." in asked.output
    moved = await billing(database_url, *arguments, "--yes")
    assert moved.exit_code == 0
    assert "message 1 to globex: customer.linked" in moved.stdout
    assert "1 messages of acme lose their content." in moved.stdout
    assert "cus_1\tglobex" in (await billing(database_url, "list")).stdout
    database = Database(url=database_url)
    async with await database.open_pool(size=1) as pool, PostgresRepository(database, pool).transaction() as held:
        (decision,) = await held.decisions(["cus_1"])
    assert (decision.actor, decision.reason) == ("zoë", "two companies shared a card")
    assert (decision.from_tenant, decision.to_tenant) == ("acme", "globex")


async def test_a_customer_is_unlinked_and_its_events_wait(database_url: str) -> None:
    """Its objects are gone; the tenant is refused to later metadata."""
    await subscribe(database_url, "cus_1", "acme")
    arguments = ("unlink", "cus_1", "acme", "--why", "a test account")
    asked = await billing(database_url, *arguments)
    assert "Remove 2 objects of cus_1 from acme?" in asked.output
    unlinked = json.loads((await billing(database_url, *arguments, "--yes", "--json")).stdout)
    assert (unlinked["action"], unlinked["reprocessed_events"], unlinked["to_tenant"]) == ("unlink", 1, None)
    assert (await billing(database_url, "list", "--unlinked")).stdout == "cus_1\t\t\t\t\t\t0\t0\n"


async def test_what_no_event_has_named_cannot_be_moved(database_url: str) -> None:
    """A mistyped id is noticed; neither is a move without a reason carried out."""
    unseen = await billing(database_url, "move", "cus_9", "--to", "acme", "--why", "x", "--yes")
    assert (unseen.exit_code, unseen.stderr) == (3, "No event has named cus_9 yet.\n")
    assert (await billing(database_url, "move", "cus_9", "--to", "acme", "--yes")).exit_code == 2
    assert (await billing(database_url, "unlink", "cus_9", "acme", "--why", "x", "--yes")).exit_code == 3


async def test_a_refused_decision_changes_nothing_and_says_what_to_do(database_url: str) -> None:
    """Where customers name the tenant, a subscription alone cannot be moved."""
    await subscribe(database_url, "cus_1", "acme")
    refused = await billing(database_url, "move", "sub_cus_1", "--to", "globex", "--why", "x", "--yes")
    assert getattr(refused.exception, "code", None) == "link_refused"
    assert "name cus_1 instead" in str(refused.exception)


async def test_decisions_are_listed_with_who_made_them_and_why(database_url: str) -> None:
    """The last one first; of one customer, subscription or tenant on request."""
    assert "Nothing was decided about a link." in (await billing(database_url, "decisions")).stderr
    for customer, tenant in (("cus_1", "acme"), ("cus_2", "globex")):
        arguments = ("link", customer, tenant, "--force", "--yes", "--by", "ann", "--why", "by mail")
        assert (await billing(database_url, *arguments)).exit_code == 0

    shown = await billing(database_url, "decisions")
    first, second = (shown.stdout.index(text) for text in ("cus_2\t\tglobex\t", "cus_1\t\tacme\t"))
    assert first < second
    assert "\tann\tby mail\n" in shown.stdout
    (decision,) = json.loads((await billing(database_url, "decisions", "acme", "--json")).stdout)["decisions"]
    assert decision.pop("made_at")
    assert decision == {
        "number": 1,
        "action": "link",
        "object_id": "cus_1",
        "from_tenant": None,
        "to_tenant": "acme",
        "actor": "ann",
        "reason": "by mail",
    }
    unknown = await billing(database_url, "decisions", "acm")
    assert (unknown.exit_code, unknown.stdout) == (3, "")
    assert unknown.stderr == "'acm' is no known customer, subscription or tenant.\n"
    assert (await billing(database_url, "decisions", "cus_2")).exit_code == 0
    paged = await billing(database_url, "decisions", "--limit", "1")
    assert "Continue with --before 2" in paged.stderr
