"""The operator's API: who is let in, what bad requests are answered, and that pages of others get no say."""

import re
from datetime import timedelta

import aiohttp
import attrs
import jwt
import pytest
from tests.unit.http.conftest import JWT_SECRET, SETTINGS, MakeWorld, World
from tests.unit.http.operator.conftest import ANN, Desk

from billing_app.http.operations.problems import Problem
from billing_app.http.operator.calling import OperatorRoute
from billing_app.http.operator.routes import BASE, ROUTES
from billing_app.http.operator.services import Admission
from billing_app.settings import ServerSettings
from billing_core.errors import StoreUnavailableError
from billing_core.stream_access.ports import Revocation
from billing_core.testing.builders import ACME


def path_of(route: OperatorRoute) -> str:
    """Return the path of a route with some id in it."""
    return re.sub(r"{\w+}", "evt_1", route.path).removeprefix(BASE)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
class TestEveryRoute:
    """The same door for all."""

    async def test_a_token_of_a_tenant_opens_nothing(self, desk: Desk, route: OperatorRoute) -> None:
        """Neither an owner's, nor one that has an operator's role for one tenant."""
        for role, code in (("owner", "forbidden_role"), ("operator", "tenant_token")):
            token = desk.world.token(ACME, role=role)
            status, problem = await desk.send(route.method, path_of(route), token=token)
            assert (status, problem["code"]) == (403, code)
            assert desk.headers["Content-Type"] == "application/problem+json"

    async def test_a_token_is_needed(self, desk: Desk, route: OperatorRoute) -> None:
        """Without one, or with an expired one, the answer says how to authenticate."""
        for token in ("", "forged", desk.token(ttl=timedelta(seconds=-1))):
            status, problem = await desk.send(route.method, path_of(route), token=token)
            assert (status, problem["code"]) == (401, "unauthorized")
            assert "WWW-Authenticate" in desk.headers

    async def test_the_audit_log_needs_a_name(self, desk: Desk, route: OperatorRoute) -> None:
        """A token without a subject is refused."""
        status, problem = await desk.send(route.method, path_of(route), token=desk.token(subject=""))
        assert (status, problem["code"]) == (403, "subject_missing")

    async def test_unknown_parameters_are_refused(self, desk: Desk, route: OperatorRoute) -> None:
        """A misspelled filter would select everything."""
        status, problem = await desk.send(route.method, f"{path_of(route)}?statuss=dead")
        assert (status, problem["code"]) == (400, "bad_parameter")
        assert "statuss" in problem["detail"]


async def test_without_an_operators_role_there_is_no_such_api(world: World, http: aiohttp.ClientSession) -> None:
    """The setting is empty by default, and the answer names it."""
    status, problem = await Desk(world, http).send("GET", "/session")
    assert (status, problem["code"]) == (404, "operator_disabled")
    assert "BILLING_JWT_OPERATOR_ROLES" in problem["detail"]


async def test_the_session_names_the_operator(desk: Desk) -> None:
    """As the audit log will."""
    session = await desk.get("/session")
    assert (session["subject"], session["role"], session["livemode"]) == (ANN, "operator", None)


async def test_a_revoked_token_is_refused(desk: Desk) -> None:
    """By its id."""
    token = desk.token()
    claims = await desk.world.container.token_verifier().read(token)
    now = desk.world.clock.now()
    revocation = Revocation(subject="token", name=claims["jti"], revoked_at=now, kept_until=now + timedelta(hours=1))
    await desk.world.container.revocations().revoke(revocation)
    await desk.world.container.revoked().load()
    status, problem = await desk.send("GET", "/session", token=token)
    assert (status, problem["detail"]) == (401, "The token was revoked.")


async def test_a_token_that_could_not_be_revoked_is_refused(
    make_world: MakeWorld, http: aiohttp.ClientSession, desk: Desk
) -> None:
    """One without an id, unless the settings allow it: an identity provider may issue no other."""
    claims = dict(await desk.world.container.token_verifier().read(desk.token()))
    del claims["jti"]
    token = jwt.encode(claims, JWT_SECRET.reveal(), algorithm="HS256")
    status, problem = await desk.send("GET", "/session", token=token)
    assert status == 401
    assert "jti" in problem["detail"]
    assert "BILLING_JWT_OPERATOR_ID_REQUIRED" in problem["detail"]
    allowed = attrs.evolve(SETTINGS.tokens, operator_roles=("operator",), operator_id_required=False)
    world = make_world(tokens=allowed)
    async with world.serving():
        status, _ = await Desk(world, http).send("GET", "/session", token=token)
    assert status == 200


async def test_pages_of_other_origins_may_not_call_it(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """The origins that may show tenants their billing may not operate."""
    origin = "https://app.example"
    world = make_world(
        server=ServerSettings(cors_origins=(origin,)),
        tokens=attrs.evolve(SETTINGS.tokens, operator_roles=("operator",)),
    )
    async with world.serving():
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        for path in (f"{BASE}/events", f"/api/v1/billing/tenants/{ACME}/state"):
            async with http.options(world.url + path, headers=asked) as answer:
                allowed = "Access-Control-Allow-Origin" in answer.headers
                assert (answer.status, allowed) == ((405, False) if path.startswith(BASE) else (204, True))


async def test_an_unavailable_store_is_said_to_be_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time to wait."""

    async def fail(*_args: object, **_kwargs: object) -> None:
        raise StoreUnavailableError("password=hunter2")

    monkeypatch.setattr(desk.world.container.event_log(), "find", fail)
    status, problem = await desk.send("GET", "/events")
    assert (status, problem["code"]) == (503, "store_unavailable")
    assert "hunter2" not in str(problem)
    assert desk.headers["Retry-After"] == "2"


async def test_few_requests_are_worked_on_at_a_time() -> None:
    """Their searches share the connections of streams: another one waits, and is then asked to come back."""
    admission = Admission(at_once=1, patience=0.01)
    async with admission.admitted():
        with pytest.raises(Problem, match="busy"):
            async with admission.admitted():
                pass
    async with admission.admitted():
        pass
