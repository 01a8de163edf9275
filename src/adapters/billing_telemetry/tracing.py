"""Spans of OpenTelemetry, from the request of a webhook to the streams of its tenant. Needs the extra `otel`."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from datetime import timedelta
from typing import Final

import attrs
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes, AttributeValue
from structlog.contextvars import bound_contextvars

import billing_core
from billing_core.errors import BillingError
from billing_core.events import Claim, ProviderEvent, Receipt
from billing_core.inbox.batch import ProcessingReport
from billing_core.inbox.ports import EventInbox
from billing_core.stream.publisher import PublishingReport
from billing_core.waiting import wait_at_most

_INBOX: Final = "stripe_events"
_OUTBOX: Final = "billing_events"
_AT_THE_END: Final = timedelta(seconds=5)
"""Time for the last spans to be sent."""
_REPLAY: Final = "billing.replay"
_HEADER: Final = "traceparent"
_PROPAGATOR: Final = TraceContextTextMapPropagator()


@asynccontextmanager
async def open_tracing(application_name: str) -> AsyncIterator["OpenTelemetryTracing"]:
    """Send spans by OTLP over HTTP as the OTEL_* variables say; the last ones at the end."""
    ours = {"service.name": application_name, "service.version": billing_core.__version__}
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())  # what an operator sets wins
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield OpenTelemetryTracing(provider)
    finally:
        await _shut_down(provider)


async def _shut_down(provider: TracerProvider) -> None:
    """Send what is left, for some seconds: a collector that does not answer must not hold up the end of a process."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=shut_down, name="tracing", daemon=True).start()
    await wait_at_most(done, _AT_THE_END)


