"""Keys that an issuer publishes: which are used, when they are fetched, and what a token cannot change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from billing_app.http.issuer_keys import IssuerKeys
from billing_app.http.jwks import KeySetError, read_key_set
from billing_app.http.responses import RefusalError

if TYPE_CHECKING:
    from tests.unit.http.conftest import MakeWorld, World

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_CURVE = ec.generate_private_key(ec.SECP384R1())
STATE = "/api/v1/billing/tenants/acme/state"


def described(key: Any, kid: str | None, **changes: Any) -> dict[str, Any]:
    """Return a public key as an issuer publishes it."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    made: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, **({} if kid is None else {"kid": kid}), **changes}


def signed(key: Any, algorithm: str, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """Sign a token as the issuer does."""
    claims = {"iss": "billing-core", "aud": "billing", "exp": datetime.now(UTC) + timedelta(hours=1)}
    return jwt.encode({**claims, "tenant_id": "acme", **changes}, key, algorithm=algorithm, headers=headers)


@attrs.define
class Issuer:
    """A server of key sets that counts requests."""

    url: str = ""
    requests: int = 0
    answer: Callable[[], Awaitable[web.Response]] | None = None

    def publish(self, *keys: dict[str, Any]) -> None:
        self.respond(json.dumps({"keys": list(keys)}))

    def respond(self, body: str, status: int = 200, **headers: str) -> None:
        async def answer() -> web.Response:
            return web.Response(text=body, status=status, headers=headers)

        self.answer = answer

    async def serve(self, _request: web.Request) -> web.Response:
        self.requests += 1
        assert self.answer is not None
        return await self.answer()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer that publishes an RSA and an EC key."""
    made = Issuer()
    made.publish(described(RSA_KEY, "r1"), described(EC_KEY, "e1"))
    app = web.Application()
    app.router.add_get("/jwks", made.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield made
    await runner.cleanup()


@pytest.fixture
async def keys(issuer: Issuer, http: aiohttp.ClientSession) -> AsyncIterator[IssuerKeys]:
    """Keys that are refreshed after an hour, and fetched at most every 10 ms."""
    made = IssuerKeys(http, issuer.url, refresh=timedelta(hours=1), cool_down=timedelta(milliseconds=10))
    yield made
    await made.close()


@pytest.fixture
async def world(make_world: MakeWorld, keys: IssuerKeys) -> AsyncIterator[World]:
    """A server that accepts the issuer's tokens beside those signed with our secrets."""
    made = make_world()
    made.replace(issuer_keys=keys)
    async with made.serving():
        yield made


class TestTokens:
    """Tokens signed by the issuer."""

    @pytest.mark.parametrize(
        ("key", "algorithm", "header", "claims", "status"),
        [
            (RSA_KEY, "RS256", {"kid": "r1"}, {}, 200),
            (EC_KEY, "ES256", {"kid": "e1"}, {}, 200),
            (RSA_KEY, "RS256", {}, {}, 200),  # there is only one RSA key
            (OTHER_RSA_KEY, "RS256", {"kid": "r1"}, {}, 401),
            (RSA_KEY, "RS256", {"kid": "e1"}, {}, 401),
            (RSA_KEY, "RS512", {"kid": "r1"}, {}, 401),
            (RSA_KEY, "PS256", {"kid": "r1"}, {}, 401),
            (RSA_KEY, "RS256", {"kid": "r1"}, {"aud": "shop"}, 401),
            (RSA_KEY, "RS256", {"kid": "r1"}, {"iss": "another-issuer"}, 401),
            (RSA_KEY, "RS256", {"kid": "r1"}, {"exp": datetime(2026, 1, 1, tzinfo=UTC)}, 401),
            (RSA_KEY, "RS256", {"kid": "r1"}, {"nbf": datetime(2100, 1, 1, tzinfo=UTC)}, 401),
            # A key inside the token and a URL that it names are both ignored.
            (OTHER_RSA_KEY, "RS256", {"kid": "x", "jwk": described(OTHER_RSA_KEY, "x")}, {}, 401),
            (OTHER_RSA_KEY, "RS256", {"kid": "x", "jku": "http://127.0.0.1:1/jwks"}, {}, 401),
            (OTHER_RSA_KEY, "RS256", {"kid": "http://127.0.0.1:1/jwks"}, {}, 401),
            (OTHER_RSA_KEY, "RS256", {"kid": "../../../etc/passwd", "x5u": "http://127.0.0.1:1"}, {}, 401),
        ],
    )
    async def test_a_token_is_accepted_if_its_key_is_published(
        self,
        world: World,
        http: aiohttp.ClientSession,
        key: Any,
        algorithm: str,
        header: dict[str, Any],
        claims: dict[str, Any],
        status: int,
    ) -> None:
        """Only with that key's algorithm."""
        token = signed(key, algorithm, header, **claims)
        async with http.get(world.url + STATE, headers={"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == status

    async def test_tokens_of_our_own_secrets_are_accepted_too(self, world: World, http: aiohttp.ClientSession) -> None:
        """The issuer's keys are not needed for them."""
        async with http.get(world.url + STATE, headers=world.bearer()) as answer:
            assert answer.status == 200

    async def test_a_public_key_is_not_accepted_as_a_shared_secret(
        self, world: World, http: aiohttp.ClientSession
    ) -> None:
        """It is public, so it must not verify a token that was signed with it as a secret."""
        for encoding in (Encoding.PEM, Encoding.DER):
            known = RSA_KEY.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
            header, body = (
                jwt.utils.base64url_encode(json.dumps(part).encode())
                for part in (
                    {"alg": "HS256", "kid": "r1"},
                    {"iss": "billing-core", "aud": "billing", "exp": 4102444800, "tenant_id": "acme"},
                )
            )
            signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
                header + b"." + body, known
            )
            token = b".".join((header, body, jwt.utils.base64url_encode(signature))).decode()
            async with http.get(world.url + STATE, headers={"Authorization": f"Bearer {token}"}) as answer:
                assert answer.status == 401

    async def test_without_any_key_a_token_is_answered_503_instead_of_401(
        self, world: World, issuer: Issuer, http: aiohttp.ClientSession
    ) -> None:
        """With Retry-After; tokens that do not need the issuer still work."""
        issuer.respond("{}", status=500)
        headers = {"Authorization": f"Bearer {signed(RSA_KEY, 'RS256', {'kid': 'r1'})}"}
        async with http.get(world.url + STATE, headers=headers) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "5"
            assert (await answer.json())["error"]["code"] == "issuer_unavailable"
        async with http.get(world.url + STATE, headers=world.bearer()) as answer:
            assert answer.status == 200


class TestFetching:
    """How often keys are fetched."""

    async def test_many_first_tokens_cause_one_fetch(self, keys: IssuerKeys, issuer: Issuer) -> None:
        """All wait for the same response."""
        found = await asyncio.gather(*(keys.find("r1", "RS256") for _ in range(50)))
        assert all(each is not None for each in found)
        assert issuer.requests == 1

    async def test_a_client_that_leaves_does_not_cancel_the_fetch(self, keys: IssuerKeys, issuer: Issuer) -> None:
        """Other clients still get the keys."""
        leaving = asyncio.create_task(keys.find("r1", "RS256"))
        await asyncio.sleep(0)
        staying = asyncio.create_task(keys.find("r1", "RS256"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying is not None
        assert issuer.requests == 1

    async def test_an_unknown_key_is_fetched_at_once(self, keys: IssuerKeys, issuer: Issuer) -> None:
        """So the first token of a new key works after a rotation."""
        assert await keys.find("r1", "RS256") is not None
        issuer.publish(described(OTHER_RSA_KEY, "r2"))
        await asyncio.sleep(0.02)
        assert await keys.find("r2", "RS256") is not None
        assert await keys.find("r1", "RS256") is None

    async def test_made_up_key_names_do_not_flood_the_issuer(self, issuer: Issuer, http: aiohttp.ClientSession) -> None:
        """There is a cool-down after each fetch."""
        keys = IssuerKeys(http, issuer.url, refresh=timedelta(hours=1), cool_down=timedelta(hours=1))
        for number in range(200):
            assert await keys.find(f"made-up-{number}", "RS256") is None
        assert issuer.requests == 1
        await keys.close()

    async def test_old_keys_stay_valid_during_a_refresh(self, issuer: Issuer, http: aiohttp.ClientSession) -> None:
        """No request waits for keys that it does not need, and an unavailable issuer changes nothing."""
        keys = IssuerKeys(http, issuer.url, refresh=timedelta(0), cool_down=timedelta(0))
        assert await keys.find("r1", "RS256") is not None
        released = asyncio.Event()

        async def answer() -> web.Response:
            await released.wait()
            return web.Response(status=502)

        issuer.answer = answer
        for _ in range(20):
            assert await keys.find("r1", "RS256") is not None
            await asyncio.sleep(0.001)
        assert issuer.requests == 2
        released.set()
        while issuer.requests == 2:
            assert await keys.find("r1", "RS256") is not None
            await asyncio.sleep(0.001)
        await keys.close()

    @pytest.mark.parametrize(
        "answer",
        [
            {"body": "{}", "status": 404},
            {"body": "{}"},
            {"body": "[]"},
            {"body": "nonsense"},
            {"body": '{"keys": 7}'},
            {"body": '{"keys": []}'},
            {"body": "[" * 100_000},
            {"body": '{"keys": [' + '{"kty": "RSA"},' * 30_000 + "{}]}"},
            {"body": "", "status": 302, "Location": "https://elsewhere.example/jwks"},
        ],
    )
    async def test_a_response_that_is_not_a_key_set_is_ignored(
        self, keys: IssuerKeys, issuer: Issuer, answer: dict[str, Any]
    ) -> None:
        """The next valid one is used."""
        good, issuer.answer = issuer.answer, None
        issuer.respond(answer.pop("body"), **answer)
        with pytest.raises(RefusalError) as refused:
            await keys.find("r1", "RS256")
        assert refused.value.status == 503
        issuer.answer = good
        await asyncio.sleep(0.02)
        assert await keys.find("r1", "RS256") is not None


class TestKeySet:
    """The published keys that can verify tokens."""

    @pytest.mark.parametrize(
        "left_out",
        [
            7,
            {},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "r1"},
            {"kty": "RSA", "n": "AQAB", "e": "", "kid": "r1"},
            {"kty": "RSA", "n": 7, "e": None, "kid": "r1"},
            {"kty": ["RSA"], "kid": "r1"},
            described(SMALL_RSA_KEY, "r1"),
            described(OTHER_CURVE, "e1"),
            described(RSA_KEY, "r1", use="enc"),
            described(RSA_KEY, "r1", alg="RS512"),
            described(RSA_KEY, "r1", key_ops=["encrypt"]),
            described(RSA_KEY, "r1", key_ops="verify"),
            RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True),
        ],
    )
    def test_secret_weak_and_unsuitable_keys_are_left_out(self, left_out: Any) -> None:
        """Alone they are refused as a key set; beside a valid key they are ignored."""
        with pytest.raises(KeySetError):
            read_key_set(json.dumps({"keys": [left_out]}).encode())
        good = described(EC_KEY, "e2", use="sig", alg="ES256", key_ops=["verify"])
        assert [each.id for each in read_key_set(json.dumps({"keys": [left_out, good]}).encode())] == ["e2"]
