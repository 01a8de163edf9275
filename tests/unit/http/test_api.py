"""The read API, health checks and pages: shapes, limits and headers."""

from __future__ import annotations

import json
import posixpath
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import attrs
import pytest
from structlog.testing import capture_logs
from tests.unit.http.conftest import SETTINGS, STREAM
from yarl import URL

from billing_app.http.app import create_app, create_probes
from billing_app.http.pages import ASSETS, COMPONENT_ASSETS, OPERATORS_ASSETS
from billing_app.http.sign_in import make_ticket, read_ticket
from billing_app.settings import DemoSettings, Secret, ServerSettings
from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.model import (
    ChargeSnapshot,
    CreditNoteSnapshot,
    DisputeSnapshot,
    InvoiceId,
    RecordSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    TenantId,
    TenantRecord,
    TenantState,
)
from billing_core.state.ports import Changes
from billing_core.state.provisional import ProvisionalBasis
from billing_core.testing.builders import (
    ACME,
    AT,
    GLOBEX,
    invoice,
    item,
    month,
    provenance,
    provider_event,
    subscription,
    usage,
)
from billing_memory.state.repository import MemoryRepository

if TYPE_CHECKING:
    from tests.unit.http.conftest import CreateApp, Eventually, MakeWorld, World

BASE = "/api/v1/billing/tenants"
TICKET_SECRET = Secret("t" * 32)


async def give_acme_a_subscription(world: World) -> None:
    """Store an active subscription with seats, an open invoice and the usage on it."""
    async with world.repository.transaction() as transaction:
        await transaction.lock_tenants([ACME])
        await transaction.save(
            Changes(
                subscriptions=[subscription(items=(item(period=month(1)),))],
                invoices=[invoice()],
                usage={InvoiceId("in_1"): [usage()]},
            )
        )


async def test_the_state_has_everything_a_tenant_has_and_its_position(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Subscriptions with items, open invoices, usage, access, and the position at which a stream continues."""
    await give_acme_a_subscription(world)
    await world.commit(ACME, 2)
    async with http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer()) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        state = await answer.json()
    assert " ".join(state) == "tenant_id sequence position access subscriptions invoices usage features grants"
    assert (state["sequence"], state["position"]) == (2, "2")
    assert (state["tenant_id"], state["sequence"]) == ("acme", 2)
    assert state["access"] == {"state": "full", "reason": "active", "until": None}
    assert state["subscriptions"][0]["seat_count"] == 5
    assert state["subscriptions"][0]["items"][0]["current_period_end"] == "2026-03-31T09:30:00Z"
    assert state["invoices"][0]["amount_remaining"] == 1900
    assert state["usage"][0]["quantity"] == 1000


async def test_an_unknown_tenant_has_an_empty_state(world: World, http: aiohttp.ClientSession) -> None:
    """Blocked, and without subscriptions."""
    async with http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer()) as answer:
        assert await answer.json() == {
            "tenant_id": "acme",
            "sequence": 0,
            "position": "0",
            "access": {"state": "blocked", "reason": "no_subscription", "until": None},
            "subscriptions": [],
            "invoices": [],
            "usage": [],
            "features": [],
            "grants": [],
        }


async def test_only_an_operator_sees_what_needs_attention(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """Beside the same state as every reader; an operator's token names one tenant, too."""
    world = make_world(tokens=attrs.evolve(SETTINGS.tokens, operator_roles=("operator",)))
    await give_acme_a_subscription(world)
    async with world.repository.transaction() as transaction:
        await transaction.lock_tenants([ACME])
        await transaction.save(Changes(invoices=[invoice("in_2", status="paid", lines_complete=False)]))
    claim = (await world.container.inbox().record(provider_event(), lease=timedelta(minutes=1))).claim
    assert claim is not None
    await world.container.queue().bury(claim, reason="bug", error="boom", about=["sub_1"])
    async with world.serving():
        async with http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer(role="viewer")) as answer:
            state = await answer.json()
        async with http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer(role="operator")) as answer:
            seen = await answer.json()
        async with http.get(f"{world.url}{BASE}/globex/state", headers=world.bearer(role="operator")) as answer:
            assert answer.status == 403
    flawed = {"kind": "invoice", "object_id": "in_2", "complete": False, "ambiguous": False}
    assert seen == {**state, "attention": True, "dead_events": 1, "uncertain": [flawed], "provisional": []}
    assert not {"attention", "dead_events", "uncertain", "provisional"} & state.keys()


