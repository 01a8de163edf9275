"""Operations over HTTP: who may call them, under which key, and how a failure looks."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import attrs
import pytest
from tests.unit.core.operations.accounts import PLANS
from tests.unit.http.conftest import MakeWorld, World

from billing_app.http.operations.bodies import LONGEST_BODY, LONGEST_LIST
from billing_app.http.operations.calling import OperationRoute
from billing_app.http.operations.problems import FAILED, REFUSED, UNKNOWN_OUTCOME, problem_of
from billing_app.http.operations.routes import ROUTES
from billing_app.settings import CatalogSettings
from billing_core.errors import (
    GatewayCardDeclinedError,
    GatewayPermissionError,
    GatewayUnavailableError,
    StoreUnavailableError,
)
from billing_core.operations.errors import OperationFailedError, OperationFailure, OperationRefusedError, Refusal
from billing_core.testing.builders import ACME, GLOBEX
from billing_memory.operations.fake_gateway import FakeGateway

START = {"plan_code": "pro", "interval": "month", "interval_count": 1, "trial": False}
EXAMPLES = {
    "tenant_id": ACME,
    "subscription_id": "sub_1",
    "session_id": "cs_1",
    "payment_method_id": "pm_1",
    "invoice_id": "in_1",
    "code": "SPRING",
}


class Shop:
    """A server with operations, and the provider behind it."""

    def __init__(self, world: World, provider: FakeGateway, http: aiohttp.ClientSession) -> None:
        self.world = world
        self.provider = provider
        self._http = http
        self._keys = 0

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str = "admin",
        key: str | None = None,
        raw: bytes | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request with a key of its own, and return status and body."""
        self._keys += 1
        sent = {
            **self.world.bearer(role=role),
            "Idempotency-Key": f"key-{self._keys}" if key is None else key,
            **headers,
        }
        data = {} if raw is None else {"data": raw}
        if body is not None:
            data = {"json": body}
        async with self._http.request(method, f"{self.world.url}/api/v1/billing{path}", headers=sent, **data) as answer:
            self.headers = answer.headers
            return answer.status, await answer.json(content_type=None)

    async def start(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        """Start a subscription that is paid at once."""
        return await self.send("POST", f"/tenants/{ACME}/subscriptions", {**START, **changes})


@pytest.fixture
async def shop(make_world: MakeWorld, http: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """A running server whose provider is in memory."""
    world = make_world(catalog=CatalogSettings(plans=PLANS))
    provider = FakeGateway(world.clock)
    for plan in PLANS:
        for price in plan.prices:
            provider.add_price(
                price.price_id or price.lookup_key or "",
                unit_amount=price.amount or 0,
                interval=price.interval or "month",
                currency=price.currency or "usd",
                metered=price.role == "metered",
            )
    world.replace(operation_gateway=provider, preview_gateway=provider, billing_reader=provider)
    async with world.serving():
        yield Shop(world, provider, http)


class TestCallers:
    """Roles and tenants."""

    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
    async def test_a_token_is_needed_and_only_its_own_tenant_is_reached(
        self, shop: Shop, route: OperationRoute
    ) -> None:
        """Refusals are problems, too."""
        path = route.path.removeprefix("/api/v1/billing")
        own, foreign = path.format(**EXAMPLES), path.format(**{**EXAMPLES, "tenant_id": GLOBEX})
        status, problem = await shop.send(route.method, own, Authorization="")
        assert (status, problem["code"]) == (401, "unauthorized")
        assert shop.headers["Content-Type"] == "application/problem+json"
        if "{tenant_id}" in route.path:
            status, problem = await shop.send(route.method, foreign)
            assert (status, problem["code"]) == (403, "wrong_tenant")

    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
    async def test_roles_decide(self, shop: Shop, route: OperationRoute) -> None:
        """Viewers read, owners and admins write, and only operators give credit or waive payments."""
        path = route.path.removeprefix("/api/v1/billing").format(**EXAMPLES)
        allowed = {"read": ("viewer", "admin", "owner"), "write": ("admin", "owner"), "operate": ()}[route.access]
        for role in ("viewer", "admin", "owner"):
            status, problem = await shop.send(route.method, path, role=role)
            assert (status == 403) == (role not in allowed)
            if status == 403:
                setting = "BILLING_JWT_WRITER_ROLES" if route.access == "write" else "BILLING_JWT_OPERATOR_ROLES"
                assert problem["code"] == "forbidden_role"
                assert (
                    problem["detail"] == f"The role {role!r} of this token may not do this. The roles of {setting} may."
                )

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("change", {"plan_code": "basic", "proration": "none"}),
            ("change/preview", {"plan_code": "basic", "proration": "none"}),
            ("seats", {"seats": 5, "proration": "none"}),
            ("seats/preview", {"seats": 5, "proration": "none"}),
            ("cancel", {"at": "now", "invoice_usage": False}),
            ("cancel", {"at": "now", "credit_unused_time": True}),
            ("pause", {"invoice_usage": False}),
            ("pause-collection", {"behavior": "void"}),
        ],
    )
    async def test_a_tenant_cannot_waive_what_it_owes(self, shop: Shop, path: str, body: dict[str, Any]) -> None:
        """Its owner could have everything for nothing."""
        _, started = await shop.start(trial=True)
        count = len(shop.provider.keys)
        one = f"/tenants/{ACME}/subscriptions/{started['object_id']}"
        status, problem = await shop.send("POST", f"{one}/{path}", body, role="owner")
        assert (status, problem["code"]) == (403, "forbidden_role")
        assert "The roles of BILLING_JWT_OPERATOR_ROLES may." in problem["detail"]
        assert len(shop.provider.keys) == count

    async def test_without_a_key_of_stripe_there_are_no_operations(
        self, world: World, http: aiohttp.ClientSession
    ) -> None:
        """The answer says which setting is missing."""
        shop = Shop(world, FakeGateway(), http)
        status, problem = await shop.start()
        assert (status, problem["code"]) == (404, "operations_disabled")
        assert "STRIPE_SECRET_KEY" in problem["detail"]


