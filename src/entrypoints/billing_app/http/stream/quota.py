"""Lets a tenant's streams in as far as its quota goes, and keeps their places for as long as they are open."""

import asyncio
import contextlib
import math
import secrets
from collections.abc import Iterator
from datetime import timedelta

import structlog

from billing_app.http.ports import HttpMetrics
from billing_app.http.responses import ErrorCode, RefusalError
from billing_core.errors import EventBusUnavailableError
from billing_core.model import TenantId
from billing_core.stream_access.ports import QuotaRefusal, StreamQuota

log = structlog.get_logger()

_MESSAGES = {
    "rate": "This tenant opens streams too often. Wait, and connect again only after a stream has ended.",
    "concurrent": "This tenant has as many streams open as it may. Close some, or share one between tabs.",
}


class StreamSlots:
    """The streams of this process that hold places in their tenants' quotas.

    While the quota cannot be asked everybody gets in, and is counted once it answers again: a limit protects us from
    one tenant, and must not shut out all of them.
    """

    def __init__(self, quota: StreamQuota, metrics: HttpMetrics, *, lease: timedelta) -> None:
        """Places are kept every third of a `lease`."""
        self._quota = quota
        self._metrics = metrics
        self._pause = lease.total_seconds() / 3
        self._open: dict[TenantId, set[str]] = {}
        self._left: dict[TenantId, set[str]] = {}
        self._leaving = asyncio.Event()
        self._answers = True

    async def enter(self, tenant_id: TenantId) -> "contextlib.AbstractContextManager[None]":
        """Take a place, which is held until the block that is given back is left. Raises RefusalError (429)."""
        name = secrets.token_hex(8)
        refusal = None
        try:
            refusal = await self._quota.enter(tenant_id, name)
        except EventBusUnavailableError as exc:
            self._note(exc)
            self._metrics.stream_admitted("unavailable")
        else:
            self._note(None)
            self._metrics.stream_admitted("admitted" if refusal is None else refusal.limit)
        if refusal is not None:
            raise _refused(refusal)
        return self._place(tenant_id, name)

    @contextlib.contextmanager
    def _place(self, tenant_id: TenantId, name: str) -> Iterator[None]:
        self._open.setdefault(tenant_id, set()).add(name)
        try:
            yield
        finally:
            names = self._open[tenant_id]
            names.remove(name)
            if not names:
                del self._open[tenant_id]
            self._left.setdefault(tenant_id, set()).add(name)
            self._leaving.set()

    async def run(self) -> None:
        """Keep the places of open streams and free those of ended ones, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep())
                tasks.create_task(self._free())
        finally:
            await self._free_what_left()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self._quota.keep({tenant_id: frozenset(names) for tenant_id, names in self._open.items()})
            except EventBusUnavailableError as exc:
                self._note(exc)
            else:
                self._note(None)

    async def _free(self) -> None:
        """Places are freed by whoever comes next, many at a time: a stream that ends waits for nothing."""
        while True:
            await self._leaving.wait()
            self._leaving.clear()
            await self._free_what_left()

    async def _free_what_left(self) -> None:
        left, self._left = self._left, {}
        with contextlib.suppress(EventBusUnavailableError):  # their leases run out
            await self._quota.leave(left)

    def _note(self, failure: EventBusUnavailableError | None) -> None:
        """Say so once when the quota is away, and once when it is back."""
        if failure is not None and self._answers:
            log.warning("stream.quota_lost", error=str(failure))
        if failure is None and not self._answers:
            log.info("stream.quota_found")
        self._answers = failure is None


def _refused(refusal: QuotaRefusal) -> RefusalError:
    seconds = max(1, math.ceil(refusal.retry_after.total_seconds()))
    code: ErrorCode = "stream_rate_limited" if refusal.limit == "rate" else "too_many_tenant_streams"
    return RefusalError(429, code, _MESSAGES[refusal.limit], {"Retry-After": str(seconds)})
