"""Operators' view of tenants, and what they do about links and grants."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from scripts.example_messages import examples
from tests.unit.http.operator.conftest import ANN, Desk

from billing_core.model import CustomerId, TenantId
from billing_core.state.ports import Changes
from billing_core.testing.arrange import park, save
from billing_core.testing.builders import ACME, GLOBEX, customer, subscription
from billing_stripe.testing import samples as known

CUSTOMER = known.CUSTOMER.customer_id
PLAN = {"plan_code": "pro", "why": "goodwill"}


@pytest.fixture
async def story(desk: Desk) -> Desk:
    """A desk with the history of one tenant."""
    await examples(desk.world.database)
    return desk


class TestTenants:
    """Lists, and one tenant."""

    async def test_customers_are_searched_and_their_addresses_are_not_shown(self, desk: Desk) -> None:
        """Though they can be searched by."""
        rows = [customer("cus_1", email="ann@acme.example"), customer("cus_2", GLOBEX), customer("cus_3", None)]
        await save(desk.world.repository, Changes(customers=rows), tenants=(ACME, GLOBEX))
        page = await desk.get("/tenants?limit=2")
        assert [row["customer_id"] for row in page["customers"]] == ["cus_1", "cus_2"]
        rest = await desk.get(f"/tenants?limit=2&after={page['next_after']}")
        assert ([row["customer_id"] for row in rest["customers"]], rest["next_after"]) == (["cus_3"], None)
        found = await desk.post("/tenant-search", {"text": "ann@acme.example"})
        assert [row["tenant_id"] for row in found["customers"]] == [ACME]
        assert "@" not in str(found)
        assert [row["customer_id"] for row in (await desk.get("/tenants?linked=false"))["customers"]] == ["cus_3"]

    async def test_an_email_address_is_in_no_address(self, desk: Desk) -> None:
        """Proxies log those, and browsers keep them: it is refused there, and searched for in a body."""
        status, problem = await desk.send("GET", "/tenants?search=ann@acme.example")
        assert (status, problem["code"]) == (400, "email_in_address")
        assert "POST" in problem["detail"]

    async def test_a_search_in_a_body_has_pages_and_filters(self, desk: Desk) -> None:
        """As the list has."""
        rows = [customer("cus_1"), customer("cus_2", GLOBEX), customer("cus_3", None)]
        await save(desk.world.repository, Changes(customers=rows), tenants=(ACME, GLOBEX))
        page = await desk.post("/tenant-search", {"text": "cus_", "limit": 1, "linked": True})
        assert ([row["customer_id"] for row in page["customers"]], page["next_after"]) == (["cus_1"], "cus_1")
        rest = await desk.post("/tenant-search", {"text": "cus_", "after": "cus_1", "linked": True})
        assert [row["customer_id"] for row in rest["customers"]] == ["cus_2"]
        for bad in ({"text": ""}, {"text": "x" * 256}, {"text": "a", "limit": 201}, {"text": "a", "limit": 0}, {}):
            status, problem = await desk.send("POST", "/tenant-search", bad)
            assert (status, problem["code"]) == (400, "bad_request")

    @pytest.mark.parametrize("name", [ACME, CUSTOMER, known.SUBSCRIPTION.subscription_id, known.PAID.invoice_id])
    async def test_a_tenant_is_found_by_any_of_its_objects(self, story: Desk, name: str) -> None:
        """With its access, also as it would be without the grant."""
        tenant = await story.get(f"/tenants/{name}")
        assert tenant["tenant_id"] == ACME
        assert [each["customer_id"] for each in tenant["customers"]] == [CUSTOMER]
        assert known.SUBSCRIPTION.subscription_id in [each["subscription_id"] for each in tenant["subscriptions"]]
        assert tenant["invoices"]
        assert tenant["grants"][0]["plan_code"] == "pro"
        assert tenant["access_without_grants"]["state"] == "blocked"
        assert all(each["rests_on"] for each in tenant["subscriptions"])
        assert known.CUSTOMER.email not in str(tenant)

    @pytest.mark.parametrize("tenant", ["a b", "חברה", "a/b", "50%"])
    async def test_ids_of_tenants_are_of_any_form(self, desk: Desk, tenant: str) -> None:
        """They are the application's."""
        await save(
            desk.world.repository, Changes(customers=[customer("cus_1", TenantId(tenant))]), tenants=[TenantId(tenant)]
        )
        assert (await desk.get(f"/tenants/{quote(tenant, safe='')}"))["tenant_id"] == tenant
        status, problem = await desk.send("GET", "/tenants/a%00b")
        assert (status, problem["code"]) == (400, "bad_parameter")

    @pytest.mark.parametrize("path", ["/tenants/nova", "/tenants/cus_unknown", "/tenants/nova/timeline"])
    async def test_an_unknown_one_is_not_found(self, story: Desk, path: str) -> None:
        """Whether it is a tenant's id or an object's."""
        status, problem = await story.send("GET", path)
        assert (status, problem["code"]) == (404, "not_found")

    async def test_the_timeline_explains_the_state(self, story: Desk) -> None:
        """Each event with its messages, and each message with the access after it; the last ones, if a limit cuts."""
        whole = await story.get(f"/tenants/{ACME}/timeline?limit=200")
        assert whole["earlier_events"] is False
        messages = [message for entry in whole["timeline"] for message in entry["messages"]]
        assert [message["sequence"] for message in messages] == list(range(1, len(messages) + 1))
        assert [entry["event"] for entry in whole["timeline"]].count(None) >= 2  # the clock's message and the grant's
        cut = await story.get(f"/tenants/{ACME}/timeline?limit=1")
        assert (cut["earlier_events"], len(cut["timeline"]) < len(whole["timeline"])) == (True, True)
        assert known.CUSTOMER.email not in str(whole)


