"""Bearer tokens: which are accepted, which are refused, and which tenant's data they open."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import pytest
from click.testing import CliRunner

from billing_app.cli.token import token as token_command
from billing_app.errors import OperatorError
from billing_app.settings import Secret
from billing_core.model import TenantId

if TYPE_CHECKING:
    from tests.unit.http.conftest import World

STATE = "/api/v1/billing/tenants/acme/state"
KEY = "j" * 32
FOREIGN = Secret("x" * 32)


def claims(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": "billing-core",
        "aud": "billing",
        "exp": datetime.now(UTC) + timedelta(hours=1),
        "tenant_id": "acme",
        "role": "viewer",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def unsigned(header: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, {"a": 1})]
    return ".".join([*parts, ""])


PAST = datetime.now(UTC) - timedelta(minutes=1)
REFUSED_TOKENS = {
    "no token": "",
    "garbage": "garbage",
    "dots": "..",
    "not ascii": "é.é.é",
    "deep header": base64.urlsafe_b64encode(b"[" * 4000).decode() + ".e30.e30",
    "no algorithm": jwt.encode(claims(), None, algorithm="none"),
    "unknown algorithm": unsigned({"alg": "HS257", "typ": "JWT"}),
    "another algorithm": jwt.encode(claims(), KEY * 2, algorithm="HS512"),
    "foreign key": jwt.encode(claims(), FOREIGN.reveal(), algorithm="HS256"),
    "expired": jwt.encode(claims(exp=PAST), KEY, algorithm="HS256"),
    "without expiry": jwt.encode(claims(exp=None), KEY, algorithm="HS256"),
    "without tenant": jwt.encode(claims(tenant_id=None), KEY, algorithm="HS256"),
    "empty tenant": jwt.encode(claims(tenant_id=""), KEY, algorithm="HS256"),
    "tenant that is not a string": jwt.encode(claims(tenant_id=["acme"]), KEY, algorithm="HS256"),
    "endless tenant": jwt.encode(claims(tenant_id="a" * 256), KEY, algorithm="HS256"),
    "other audience": jwt.encode(claims(aud="shop"), KEY, algorithm="HS256"),
    "without audience": jwt.encode(claims(aud=None), KEY, algorithm="HS256"),
    "other issuer": jwt.encode(claims(iss="another-issuer"), KEY, algorithm="HS256"),
    "not yet valid": jwt.encode(claims(nbf=datetime.now(UTC) + timedelta(hours=1)), KEY, algorithm="HS256"),
}


@pytest.mark.parametrize("name", REFUSED_TOKENS)
async def test_an_invalid_token_is_refused(world: World, http: aiohttp.ClientSession, name: str) -> None:
    """401 with a challenge on every route that needs a tenant."""
    for path in (STATE, "/api/v1/billing/stream"):
        headers = {"Authorization": f"Bearer {REFUSED_TOKENS[name]}"}
        async with http.get(world.url + path, headers=headers) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert (await answer.json())["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer "])
async def test_anything_but_a_bearer_token_is_refused(
    world: World, http: aiohttp.ClientSession, header: str | None
) -> None:
    """401; a token in the URL is ignored."""
    headers = {} if header is None else {"Authorization": header}
    async with http.get(f"{world.url}{STATE}?token={world.token()}", headers=headers) as answer:
        assert answer.status == 401


async def test_tokens_of_the_old_key_are_valid_during_a_rotation(world: World, http: aiohttp.ClientSession) -> None:
    """All configured secrets verify; an `exp` beyond the range of dates is accepted."""
    for key, expiry in ((KEY, None), ("o" * 32, None), (KEY, 10**15), (KEY, 4102444800)):
        payload = claims() if expiry is None else claims(exp=expiry)
        headers = {"Authorization": f"bearer {jwt.encode(payload, key, algorithm='HS256')}"}
        async with http.get(world.url + STATE, headers=headers) as answer:
            assert answer.status == 200


async def test_an_issuer_whose_clock_is_ahead_is_accepted(world: World, http: aiohttp.ClientSession) -> None:
    """`iat` decides nothing."""
    headers = world.bearer(now=datetime.now(UTC) + timedelta(seconds=30))
    async with http.get(world.url + STATE, headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("role", ["owner", "admin", "viewer"])
async def test_reader_roles_may_read(world: World, http: aiohttp.ClientSession, role: str) -> None:
    """The API only reads, so each of these roles may use it."""
    async with http.get(world.url + STATE, headers=world.bearer(role=role)) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("role", ["", "guest", 7, ["viewer"], {"a": 1}])
async def test_other_roles_may_not(world: World, http: aiohttp.ClientSession, role: Any) -> None:
    """403: the token is valid, but its role may not read."""
    async with http.get(world.url + STATE, headers=world.bearer(role=role)) as answer:
        assert answer.status == 403
        error = (await answer.json())["error"]
        assert error["code"] == "forbidden_role"
        assert "BILLING_JWT_READER_ROLES" in error["message"] or "BILLING_JWT_ROLE_CLAIM" in error["message"]


@pytest.mark.parametrize("path", ["state", "subscriptions", "invoices", "usage", "events"])
async def test_another_tenants_data_is_refused(world: World, http: aiohttp.ClientSession, path: str) -> None:
    """403 whether that tenant exists or not, so that a client cannot find out which do."""
    await world.commit(TenantId("globex"), 3)
    for tenant in ("globex", "unknown", "ACME", "acme%20", "acme%00"):
        url = f"{world.url}/api/v1/billing/tenants/{tenant}/{path}"
        async with http.get(url, headers=world.bearer()) as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["code"] == "wrong_tenant"


async def test_a_tenant_header_can_only_confirm(world: World, http: aiohttp.ClientSession) -> None:
    """X-Tenant-Id never selects the tenant; a different one is refused."""
    for tenant, status in (("acme", 200), ("globex", 403), ("", 403)):
        async with http.get(world.url + STATE, headers={**world.bearer(), "X-Tenant-Id": tenant}) as answer:
            assert answer.status == status
    async with http.get(
        world.url + "/api/v1/billing/stream", headers={**world.bearer(), "X-Tenant-Id": "globex"}
    ) as answer:
        assert answer.status == 403


class TestTokenCommand:
    """`billing token`."""

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("BILLING_JWT_SECRET", f"{KEY},{'o' * 32}")

    async def test_it_prints_a_token_that_the_server_accepts(self, world: World, http: aiohttp.ClientSession) -> None:
        """One line on standard output, signed with the first secret, valid as long as requested."""
        result = CliRunner().invoke(token_command, ["--tenant", "acme", "--ttl", "90s", "--role", "owner"])
        assert result.exit_code == 0
        decoded = jwt.decode(result.stdout.strip(), KEY, algorithms=["HS256"], audience="billing")
        assert decoded["tenant_id"] == "acme"
        assert decoded["role"] == "owner"
        assert decoded["exp"] - decoded["iat"] == 90
        headers = {"Authorization": f"Bearer {result.stdout.strip()}"}
        async with http.get(world.url + STATE, headers=headers) as answer:
            assert answer.status == 200

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["--tenant", ""],
            ["--tenant", " acme"],
            ["--tenant", "acme", "--role", "root"],
            ["--tenant", "acme", "--ttl", "0s"],
            ["--tenant", "acme", "--ttl", "31d"],
            ["--tenant", "acme", "--ttl", "soon"],
            ["--tenant", "acme", "--operator", "ann"],
            ["--operator", "", "--role", "operator"],
            ["--operator", "ann", "--role", "operator"],
            ["--operator", "ann", "--role", "owner"],
        ],
    )
    def test_wrong_usage_prints_no_token(self, arguments: list[str]) -> None:
        """Exit status 2 and a message."""
        result = CliRunner().invoke(token_command, arguments)
        assert result.exit_code == 2
        assert result.stdout == ""

    def test_an_operators_token_names_the_person_and_no_tenant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With one of the roles that may operate."""
        monkeypatch.setenv("BILLING_JWT_OPERATOR_ROLES", "operator")
        result = CliRunner().invoke(token_command, ["--operator", "ann", "--role", "operator", "--json"])
        assert result.exit_code == 0
        shown = json.loads(result.stdout)
        decoded = jwt.decode(shown["token"], KEY, algorithms=["HS256"], audience="billing")
        assert (shown["operator"], decoded["sub"], decoded["role"]) == ("ann", "ann", "operator")
        assert "tenant_id" not in decoded

    def test_without_a_secret_it_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message names the setting."""
        monkeypatch.delenv("BILLING_JWT_SECRET")
        with pytest.raises(OperatorError, match="BILLING_JWT_SECRET"):
            CliRunner().invoke(token_command, ["--tenant", "acme"], catch_exceptions=False)
