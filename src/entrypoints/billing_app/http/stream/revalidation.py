"""End open streams whose token or session is no longer valid."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import structlog

from billing_app.http.auth import TenantAuthenticator
from billing_core.stream_access.ports import Principal

log = structlog.get_logger()

_CONCURRENT_CHECKS: Final = 32
_CHECK_SECONDS: Final = 5.0
"""Longest time that one check may take."""

End = Callable[[str], None]


class Revalidator:
    """A loop that asks the authenticator, at intervals, about every principal with an open stream."""

    def __init__(self, authenticator: TenantAuthenticator, *, every: timedelta) -> None:
        self._authenticator = authenticator
        self._pause = every.total_seconds()
        self._open: dict[Principal, set[End]] = {}
        self._slots = asyncio.Semaphore(_CONCURRENT_CHECKS)

    @contextlib.contextmanager
    def revalidating(self, principal: Principal, end: End) -> Iterator[None]:
        """Inside the block, call `end` with the reason as soon as the principal is no longer valid."""
        ends = self._open.setdefault(principal, set())
        ends.add(end)
        try:
            yield
        finally:
            ends.remove(end)
            if not ends:
                self._open.pop(principal, None)

    async def run(self) -> None:
        """Check all principals at every interval, until cancelled."""
        while True:
            await asyncio.sleep(self._pause)
            async with asyncio.TaskGroup() as tasks:
                for principal in tuple(self._open):
                    tasks.create_task(self._check(principal))

    async def _check(self, principal: Principal) -> None:
        async with self._slots:
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    valid = await self._authenticator.still_valid(principal)
            except Exception as exc:  # a host application's authenticator may fail in any way
                log.warning("stream.revalidation_failed", tenant_id=principal.tenant_id, error=type(exc).__name__)
                return
        if not valid:
            for end in tuple(self._open.get(principal, ())):
                end("revoked")
