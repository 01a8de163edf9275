"""Fetch and cache the public keys of a token issuer."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import aiohttp
import structlog

from billing_app.http.jwks import KeySetError, PublishedKey, read_key_set
from billing_app.http.responses import RefusalError
from billing_app.http.tokens import VerificationKey

log = structlog.get_logger()

_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_MAX_BYTES: Final = 256 * 1024
_COOL_DOWN: Final = timedelta(seconds=10)


class IssuerKeys:
    """A `PublishedKeys` that fetches seldom, and never makes a request wait for keys that it already has.

    Keys are fetched for the first token, again in the background after `refresh`, and when a token names an unknown
    key. There is one fetch at a time and a cool-down after each, so that made-up key names cannot make us flood the
    issuer. While the issuer is unavailable, its last keys stay valid.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, refresh: timedelta, cool_down: timedelta = _COOL_DOWN
    ) -> None:
        self._session = session
        self._url = url
        self._refresh = refresh.total_seconds()
        self._cool_down = cool_down.total_seconds()
        self._keys: Sequence[PublishedKey] | None = None
        self._fetched_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._available = True

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, refresh: timedelta) -> "AsyncIterator[IssuerKeys]":
        """Yield the keys published at `url`, with an HTTP session of their own."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session:
            keys = cls(session, url, refresh=refresh)
            try:
                yield keys
            finally:
                await keys.close()

    async def close(self) -> None:
        """Cancel a fetch in progress."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """See PublishedKeys. A token without a `kid` is accepted if exactly one key has its algorithm."""
        if self._keys is None:
            await self._fetch_unless_recent()
        elif self._age() > self._refresh:
            self._start_fetch()
        found = self._lookup(key_id, algorithm)
        if found is None and key_id is not None:
            await self._fetch_unless_recent()
            found = self._lookup(key_id, algorithm)
        if self._keys is None:
            message = "The token issuer's keys are unavailable. Try again in a moment."
            raise RefusalError(503, "issuer_unavailable", message, {"Retry-After": "5"})
        return found

    def _lookup(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        fitting = [each for each in self._keys or () if each.key.algorithm == algorithm]
        if key_id is not None:
            fitting = [each for each in fitting if each.id == key_id]
        return fitting[0].key if len(fitting) == 1 else None

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    async def _fetch_unless_recent(self) -> None:
        """Wait for a fetch to end, successful or not; do nothing within the cool-down."""
        if self._fetching is not None or self._age() > self._cool_down:
            # Shielded: a client that leaves must not cancel the fetch for all others.
            await asyncio.shield(self._start_fetch())

    def _start_fetch(self) -> "asyncio.Task[None]":
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="issuer-keys")
            self._fetching.add_done_callback(self._fetch_ended)
        return self._fetching

    def _fetch_ended(self, _task: "asyncio.Task[None]") -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        try:
            await self.load()
        except (aiohttp.ClientError, TimeoutError, OSError, KeySetError) as exc:
            if self._available:
                error = str(exc) if isinstance(exc, KeySetError) else type(exc).__name__
                log.warning("issuer_keys.unavailable", error=error, known=len(self._keys or ()))
            self._available = False
        else:
            if not self._available:
                log.info("issuer_keys.recovered", known=len(self._keys or ()))
            self._available = True
        finally:
            self._fetched_at = time.monotonic()

    async def load(self) -> None:
        """Fetch the keys now. Raises: KeySetError, aiohttp.ClientError, TimeoutError, OSError."""
        self._keys = read_key_set(await self._download())

    async def _download(self) -> bytes:
        # A redirect is not followed: it could leave https, or lead to a new owner of an old domain.
        async with self._session.get(
            self._url, allow_redirects=False, headers={"Accept": "application/json"}
        ) as answer:
            if answer.status != 200:
                raise KeySetError(f"the issuer answered {answer.status}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise KeySetError(f"the issuer's answer is larger than {_MAX_BYTES} bytes")
            return bytes(body)
