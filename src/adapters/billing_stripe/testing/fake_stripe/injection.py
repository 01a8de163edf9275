"""The faults that a test has ordered, and the requests that meet them."""

import asyncio
from fnmatch import fnmatchcase

import attrs
from aiohttp import web

from billing_stripe.testing.fake_stripe.faults import Fault, Point


@attrs.define
class _PendingFault:
    """A fault for the next requests of a path."""

    method: str
    pattern: str
    fault: Fault
    times: int
    at: Point

    def meets(self, at: Point, request: web.Request) -> bool:
        """Return whether a request meets it."""
        return (
            self.times > 0
            and self.at == at
            and fnmatchcase(request.method, self.method)
            and fnmatchcase(request.path, self.pattern)
        )


class FaultPlan:
    """Pending faults, first ordered, first met."""

    def __init__(self) -> None:
        self._pending: list[_PendingFault] = []
        self._closing = asyncio.Event()

    def add(self, method: str, pattern: str, fault: Fault, *, times: int, at: Point) -> None:
        """Order a fault for a number of requests; `*` matches anything."""
        self._pending.append(_PendingFault(method, pattern, fault, times, at))

    def clear(self) -> None:
        """Drop all of them, and end those that are delaying a request."""
        self._pending.clear()
        self._closing.set()
        self._closing = asyncio.Event()

    async def strike(self, at: Point, request: web.Request) -> web.StreamResponse | None:
        """Let the first fault that a request meets strike. Returns its response, or None if the true one follows."""
        for pending in self._pending:
            if pending.meets(at, request):
                pending.times -= 1
                return await pending.fault.strike(request, self._closing)
        return None