class TestDecisions:
    """One decision is one key."""

    async def test_a_start_is_carried_out_once_per_key(self, shop: Shop) -> None:
        """The second answer says that it is a repeated one."""
        path, body = f"/tenants/{ACME}/subscriptions", START
        status, first = await shop.send("POST", path, body, key="decision-1")
        assert status == 200
        assert (first["repeated"], first["object_id"][:4]) == (False, "sub_")
        status, again = await shop.send("POST", path, body, key="decision-1")
        assert (status, again["repeated"], again["object_id"]) == (200, True, first["object_id"])

    async def test_a_key_with_other_values_is_refused(self, shop: Shop) -> None:
        """Nothing is done."""
        path = f"/tenants/{ACME}/subscriptions"
        await shop.send("POST", path, START, key="decision-1")
        status, problem = await shop.send("POST", path, {**START, "plan_code": "starter"}, key="decision-1")
        assert (status, problem["code"]) == (422, "idempotency_conflict")

    async def test_a_key_for_an_end_with_the_period_ends_nothing_now(self, shop: Shop) -> None:
        """It is one decision, of the same route."""
        _, started = await shop.start(trial=True)
        path = f"/tenants/{ACME}/subscriptions/{started['object_id']}/cancel"
        status, _ = await shop.send("POST", path, {"at": "period_end"}, key="decision-1")
        assert status == 200
        status, problem = await shop.send("POST", path, {"at": "now"}, key="decision-1")
        assert (status, problem["code"]) == (422, "idempotency_conflict")

    @pytest.mark.parametrize("route", [each for each in ROUTES if each.writes], ids=lambda route: route.operation_id)
    async def test_every_write_demands_a_key(self, shop: Shop, route: OperationRoute) -> None:
        """The answer says what to send."""
        if route.access == "operate":
            return
        body = {"plan_code": "pro", "seats": 1, "session_id": "cs_1", "return_url": "https://app.example", "code": "X"}
        needed = {name: body[name] for name in _required(route)}
        status, problem = await shop.send(
            route.method, route.path.removeprefix("/api/v1/billing").format(**EXAMPLES), needed, key=""
        )
        assert (status, problem["code"]) == (400, "idempotency_key_missing")

    @pytest.mark.parametrize("key", ["a" * 256, "ümlaut", "two words"])
    async def test_a_key_that_cannot_be_stored_is_refused(self, shop: Shop, key: str) -> None:
        """Its form is named."""
        status, problem = await shop.send("POST", f"/tenants/{ACME}/subscriptions", START, key=key)
        assert (status, problem["code"]) == (400, "bad_idempotency_key")

    async def test_a_change_is_previewed_and_confirmed(self, shop: Shop) -> None:
        """The preview's id holds only while nothing moved."""
        _, started = await shop.start(trial=True)
        one = f"/tenants/{ACME}/subscriptions/{started['object_id']}"
        wanted = {"plan_code": "pro", "seats": None, "interval": "year", "when": "now"}
        status, preview = await shop.send("POST", f"{one}/change/preview", wanted, key="")
        assert status == 200
        assert preview["preview_id"].startswith("pv_")
        status, problem = await shop.send("POST", f"{one}/change", {**wanted, "preview_id": "pv_0_" + "0" * 40})
        assert (status, problem["code"]) == (409, "preview_outdated")
        status, answer = await shop.send("POST", f"{one}/change", {**wanted, "preview_id": preview["preview_id"]})
        assert (status, answer["object_id"]) == (200, started["object_id"])

    async def test_a_cancellation_is_scheduled_and_withdrawn(self, shop: Shop) -> None:
        """With the reason that the customer chose."""
        _, started = await shop.start(trial=True)
        one = f"/tenants/{ACME}/subscriptions/{started['object_id']}"
        status, _ = await shop.send("POST", f"{one}/cancel", {"feedback": "too_expensive", "comment": "Bye."})
        assert status == 200
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{shop.world.url}/api/v1/billing/tenants/{ACME}/state", headers=shop.world.bearer()) as answer,
        ):
            (subscription,) = (await answer.json())["subscriptions"]
        assert subscription["auto_renew"] is False
        assert subscription["cancellation_feedback"] == "too_expensive"
        status, _ = await shop.send("POST", f"{one}/undo", {"kind": "cancellation"})
        assert status == 200