class TestLinks:
    """Links between customers and tenants."""

    async def test_a_waiting_customer_is_linked(self, desk: Desk) -> None:
        """Once; its events are due then. Both logs have it."""
        await save(desk.world.repository, Changes(customers=[customer("cus_1", None)]), tenants=())
        await park(desk.inbox, desk.world.repository, "evt_1", on=CustomerId("cus_1"))
        body = {"customer_id": "cus_1", "tenant_id": ACME, "create": True, "why": "made by hand"}
        answer = await desk.post("/links", body)
        assert (answer["made"], (await desk.post("/links", body))["made"]) == (True, False)
        assert [each["event_id"] for each in (await desk.get("/events?status=due"))["events"]] == ["evt_1"]
        (decision,) = (await desk.get("/decisions?about=cus_1"))["decisions"]
        assert (decision["actor"], decision["reason"], decision["to_tenant"]) == (ANN, "made by hand", ACME)
        first = (await desk.audits())[-1]
        assert (first.audit_id, first.action, first.actor, first.result) == (
            answer["audit_id"],
            "link",
            ANN,
            {"made": True},
        )

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({"customer_id": "cus_9", "tenant_id": ACME}, (404, "unknown_customer")),
            ({"customer_id": "cus_1", "tenant_id": "nova"}, (409, "unknown_tenant")),
            ({"customer_id": "cus_1", "tenant_id": GLOBEX}, (409, "linked_elsewhere")),
            ({"customer_id": "cus_1", "tenant_id": "a\u2028b"}, (400, "bad_request")),
            ({"customer_id": "cus_1", "tenant_id": ""}, (422, "bad_tenant_id")),
        ],
    )
    async def test_a_link_that_cannot_be_is_refused(
        self, desk: Desk, body: dict[str, str], found: tuple[int, str]
    ) -> None:
        """It stays as it was."""
        rows = [customer("cus_1"), customer("cus_2", GLOBEX)]
        await save(desk.world.repository, Changes(customers=rows), tenants=(ACME, GLOBEX))
        status, problem = await desk.send("POST", "/links", {**body, "why": "a test"})
        assert (status, problem["code"]) == found
        (row,) = (await desk.get("/tenants?search=cus_1"))["customers"]
        assert row["tenant_id"] == ACME
        refused = [{"refused": "tenant_conflict"}] if found[1] == "linked_elsewhere" else []
        assert [audit.result for audit in await desk.audits()] == refused

    async def test_a_move_is_tried_then_carried_out(self, story: Desk) -> None:
        """The dry run shows what happens then, and both tenants get a message."""
        wanted = {"object_id": CUSTOMER, "to_tenant": "globex"}
        trial = await story.post("/links/move/dry-run", wanted)
        assert (trial["dry_run"], trial["from_tenant"], trial["tenant_known"]) == (True, ACME, False)
        assert trial["withdrawn_messages"] > 0
        hidden = {
            change["field"]: change
            for each in trial["differences"]
            for change in each["changes"]
            if change["field"] in ("email", "hosted_invoice_url")
        }
        assert all(change["hidden"] and change["before"] is None for change in hidden.values())
        assert known.CUSTOMER.email not in str(trial)
        assert await story.audits() == []
        confirmed = {**wanted, "create": True, "confirm": len(trial["differences"]), "why": "two shared a card"}
        done = await story.post("/links/move", confirmed)
        assert (done["dry_run"], done["differences"]) == (False, trial["differences"])
        assert {message["tenant_id"] for message in done["messages"]} == {ACME, "globex"}
        assert {message.tenant_id for message in story.published} == {ACME, "globex"}
        assert (await story.get(f"/tenants/{CUSTOMER}"))["tenant_id"] == "globex"
        (audit,) = await story.audits()
        assert (audit.action, audit.reason, audit.filter["to"]) == ("move", "two shared a card", "globex")

    async def test_another_number_than_confirmed_moves_nothing(self, story: Desk) -> None:
        """Neither does an unknown tenant that was not confirmed."""
        body = {"object_id": CUSTOMER, "to_tenant": "globex", "confirm": 0, "create": True, "why": "a test"}
        status, problem = await story.send("POST", "/links/move", body)
        assert (status, problem["code"]) == (409, "selection_changed")
        status, problem = await story.send("POST", "/links/move", {**body, "create": False})
        assert (status, problem["code"]) == (409, "unknown_tenant")
        assert [audit.result for audit in await story.audits()] == [{"refused": "selection_changed"}]

    @pytest.mark.parametrize("action", ["move", "unlink"])
    async def test_another_change_than_confirmed_is_not_made(self, desk: Desk, action: str) -> None:
        """Though it changes as many objects: one went, another came."""
        rows = Changes(customers=[customer("cus_1")], subscriptions=[subscription("sub_1")])
        await save(desk.world.repository, rows)
        wanted = {"object_id": "cus_1", **({"to_tenant": GLOBEX} if action == "move" else {"from_tenant": ACME})}
        trial = await desk.post(f"/links/{action}/dry-run", wanted)
        tables = desk.world.database.tables
        tables.subscriptions.clear()
        await save(desk.world.repository, Changes(subscriptions=[subscription("sub_2")]))
        confirmed = {**wanted, "confirm": 2, "fingerprint": trial["fingerprint"], "why": "a test"}
        confirmed |= {"create": True} if action == "move" else {}
        status, problem = await desk.send("POST", f"/links/{action}", confirmed)
        assert (status, problem["code"], problem["matched"]) == (409, "selection_changed", 2)
        assert [each.tenant_id for each in tables.customers.values()] == [ACME]
        seen = await desk.post(f"/links/{action}/dry-run", wanted)
        await desk.post(f"/links/{action}", {**confirmed, "fingerprint": seen["fingerprint"]})

    async def test_a_decision_that_cannot_be_carried_out_is_explained(self, story: Desk) -> None:
        """By the domain's own words."""
        wanted = {"object_id": CUSTOMER, "from_tenant": "globex"}
        owned = known.SUBSCRIPTION.subscription_id
        status, problem = await story.send("POST", "/links/move/dry-run", {"object_id": owned, "to_tenant": "globex"})
        assert (status, problem["code"]) == (409, "link_refused")
        assert f"name {CUSTOMER} instead" in problem["detail"]
        refused = {"object_id": owned, "to_tenant": "globex", "create": True, "confirm": 1, "why": "a test"}
        status, problem = await story.send("POST", "/links/move", refused)
        assert (status, problem["code"]) == (409, "link_refused")
        assert [audit.result for audit in await story.audits()] == [{"refused": "link_refused"}]
        status, problem = await story.send("POST", "/links/unlink/dry-run", {**wanted, "object_id": "cus_8"})
        assert (status, problem["code"]) == (404, "unknown_customer")

    async def test_an_object_is_taken_away(self, desk: Desk) -> None:
        """On the record."""
        rows = Changes(customers=[customer("cus_1")], subscriptions=[subscription("sub_1")])
        await save(desk.world.repository, rows)
        wanted = {"object_id": "cus_1", "from_tenant": ACME}
        trial = await desk.post("/links/unlink/dry-run", wanted)
        await desk.post("/links/unlink", {**wanted, "confirm": len(trial["differences"]), "why": "a test account"})
        (row,) = (await desk.get("/tenants?search=cus_1"))["customers"]
        assert row["tenant_id"] is None
        assert [audit.action for audit in await desk.audits()] == ["unlink"]


