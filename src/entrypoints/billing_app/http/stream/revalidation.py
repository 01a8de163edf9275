"""Ends open streams whose proof does not hold any more."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import structlog

from billing_app.http.auth import TenantAuthenticator
from billing_core.stream_access.ports import Principal

log = structlog.get_logger()

_AT_ONCE: Final = 32
_PATIENCE: Final = 5.0
"""Seconds that one answer may take."""

End = Callable[[str], None]


class Revalidator:
    """Asks the authenticator about everybody who has a stream open, time and again."""

    def __init__(self, authenticator: TenantAuthenticator, *, every: timedelta) -> None:
        self._authenticator = authenticator
        self._pause = every.total_seconds()
        self._open: dict[Principal, set[End]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @contextlib.contextmanager
    def watching(self, principal: Principal, end: End) -> Iterator[None]:
        """Inside the block `end` is called, with the reason, once the principal's proof does not hold any more."""
        ends = self._open.setdefault(principal, set())
        ends.add(end)
        try:
            yield
        finally:
            ends.remove(end)
            if not ends:
                self._open.pop(principal, None)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(self._pause)
            async with asyncio.TaskGroup() as tasks:
                for principal in tuple(self._open):
                    tasks.create_task(self._check(principal))

    async def _check(self, principal: Principal) -> None:
        async with self._slots:
            try:
                async with asyncio.timeout(_PATIENCE):
                    valid = await self._authenticator.still_valid(principal)
            except Exception as exc:  # a host application's own may fail in any way
                log.warning("stream.recheck_failed", tenant_id=principal.tenant_id, error=type(exc).__name__)
                return
        if not valid:
            for end in tuple(self._open.get(principal, ())):
                end("revoked")