async def test_an_answer_to_an_operation_is_read_at_once(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """By every route, with the access that follows; an operator sees that it is provisional."""
    world = make_world(tokens=attrs.evolve(SETTINGS.tokens, operator_roles=("operator",)))
    await give_acme_a_subscription(world)
    shown = subscription(status="canceled").snapshot
    basis = ProvisionalBasis(tenant_id=ACME, operation_key="bo_1", answered_at=AT + timedelta(days=1))
    ingested = await world.container.service().ingest_subscription_snapshot(shown, basis)
    async with world.serving():
        async with http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer(role="operator")) as answer:
            state = await answer.json()
        async with http.get(f"{world.url}{BASE}/acme/subscriptions", headers=world.bearer()) as answer:
            (listed,) = (await answer.json())["subscriptions"]
    assert state["subscriptions"] == [listed]
    assert (listed["status"], state["access"]["state"], state["sequence"]) == (
        "canceled",
        "blocked",
        ingested.events[-1].sequence,
    )
    (provisional,) = state["provisional"]
    assert (provisional["object_id"], provisional["operation_key"], provisional["shown"]) == ("sub_1", "bo_1", True)


async def test_without_configured_operators_the_role_may_not_read(world: World, http: aiohttp.ClientSession) -> None:
    """An issuer may give any role that this service does not know."""
    async with http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer(role="operator")) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("name", ["subscriptions", "invoices", "usage"])
async def test_listings_hold_the_same_sections_as_the_state(
    world: World, http: aiohttp.ClientSession, name: str
) -> None:
    """Each section has one shape everywhere."""
    await give_acme_a_subscription(world)
    async with http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer()) as answer:
        state = await answer.json()
    async with http.get(f"{world.url}{BASE}/acme/{name}", headers=world.bearer()) as answer:
        assert await answer.json() == {"tenant_id": "acme", name: state[name]}