class TestBodies:
    """Bodies are read strictly."""

    @pytest.mark.parametrize(
        ("raw", "said"),
        [
            (b"{", "not JSON"),
            (b"[]", "must be a JSON object"),
            (b"{}", "plan_code"),
            (b'{"plan_code": 3}', "not a text"),
            (b'{"plan_code": "pro", "seat": 3}', "seat"),
            (b'{"plan_code": "pro", "seats": "3"}', "not a whole number"),
            (b'{"plan_code": "pro", "seats": true}', "not a whole number"),
            (b'{"plan_code": "pro", "seats": 9223372036854775808}', "not"),
            (b'{"plan_code": "pro", "trial": "no"}', "neither true nor false"),
            (b'{"plan_code": "pro", "payment": "later"}', "payment"),
            (b'{"plan_code": "p\\u0000ro"}', "cannot be printed"),
            (b'{"plan_code": "' + b"p" * 2001 + b'"}', "longer than 2000"),
        ],
    )
    async def test_a_fault_names_its_field(self, shop: Shop, raw: bytes, said: str) -> None:
        """It is 400, and nothing is done."""
        status, problem = await shop.send("POST", f"/tenants/{ACME}/subscriptions", raw=raw)
        assert (status, problem["code"]) == (400, "bad_request")
        assert said in problem["detail"]
        assert shop.provider.keys == []

    async def test_lists_are_lists(self, shop: Shop) -> None:
        """Each member's fault is named, too."""
        path = f"/tenants/{ACME}/billing-contact"
        for value in ({}, "txi_1", ["txi_1", 3]):
            status, problem = await shop.send("POST", path, {"remove_tax_ids": value})
            assert (status, "remove_tax_ids" in problem["detail"]) == (400, True)

    async def test_lists_are_short(self, shop: Shop) -> None:
        """Each member would be a call to the provider."""
        ids = [f"txi_{number}" for number in range(LONGEST_LIST + 1)]
        status, problem = await shop.send("POST", f"/tenants/{ACME}/billing-contact", {"remove_tax_ids": ids})
        assert (status, "more than 20 members" in problem["detail"]) == (400, True)

    @pytest.mark.parametrize("session_id", ["start%3Aglobex", "a%00b", "cs_%20", "cs_" + "x" * 253, "cs%2F1", "%F0%9F"])
    async def test_an_id_in_the_path_is_one(self, shop: Shop, session_id: str) -> None:
        """A text that names something else would hold up the operations of other tenants, or could not be stored."""
        status, problem = await shop.send("POST", f"/tenants/{ACME}/checkout/{session_id}/expire")
        assert (status, problem["code"]) == (400, "bad_parameter")

    async def test_a_large_body_is_refused_before_it_is_read(self, shop: Shop) -> None:
        """Also one that does not say its length."""
        path = f"/tenants/{ACME}/subscriptions"
        status, problem = await shop.send("POST", path, raw=b" " * (LONGEST_BODY + 1))
        assert (status, problem["code"]) == (413, "too_large")

    async def test_an_empty_body_has_no_fields(self, shop: Shop) -> None:
        """An end with the period needs none."""
        status, problem = await shop.send("POST", f"/tenants/{ACME}/subscriptions/sub_1/cancel")
        assert (status, problem["code"]) == (404, "no_subscription")