class OpenTelemetryTracing:
    """A `Tracer` with the spans of webhooks, of storing and of streams, and the outcomes of batches.

    Attributes are ids of events and closed sets; never ids of tenants or customers, bodies or error texts.
    """

    def __init__(self, provider: TracerProvider) -> None:
        """`provider` samples and exports; from here on, it keeps every replay."""
        provider.sampler = KeepReplays(provider.sampler)
        self._tracer = provider.get_tracer("billing", billing_core.__version__)

    # --- Tracer -------------------------------------------------------------------------------------------------------

    def context(self) -> str | None:
        """See Tracer."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get(_HEADER)

    def processing(self, claims: Sequence[Claim]) -> AbstractContextManager[None]:
        """See Tracer."""
        if not claims:
            return nullcontext()
        attributes: dict[str, AttributeValue] = _messaging("postgresql", "process", "process", _INBOX)
        if len(claims) == 1:
            attributes |= _described(claims[0].event)
        else:
            attributes["messaging.batch.message_count"] = len(claims)
        if any(claim.forgiven for claim in claims):
            attributes[_REPLAY] = True
        stored = [claim.event.trace_context for claim in claims]
        return self._continue(f"process {_INBOX}", SpanKind.CONSUMER, stored, attributes)

    def publishing(self, contexts: Sequence[str | None]) -> AbstractContextManager[None]:
        """See Tracer."""
        attributes = _messaging("redis", "send", "publish", _OUTBOX) | {"messaging.batch.message_count": len(contexts)}
        return self._continue(f"publish {_OUTBOX}", SpanKind.PRODUCER, contexts, attributes)

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def processed(self, report: ProcessingReport) -> None:
        """Add the outcomes of a batch to its span; failed attempts make it an error."""
        span = get_current_span()
        if not span.is_recording():
            return
        span.set_attribute("billing.dispositions", sorted({outcome.disposition.value for outcome in report.outcomes}))
        failed = {retry.claim.event.event_id: retry.reason for retry in report.retries}
        dead = {claim.event.event_id for claim in report.failed} - failed.keys()
        failed |= {o.claim.event.event_id: o.reason or "" for o in report.outcomes if o.claim.event.event_id in dead}
        for event_id, reason in failed.items():
            span.add_event("event.failed", {"messaging.message.id": event_id, "error.type": reason})
        if failed:
            span.set_attribute("error.type", min(failed.values()))
            span.set_status(StatusCode.ERROR)

    def published(self, report: PublishingReport) -> None:
        """Mark the span of messages that stay in the outbox as an error."""
        if report.failed:
            span = get_current_span()
            span.set_attribute("billing.unpublished", report.failed)
            span.set_status(StatusCode.ERROR)

    # --- webhooks -----------------------------------------------------------------------------------------------------

    @contextmanager
    def request(self, method: str, route: str, scheme: str) -> Iterator[Callable[[int], None]]:
        """Open the span of a request, in a new trace: the provider sends no context. The block gives it the status."""
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "url.path": route,
            "url.scheme": scheme,
        }
        with self._span(f"{method} {route}", SpanKind.SERVER, Context(), attributes):
            span = get_current_span()

            def answered(status: int) -> None:
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_attribute("error.type", str(status))
                    span.set_status(StatusCode.ERROR)

            yield answered

    def around(self, inbox: EventInbox) -> EventInbox:
        """Return an inbox that stores each event with the context of a span."""
        return _TracedEventInbox(inbox, self)

    @contextmanager
    def storing(self, event: ProviderEvent) -> Iterator[ProviderEvent]:
        """Open the span of storing an event, as part of the current trace; yield the event with its context."""
        attributes = _messaging("postgresql", "send", "publish", _INBOX) | _described(event)
        with self._span(f"publish {_INBOX}", SpanKind.PRODUCER, None, attributes):
            yield attrs.evolve(event, trace_context=self.context())

    # --- streams ------------------------------------------------------------------------------------------------------

    @contextmanager
    def delivering(self, event_type: str, context: str) -> Iterator[Callable[[int, int], None]]:
        """Open one span for all clients of a message: thousands of them get it within the same milliseconds."""
        attributes = _messaging("redis", "process", "deliver", _OUTBOX) | {"billing.event.type": event_type}
        with self._continue(f"deliver {_OUTBOX}", SpanKind.CONSUMER, [context], attributes):
            span = get_current_span()

            def delivered(sent: int, clients: int) -> None:
                span.set_attribute("billing.stream.clients", sent)
                span.set_attribute("billing.stream.clients_behind", clients - sent)

            yield delivered

    # --- spans --------------------------------------------------------------------------------------------------------

    def _continue(
        self, name: str, kind: SpanKind, contexts: Sequence[str | None], attributes: Attributes
    ) -> AbstractContextManager[None]:
        """Open the child of a single span; of several, a trace that links to each."""
        origins = [_parsed(context) for context in dict.fromkeys(contexts) if context is not None]
        valid = [origin for origin in origins if origin.is_valid]
        if len(valid) == 1:
            return self._span(name, kind, set_span_in_context(NonRecordingSpan(valid[0]), Context()), attributes)
        return self._span(name, kind, Context(), attributes, [Link(origin) for origin in valid])

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        parent: Context | None,
        attributes: Attributes,
        links: Sequence[Link] = (),
    ) -> Iterator[None]:
        """Run the block inside a span; log lines within have its trace id. An error's text stays out of the span."""
        with (
            self._tracer.start_as_current_span(
                name,
                context=parent,
                kind=kind,
                attributes=attributes,
                links=links,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            bound_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}"),
        ):
            try:
                yield
            except Exception as exc:
                span.set_attribute("error.type", exc.code if isinstance(exc, BillingError) else type(exc).__name__)
                span.set_status(StatusCode.ERROR)
                raise


class KeepReplays(Sampler):
    """Samples every replay, and everything else as another sampler does: an operator waits for a replay."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(  # noqa: PLR0917 - the library's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See Sampler."""
        if attributes and attributes.get(_REPLAY):
            state = get_current_span(parent_context).get_span_context().trace_state
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, state)
        return self._inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """See Sampler."""
        return f"KeepReplays({self._inner.get_description()})"


class _TracedEventInbox:
    """An EventInbox that opens a span around storing an event."""

    def __init__(self, inner: EventInbox, tracing: OpenTelemetryTracing) -> None:
        self._inner = inner
        self._tracing = tracing

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """See EventInbox."""
        with self._tracing.storing(event) as traced:
            return await self._inner.record(traced, lease=lease)


def _parsed(context: str) -> SpanContext:
    """Return the span that a `traceparent` names; an invalid one for what is none."""
    return get_current_span(_PROPAGATOR.extract({_HEADER: context}, Context())).get_span_context()


def _messaging(system: str, kind: str, operation: str, destination: str) -> dict[str, AttributeValue]:
    """Return the attributes of a span of messages. Source: OpenTelemetry's semantic conventions for messaging."""
    return {
        "messaging.system": system,
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
        "messaging.destination.name": destination,
    }


def _described(event: ProviderEvent) -> dict[str, AttributeValue]:
    return {"messaging.message.id": event.event_id, "stripe.event.type": event.type}
