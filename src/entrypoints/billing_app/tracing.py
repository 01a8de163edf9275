"""Tracing of one process: beyond the spans of the domain, those of requests and streams, and outcomes of batches."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from aiohttp import web
from aiohttp.typedefs import Handler

from billing_core.inbox.batch import ProcessingReport
from billing_core.inbox.ports import EventInbox
from billing_core.stream.publisher import PublishingReport
from billing_core.tracing import Tracer


@runtime_checkable
class Tracing(Tracer, Protocol):
    """The spans of one process; none of the calls waits or fails."""

    def request(self, method: str, route: str, scheme: str) -> AbstractContextManager[Callable[[int], None]]:
        """Open the span of an HTTP request; the block gives it the status of the answer."""
        ...

    def around(self, inbox: EventInbox) -> EventInbox:
        """Return an inbox that stores each event with the context of a span."""
        ...

    def delivering(self, event_type: str, context: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Open the span of sending a message to the clients of its tenant in this process.

        It continues the trace in which the message was published. The block gives it the number of clients that the
        message was sent to, and of all that are to get it.
        """
        ...

    def processed(self, report: ProcessingReport) -> None:
        """Add the outcomes of a batch to the current span."""
        ...

    def published(self, report: PublishingReport) -> None:
        """Add the result of publishing to the current span."""
        ...


def traced(handler: Handler, tracing: Tracing | None) -> Handler:
    """Return a handler whose requests have spans; the same one where nothing is traced."""
    if tracing is None:
        return handler

    async def handle(request: web.Request) -> web.StreamResponse:
        with tracing.request(request.method, request.path, request.scheme) as answered:
            response = await handler(request)
            answered(response.status)
            return response

    return handle