class TestProblems:
    """Failures."""

    async def test_a_declined_card_is_402_with_a_text_for_the_customer(self, shop: Shop) -> None:
        """And with the reason that the bank gave."""
        shop.provider.fail(GatewayCardDeclinedError("start", decline_code="insufficient_funds"))
        status, problem = await shop.start(payment="off_session")
        assert (status, problem["code"]) == (402, "card_declined")

    async def test_an_unknown_outcome_says_to_ask_again_with_the_same_key(self, shop: Shop) -> None:
        """Asked again, it is found, and done once."""
        _, started = await shop.start(trial=True)
        path = f"/tenants/{ACME}/subscriptions/{started['object_id']}/cancel"
        shop.provider.fail(GatewayUnavailableError("cut off", outcome_unknown=True), carried_out=True)
        status, problem = await shop.send("POST", path, {}, key="decision-2")
        assert (status, problem["detail"], problem["retryable"]) == (503, UNKNOWN_OUTCOME, True)
        assert shop.headers["Retry-After"].isdigit()
        status, answer = await shop.send("POST", path, {}, key="decision-2")
        assert (status, answer["object_id"]) == (200, started["object_id"])

    async def test_a_start_without_a_card_says_what_to_do(self, shop: Shop) -> None:
        """Which is to add one, and then to decide again: the same key gets the same answer."""
        body = {"plan_code": "basic", "payment": "on_file"}
        path = f"/tenants/{ACME}/subscriptions"
        first = await shop.send("POST", path, body, key="decision-1")
        again = await shop.send("POST", path, body, key="decision-1")
        text = "There is no saved payment method to charge. Add one, then try again."
        for status, problem in (first, again):
            assert (status, problem["code"], problem["new_key_needed"]) == (402, "payment_method_missing", True)
            assert problem["detail"].startswith(text)
        assert again[1]["detail"] == f"{text} This request was answered before. Start a new one to try again."

    async def test_addons_start_with_their_plan(self, shop: Shop) -> None:
        """Named by their plan codes; what is no add-on is refused."""
        path = f"/tenants/{ACME}/subscriptions"
        status, problem = await shop.send("POST", path, {"plan_code": "basic", "addons": ["team"]}, key="decision-1")
        assert (status, problem["code"]) == (422, "not_an_addon")
        status, _ = await shop.send("POST", path, {"plan_code": "basic", "addons": ["support"]}, key="decision-1")
        assert status in (200, 201)
        (started,) = shop.provider.subscriptions.values()
        assert "price_support" in {item.price_id for item in started.items}

    async def test_a_bug_is_no_fault_of_the_request(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """The operation may have been carried out: the same key tells."""

        async def perform(*_: object) -> None:
            raise ValueError("no such page")

        monkeypatch.setattr(shop.provider, "perform", perform)
        status, problem = await shop.start()
        assert (status, problem["code"], problem["detail"]) == (500, "internal_error", UNKNOWN_OUTCOME)
        assert shop.headers["Content-Type"] == "application/problem+json"

    def test_every_refusal_has_a_status(self) -> None:
        """4xx each, with its own text."""
        for refusal in Refusal:
            problem = problem_of(OperationRefusedError(refusal))
            assert problem.status == REFUSED.get(refusal, 409)
            assert problem.detail

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (GatewayPermissionError("start"), 502),
            (GatewayUnavailableError("start"), 503),
            (StoreUnavailableError("down"), 503),
            (OperationFailedError(OperationFailure(code="card_declined", user_text="Declined.")), 402),
            (OperationFailedError(OperationFailure(code="something_new", user_text="No.")), 502),
        ],
    )
    def test_errors_become_statuses(self, error: Any, status: int) -> None:
        """The code stays."""
        problem = problem_of(error)
        assert (problem.status, problem.code) == (status, error.code)

    def test_statuses_are_those_of_failures(self) -> None:
        """No error of the provider is 200."""
        assert {400 <= status < 600 for status in FAILED.values()} == {True}


def _required(route: OperationRoute) -> list[str]:

    return (
        [] if route.body is None else [each.name for each in attrs.fields(route.body) if each.default is attrs.NOTHING]
    )
