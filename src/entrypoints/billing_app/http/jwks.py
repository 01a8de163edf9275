"""The public keys of a token issuer, as a JSON Web Key Set (RFC 7517) that it serves."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
import attrs
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from billing_app.http.responses import RefusalError
from billing_app.http.tokens import VerificationKey

log = structlog.get_logger()

_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_LARGEST: Final = 256 * 1024
_MOST_KEYS: Final = 100
_SMALLEST_RSA_BITS: Final = 2048
_COOL_DOWN: Final = timedelta(seconds=10)


class KeySetError(Exception):
    """The issuer gave no usable key set; the text says why and holds nothing of the answer."""


@attrs.frozen
class PublishedKey:
    """A key and the name that its issuer gave it."""

    id: str | None
    key: VerificationKey


class IssuerKeys:
    """A `PublishedKeys` that asks the issuer seldom, and never makes a request wait for keys that it has.

    The keys are asked for when the first token comes, again by the first token after `refresh`, beside which the old
    ones hold, and when a token names a key that is not known. Whatever the reason, one question is on its way at a
    time, and after each there is a cool-down: made-up names of keys cannot turn us against the issuer. While it is away
    its last keys hold.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, refresh: timedelta, cool_down: timedelta = _COOL_DOWN
    ) -> None:
        self._session = session
        self._url = url
        self._refresh = refresh.total_seconds()
        self._cool_down = cool_down.total_seconds()
        self._known: Sequence[PublishedKey] | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._answers = True

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, refresh: timedelta) -> "AsyncIterator[IssuerKeys]":
        """Keys that are asked for at `url` from now on."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session:
            keys = cls(session, url, refresh=refresh)
            try:
                yield keys
            finally:
                await keys.close()

    async def close(self) -> None:
        """Ask for nothing any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """See PublishedKeys. A token need not name its key where there is only one for its algorithm."""
        if self._known is None:
            await self._ask()
        elif self._age() > self._refresh:
            self._begin_asking()
        found = self._lookup(key_id, algorithm)
        if found is None and key_id is not None:
            await self._ask()
            found = self._lookup(key_id, algorithm)
        if self._known is None:
            message = "The keys of the token's issuer cannot be had. Try again in a moment."
            raise RefusalError(503, "issuer_unavailable", message, {"Retry-After": "5"})
        return found

    def _lookup(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        fitting = [each for each in self._known or () if each.key.algorithm == algorithm]
        if key_id is not None:
            fitting = [each for each in fitting if each.id == key_id]
        return fitting[0].key if len(fitting) == 1 else None

    def _age(self) -> float:
        return time.monotonic() - self._asked_at

    async def _ask(self) -> None:
        """Wait for an answer, good or bad; for none where one came just now."""
        if self._asking is not None or self._age() > self._cool_down:
            # Shielded: a client that leaves must not take the answer from all others.
            await asyncio.shield(self._begin_asking())

    def _begin_asking(self) -> "asyncio.Task[None]":
        if self._asking is None:
            self._asking = asyncio.create_task(self._fetch(), name="issuer-keys")
            self._asking.add_done_callback(self._asked)
        return self._asking

    def _asked(self, _task: "asyncio.Task[None]") -> None:
        self._asking = None

    async def _fetch(self) -> None:
        try:
            self._known = read_key_set(await self._download())
        except (aiohttp.ClientError, TimeoutError, OSError, KeySetError) as exc:
            if self._answers:
                why = str(exc) if isinstance(exc, KeySetError) else type(exc).__name__
                log.warning("issuer_keys.lost", error=why, known=len(self._known or ()))
            self._answers = False
        else:
            if not self._answers:
                log.info("issuer_keys.found", known=len(self._known))
            self._answers = True
        finally:
            self._asked_at = time.monotonic()

    async def _download(self) -> bytes:
        # A redirect is not followed: it could lead out of https, or to whoever took over an old name.
        async with self._session.get(
            self._url, allow_redirects=False, headers={"Accept": "application/json"}
        ) as answer:
            if answer.status != 200:
                raise KeySetError(f"the issuer answered {answer.status}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > _LARGEST:
                    raise KeySetError(f"the issuer's answer is larger than {_LARGEST} bytes")
            return bytes(body)


def read_key_set(body: bytes) -> Sequence[PublishedKey]:
    """The keys that can verify a signature of ours; others are left out. Raises KeySetError where there is none."""
    try:
        listed = json.loads(body)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError("the issuer's answer is no key set") from None
    keys = list(_usable(listed[:_MOST_KEYS])) if isinstance(listed, list) else []
    if not keys:
        raise KeySetError("the issuer's key set holds no RS256 or ES256 key for signatures")
    return keys


def _usable(listed: Iterable[Any]) -> Iterable[PublishedKey]:
    for each in listed:
        key = _verification_key(each) if isinstance(each, dict) else None
        if key is not None:
            key_id = each.get("kid")
            yield PublishedKey(key_id if isinstance(key_id, str) else None, key)


def _verification_key(described: dict[str, Any]) -> VerificationKey | None:
    """A key with the algorithm that its type allows; nothing of what is secret, weak or meant for something else."""
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(described.get("kty")))
    operations = described.get("key_ops", ["verify"])
    meant_for_us = (
        described.get("alg", algorithm) == algorithm
        and described.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )
    if algorithm is None or not meant_for_us:
        return None
    try:
        material = jwt.PyJWK(described, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    # A private key comes out as another type.
    rsa = isinstance(material, RSAPublicKey) and material.key_size >= _SMALLEST_RSA_BITS
    ec = isinstance(material, EllipticCurvePublicKey) and isinstance(material.curve, SECP256R1)
    return VerificationKey(algorithm, material) if rsa or ec else None