class TestGrants:
    """Access beside what is paid for."""

    async def test_access_is_granted_and_revoked(self, desk: Desk) -> None:
        """With a message each, published as any other."""
        await desk.world.commit(ACME)
        granted = await desk.post(f"/tenants/{ACME}/grants", PLAN)
        grant = granted["grant"]
        assert (grant["actor"], grant["reason"], grant["holds"]) == (ANN, "goodwill", True)
        assert [each["grant_id"] for each in (await desk.get(f"/grants?tenant={ACME}"))["grants"]] == [
            grant["grant_id"]
        ]
        revoked = await desk.post(f"/grants/{grant['grant_id']}/revoke", {"why": "they pay"})
        assert (revoked["changed"], revoked["grant"]["holds"]) == (True, False)
        again = await desk.post(f"/grants/{grant['grant_id']}/revoke", {"why": "twice"})
        assert (again["changed"], again["grant"]["revoked_reason"]) == (False, "they pay")
        assert [audit.action for audit in await desk.audits()] == ["revoke_grant", "revoke_grant", "grant"]
        assert [message.sequence for message in desk.published] == [2, 3]

    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({"until": (datetime.now(UTC) - timedelta(days=1)).isoformat()}, (422, "end_has_passed")),
            ({"plan_code": " "}, (422, "unknown_plan")),
            ({"until": "2030-01-01"}, (400, "bad_request")),
            ({"why": ""}, (400, "bad_request")),
            ({}, (409, "unknown_tenant")),
        ],
    )
    async def test_what_cannot_be_meant_is_refused(
        self, desk: Desk, changes: dict[str, Any], found: tuple[int, str]
    ) -> None:
        """Before anything is recorded."""
        status, problem = await desk.send("POST", "/tenants/nova/grants", {**PLAN, **changes})
        assert (status, problem["code"]) == found
        assert await desk.audits() == []

    async def test_an_unknown_grant_is_not_found(self, desk: Desk) -> None:
        """The attempt is on record."""
        status, problem = await desk.send("POST", "/grants/grant_9/revoke", {"why": "a test"})
        assert (status, problem["code"]) == (404, "not_found")
        (audit,) = await desk.audits()
        assert audit.result == {"found": False, "messages": 0}