async def test_adjustments_are_listed_latest_first_and_without_other_records(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Refunds, disputes, credit notes and charges, of this tenant only."""
    charge = ChargeSnapshot(
        charge_id="ch_1", payment_id="pi_1", amount=1900, amount_refunded=500, currency="usd", disputed=True
    )
    refund = RefundSnapshot(
        refund_id="re_1", charge_id="ch_1", amount=500, currency="usd", status="succeeded", reason="duplicate"
    )
    dispute = DisputeSnapshot(dispute_id="dp_1", payment_id="pi_1", amount=1900, currency="usd", status="won")
    credit_note = CreditNoteSnapshot(
        credit_note_id="cn_1", invoice_id=InvoiceId("in_1"), amount=500, currency="usd", status="issued"
    )
    schedule = ScheduleSnapshot(schedule_id="sub_sched_1", status="active")
    shown: list[RecordSnapshot] = [schedule, refund, charge, credit_note, dispute]
    records = [
        TenantRecord(tenant_id=ACME, snapshot=seen, provenance=provenance(observed_at=AT - timedelta(seconds=position)))
        for position, seen in enumerate(shown)
    ]
    foreign = attrs.evolve(records[1], tenant_id=GLOBEX, snapshot=attrs.evolve(refund, refund_id="re_2"))
    async with world.repository.transaction() as transaction:
        await transaction.lock_tenants([ACME, GLOBEX])
        await transaction.save(Changes(records=[*records, foreign]))
    async with http.get(f"{world.url}{BASE}/acme/adjustments?limit=3", headers=world.bearer()) as answer:
        assert await answer.json() == {
            "tenant_id": "acme",
            "adjustments": [
                {
                    "kind": "refund",
                    "adjustment_id": "re_1",
                    "status": "succeeded",
                    "amount": 500,
                    "amount_refunded": None,
                    "currency": "usd",
                    "reason": "duplicate",
                    "disputed": False,
                    "invoice_id": None,
                    "payment_id": None,
                    "charge_id": "ch_1",
                    "observed_at": "2026-03-01T09:29:59Z",
                },
                {
                    "kind": "charge",
                    "adjustment_id": "ch_1",
                    "status": None,
                    "amount": 1900,
                    "amount_refunded": 500,
                    "currency": "usd",
                    "reason": None,
                    "disputed": True,
                    "invoice_id": None,
                    "payment_id": "pi_1",
                    "charge_id": "ch_1",
                    "observed_at": "2026-03-01T09:29:58Z",
                },
                {
                    "kind": "credit_note",
                    "adjustment_id": "cn_1",
                    "status": "issued",
                    "amount": 500,
                    "amount_refunded": None,
                    "currency": "usd",
                    "reason": None,
                    "disputed": False,
                    "invoice_id": "in_1",
                    "payment_id": None,
                    "charge_id": None,
                    "observed_at": "2026-03-01T09:29:57Z",
                },
            ],
        }
    async with http.get(f"{world.url}{BASE}/acme/adjustments", headers=world.bearer()) as answer:
        listed = (await answer.json())["adjustments"]
    assert [each["kind"] for each in listed] == ["refund", "charge", "credit_note", "dispute"]


async def test_the_history_is_read_page_by_page(world: World, http: aiohttp.ClientSession) -> None:
    """`next_after` leads to the next page and is null at the end; messages are the stored bytes."""
    events = await world.commit(ACME, 7)
    await world.commit(GLOBEX, 3)
    seen, after = [], 0
    for size in (3, 3, 1):
        async with http.get(f"{world.url}{BASE}/acme/events?after={after}&limit=3", headers=world.bearer()) as answer:
            text = await answer.text()
        page = json.loads(text)
        assert len(page["events"]) == size
        seen += page["events"]
        after = page["next_after"]
        assert all(events[event["sequence"] - 1].payload in text for event in page["events"])
    assert [event["sequence"] for event in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert after is None


async def test_a_tenants_name_cannot_break_the_response(world: World, http: aiohttp.ClientSession) -> None:
    """Quotes, slashes and other scripts come back unchanged."""
    tenant = TenantId('a"b\\c/ü é\u2028')
    async with http.get(
        f"{world.url}{BASE}/a%22b%5Cc%2F%C3%BC%20%C3%A9%E2%80%A8/events", headers=world.bearer(tenant)
    ) as answer:
        assert await answer.json() == {"tenant_id": tenant, "next_after": None, "events": []}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=", "after=-1", "after=x", "after=1.5", "after=" + "9" * 19],
)
async def test_an_invalid_parameter_is_refused(world: World, http: aiohttp.ClientSession, query: str) -> None:
    """400 with the parameter's name."""
    async with http.get(f"{world.url}{BASE}/acme/events?{query}", headers=world.bearer()) as answer:
        assert answer.status == 400
        assert query.split("=", maxsplit=1)[0] in (await answer.json())["error"]["message"]


async def test_an_unavailable_store_is_answered_503(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """With a Retry-After, and without a detail of the database."""
    world = make_world()

    class UnavailableRepository(MemoryRepository):
        async def state(self, tenant_id: TenantId) -> TenantState:
            raise StoreUnavailableError("db.internal refused")

    world.replace(tenant_reader=UnavailableRepository(world.database, world.clock))
    async with world.serving(), http.get(f"{world.url}{BASE}/acme/state", headers=world.bearer()) as answer:
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert "db.internal" not in await answer.text()


async def test_an_unknown_path_is_answered_404_in_json(world: World, http: aiohttp.ClientSession) -> None:
    """Among them dot files and ways out of the assets."""
    for path in ("/x", "/.env", "/assets/../../secret.py", "/assets/%2e%2e/secret.py", "/assets/", f"{BASE}/acme/x"):
        async with http.get(URL(world.url + path, encoded=True), headers=world.bearer()) as answer:
            assert answer.status == 404
            assert (await answer.json())["error"]["code"] == "not_found"


class TestHealth:
    """/healthz and /readyz."""

    async def test_a_running_process_is_healthy(self, world: World, http: aiohttp.ClientSession) -> None:
        """No dependency is probed."""
        async with http.get(world.url + "/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})

    async def test_it_is_ready_if_its_dependencies_respond(
        self, make_world: MakeWorld, http: aiohttp.ClientSession
    ) -> None:
        """A lost bus is only shown, since webhooks are stored without it; a lost database is not ready."""
        failing: list[str] = []

        async def database() -> None:
            if "database" in failing:
                raise StoreUnavailableError("10.0.0.1")

        async def bus() -> None:
            if "bus" in failing:
                raise EventBusUnavailableError("10.0.0.2")

        world = make_world()
        world.replace(probes={"database": database, "bus": bus})
        async with world.serving():
            async with http.get(world.url + "/readyz") as answer:
                assert answer.status == 200
                assert await answer.json() == {"status": "ready", "checks": {"database": "ok", "bus": "ok"}}
            failing.append("bus")
            async with http.get(world.url + "/readyz") as answer:
                assert answer.status == 200
                checks = {"database": "ok", "bus": "event_bus_unavailable"}
                assert await answer.json() == {"status": "ready", "checks": checks}
            failing.append("database")
            async with http.get(world.url + "/readyz") as answer:
                assert answer.status == 503
                checks = {"database": "store_unavailable", "bus": "event_bus_unavailable"}
                assert await answer.json() == {"status": "unavailable", "checks": checks}


class TestMetrics:
    """/metrics, on the port of the webhooks and on its own."""

    async def test_the_port_of_the_webhooks_shows_none_without_a_token(
        self, world: World, http: aiohttp.ClientSession
    ) -> None:
        """It says where they are."""
        async with http.get(world.url + "/metrics", headers=world.bearer()) as answer:
            assert answer.status == 404
            assert "BILLING_METRICS_PORT" in (await answer.json())["error"]["message"]

    async def test_the_port_for_monitoring_shows_them_to_all(
        self, make_world: MakeWorld, http: aiohttp.ClientSession
    ) -> None:
        """In the Prometheus format, with health beside them and nothing else."""
        async with make_world().serving(create_probes) as world:
            async with http.get(world.url + "/metrics") as answer:
                assert answer.status == 200
                assert "stripe_webhook_events_total" in await answer.text()
            for path, status in (("/healthz", 200), ("/readyz", 200), ("/activity", 404), (STREAM, 404)):
                async with http.get(world.url + path) as answer:
                    assert answer.status == status

    @pytest.mark.parametrize("application", [create_app, create_probes])
    async def test_a_token_is_required_if_there_is_one(
        self, make_world: MakeWorld, http: aiohttp.ClientSession, application: CreateApp
    ) -> None:
        """On either port. A tenant's token is refused."""
        server = ServerSettings(metrics_token=Secret("m" * 16))
        async with make_world(server=server).serving(application) as world:
            for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}, world.bearer()):
                async with http.get(world.url + "/metrics", headers=header) as answer:
                    assert answer.status == 401
            async with http.get(world.url + "/metrics", headers={"Authorization": f"Bearer {'m' * 16}"}) as answer:
                assert answer.status == 200


class TestPages:
    """The activity page, the operator's page and the demo's sign-in link."""

    @pytest.mark.parametrize("page", ["/activity", "/ops"])
    async def test_pages_allow_nothing_inline_and_nothing_from_other_hosts(
        self, world: World, http: aiohttp.ClientSession, page: str
    ) -> None:
        """The policy is strict, and the documents comply."""
        async with http.get(world.url + page) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            policy = answer.headers["Content-Security-Policy"]
            document = await answer.text()
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<style|style=|\son[a-z]+=|<script(?![^>]*\ssrc=)|https?://(?!www\.w3)", document)
        linked = re.findall(r'(?:src|href)="(/[^"]+)"', document)
        assert linked
        for path in linked:
            async with http.get(world.url + path) as asset:
                assert asset.status == 200
                assert asset.headers["X-Content-Type-Options"] == "nosniff"

    async def test_every_module_a_page_loads_is_served(self, world: World, http: aiohttp.ClientSession) -> None:
        """With the type of JavaScript, which browsers require; no file is served that no page loads."""
        waiting, seen = ["activity.js", "api.js", "ops/ops.js", "sign-in.js"], set()
        while waiting:
            name = waiting.pop()
            async with http.get(f"{world.url}/assets/{name}") as answer:
                assert answer.status == 200
                assert answer.content_type == "text/javascript"
                source = await answer.text()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", source)
            seen.add(name)
            folder, imported = posixpath.dirname(name), re.findall(r'(?:from|import) "(\.[^"]+)"', source)
            waiting += {posixpath.normpath(posixpath.join(folder, path)) for path in imported} - seen
        folders = {"activity": COMPONENT_ASSETS, "ops": OPERATORS_ASSETS}
        served = {*ASSETS, *(f"{folder}/{name}" for folder, names in folders.items() for name in names)}
        assert seen == {name for name in served if name.endswith(".js")}

    async def test_each_view_of_the_operators_page_has_an_address(
        self, world: World, http: aiohttp.ClientSession
    ) -> None:
        """A link to an event or a tenant opens the page, whatever the id; other addresses are not found."""
        for path in ("events", "tenants", "replay", "audit", "events/evt_1", "tenants/a%2Fb"):
            async with http.get(URL(f"{world.url}/ops/{path}", encoded=True)) as answer:
                assert answer.status == 200
                assert answer.content_type == "text/html"
        for path in ("", "other", "replay/1", "events/a/b", "ops.html"):
            async with http.get(f"{world.url}/ops/{path}") as answer:
                assert answer.status == 404

    async def test_the_root_leads_to_the_page(self, world: World, http: aiohttp.ClientSession) -> None:
        """The server's address shows the activity page."""
        async with http.get(world.url + "/") as answer:
            assert answer.url.path == "/activity"

    async def test_a_ticket_signs_in_without_a_token_in_a_url(
        self, make_world: MakeWorld, http: aiohttp.ClientSession
    ) -> None:
        """The page contains a valid token, is not cached, and sends no referrer."""
        world = make_world(demo=DemoSettings(ticket_secret=TICKET_SECRET))
        ticket = make_ticket(TICKET_SECRET, ACME, expires_at=datetime.now(UTC) + timedelta(minutes=5))
        async with world.serving():
            async with http.get(f"{world.url}/demo/sign-in?ticket={ticket}") as answer:
                assert answer.status == 200
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                document = await answer.text()
            token = re.findall(r'name="billing-token" content="([^"]+)"', document)[0]
            async with http.get(
                f"{world.url}{BASE}/acme/state", headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                assert answer.status == 200

    async def test_a_bad_ticket_is_refused(self, make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
        """Forged, changed, expired or missing."""
        good = make_ticket(TICKET_SECRET, ACME, expires_at=datetime.now(UTC) + timedelta(minutes=5))
        bad = [
            "",
            "..",
            "é",
            good[:-1],
            good.replace(".", "x.", 1),
            make_ticket(Secret("x" * 32), ACME, expires_at=datetime.now(UTC) + timedelta(minutes=5)),
            make_ticket(TICKET_SECRET, ACME, expires_at=datetime.now(UTC) - timedelta(seconds=1)),
            "a" * 4000,
        ]
        world = make_world(demo=DemoSettings(ticket_secret=TICKET_SECRET))
        async with world.serving():
            for ticket in bad:
                async with http.get(f"{world.url}/demo/sign-in", params={"ticket": ticket}) as answer:
                    assert answer.status == 403

    async def test_outside_the_demo_there_is_no_sign_in_page(self, world: World, http: aiohttp.ClientSession) -> None:
        """The route does not exist."""
        async with http.get(f"{world.url}/demo/sign-in?ticket=x") as answer:
            assert answer.status == 404

    def test_a_ticket_can_name_any_tenant(self) -> None:
        """Any text survives in the link."""
        later = datetime.now(UTC) + timedelta(minutes=5)
        for tenant in ("acme", "a.b", "ü/é?&=", "x" * 200):
            ticket = make_ticket(TICKET_SECRET, TenantId(tenant), expires_at=later)
            assert re.fullmatch(r"[A-Za-z0-9_.-]+", ticket)
            assert read_ticket(TICKET_SECRET, ticket, now=datetime.now(UTC)) == tenant


async def test_no_query_string_is_ever_logged(
    world: World, http: aiohttp.ClientSession, eventually: Eventually
) -> None:
    """It may contain a ticket; the path is logged percent-encoded, so that it cannot forge a line."""
    with capture_logs() as lines:
        for path in ("/activity?ticket=hunter2", "/x%0aINFO%20forged?token=hunter2"):
            async with http.get(URL(world.url + path, encoded=True)) as answer:
                await answer.read()
        await eventually(lambda: len(lines) >= 2)
    assert [line["path"] for line in lines if line["event"] == "http.request"] == ["/activity", "/x%0aINFO%20forged"]
    assert "hunter2" not in str(lines)
