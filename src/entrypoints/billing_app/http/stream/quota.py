"""Admit a tenant's streams within its quota, and hold a lease of the quota for each while it is open."""

import asyncio
import contextlib
import math
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager

import structlog

from billing_app.http.ports import StreamMetrics
from billing_app.http.responses import ErrorCode, RefusalError
from billing_core.errors import EventBusUnavailableError
from billing_core.model import TenantId
from billing_core.stream_access.ports import QuotaPolicy, QuotaRefusal, StreamQuota

log = structlog.get_logger()

_MESSAGES = {
    "rate": "This tenant opens streams too often. Open one stream and keep it open.",
    "concurrent": "This tenant has reached its limit of open streams. Close one, or share one stream between tabs. "
    "The places of a server that ended are free after a few seconds.",
}


class StreamLeases:
    """The leases that the open streams of this process hold of their tenants' quotas.

    While the quota is unavailable every stream is admitted, and counted once the quota answers again: a limit protects
    us from one tenant, and must not shut out all of them.
    """

    def __init__(
        self,
        quota: StreamQuota,
        metrics: StreamMetrics,
        *,
        policy: QuotaPolicy,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Renew leases, and show that this server is alive, three times as often as needed."""
        self._quota = quota
        self._sleep = sleep
        self._metrics = metrics
        self._pause = policy.lease.total_seconds() / 3
        self._beat_pause = policy.life.total_seconds() / 3
        self._held: dict[TenantId, set[str]] = {}
        self._ended: dict[TenantId, set[str]] = {}
        self._any_ended = asyncio.Event()
        self._available = True

    async def acquire(self, tenant_id: TenantId) -> AbstractContextManager[None]:
        """Admit a stream; its lease is held until the returned block is left. Raises RefusalError (429)."""
        lease = secrets.token_hex(8)
        refusal = None
        try:
            refusal = await self._quota.enter(tenant_id, lease)
        except EventBusUnavailableError as exc:
            self._log_availability(exc)
            self._metrics.stream_admitted("unavailable")
        else:
            self._log_availability(None)
            self._metrics.stream_admitted("admitted" if refusal is None else refusal.limit)
        if refusal is not None:
            raise _refused(refusal)
        return self._holding(tenant_id, lease)

    @contextlib.contextmanager
    def _holding(self, tenant_id: TenantId, lease: str) -> Iterator[None]:
        self._held.setdefault(tenant_id, set()).add(lease)
        try:
            yield
        finally:
            leases = self._held[tenant_id]
            leases.remove(lease)
            if not leases:
                del self._held[tenant_id]
            self._ended.setdefault(tenant_id, set()).add(lease)
            self._any_ended.set()

    async def run(self) -> None:
        """Renew the leases of open streams and release those of ended ones, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._renew())
                tasks.create_task(self._show_life())
                tasks.create_task(self._release())
        finally:
            await self._release_ended()

    async def _renew(self) -> None:
        while True:
            await self._sleep(self._pause)
            try:
                await self._quota.keep({tenant_id: frozenset(leases) for tenant_id, leases in self._held.items()})
            except EventBusUnavailableError as exc:
                self._log_availability(exc)
            else:
                self._log_availability(None)

    async def _show_life(self) -> None:
        """Show that this server is alive, often: places of one that died are taken over soon."""
        while True:
            await self._sleep(self._beat_pause)
            try:
                await self._quota.beat(list(self._held))
            except EventBusUnavailableError as exc:
                self._log_availability(exc)
            else:
                self._log_availability(None)

    async def _release(self) -> None:
        """Release leases beside the requests, many at a time: a stream that ends waits for nothing."""
        while True:
            await self._any_ended.wait()
            self._any_ended.clear()
            await self._release_ended()

    async def _release_ended(self) -> None:
        ended, self._ended = self._ended, {}
        with contextlib.suppress(EventBusUnavailableError):  # the leases expire by themselves
            await self._quota.leave(ended)

    def _log_availability(self, failure: EventBusUnavailableError | None) -> None:
        """Log once that the quota is unavailable, and once that it is back."""
        if failure is not None and self._available:
            log.warning("stream.quota_unavailable", error=str(failure))
        if failure is None and not self._available:
            log.info("stream.quota_recovered")
        self._available = failure is None


def _refused(refusal: QuotaRefusal) -> RefusalError:
    seconds = max(1, math.ceil(refusal.retry_after.total_seconds()))
    code: ErrorCode = "stream_rate_limited" if refusal.limit == "rate" else "too_many_tenant_streams"
    message = f"{_MESSAGES[refusal.limit]} Try again in {seconds} seconds."
    return RefusalError(429, code, message, {"Retry-After": str(seconds)})
