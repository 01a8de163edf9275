"""One trace from a webhook to the streams of its tenant; links where a batch has several origins."""

import asyncio
import sys
from datetime import timedelta

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from structlog.contextvars import get_contextvars
from tests.unit.traces import Traces, context, id_of, parent_of

from billing_app.container import Container, memory_adapters
from billing_app.container.tracing import open_tracing
from billing_app.observers import Observers
from billing_app.settings import Settings, TracingSettings
from billing_app.tracing import traced
from billing_core.errors import ConfigurationError, StoreUnavailableError
from billing_core.events import Claim, Disposition, Outcome, ProviderEvent, Receipt
from billing_core.inbox.batch import ProcessingReport, Retry
from billing_core.stream.publisher import Publisher, PublishPolicy
from billing_core.testing.builders import message, provider_event
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.stream.bus import MemoryEventBus
from billing_memory.stream.history import MemoryMessageHistory
from billing_memory.stream.outbox import MemoryOutbox
from billing_telemetry.metrics import Metrics

PATH = "/webhooks/stripe"
LEASE = timedelta(minutes=1)


@pytest.fixture
def traces() -> Traces:
    return Traces()


def report(*retries: Retry) -> ProcessingReport:
    return ProcessingReport(outcomes=(), events=(), retries=retries, lost=0, seconds=0.1)


def claim(number: int, context: str | None, *, forgiven: int = 0) -> Claim:
    event = provider_event(f"evt_{number}", trace_context=context)
    return Claim(dispatch_id=number, attempt=1 + forgiven, forgiven=forgiven, event=event)


async def test_a_webhook_is_one_trace_up_to_its_messages(traces: Traces) -> None:
    """Request, storing, processing and publishing are each the child of the one before, though of other tasks."""
    database, clock = MemoryDatabase(), ManualClock()
    inbox = MemoryEventInbox(database, clock)
    bus = MemoryEventBus()
    publisher = Publisher(
        history=MemoryMessageHistory(database),
        outbox=MemoryOutbox(database, clock),
        bus=bus,
        policy=PublishPolicy(),
        observe=Observers(Metrics(), tracing=traces.tracing).published,
        tracer=traces.tracing,
    )

    async def receive(_request: web.Request) -> web.StreamResponse:
        await traces.tracing.around(inbox).record(provider_event())
        return web.Response(status=202)

    await traced(receive, traces.tracing)(make_mocked_request("POST", PATH))
    claims = await inbox.claim(limit=1, lease=LEASE)
    with traces.tracing.processing(claims):
        publisher.offer([message()])
    follower = bus.follow()
    await anext(follower)
    publishing = asyncio.create_task(publisher.run())
    publisher.stop()
    await publishing
    (followed,) = await anext(follower)

    names = [f"POST {PATH}", "publish stripe_events", "process stripe_events", "publish billing_events"]
    spans = [traces[name] for name in names]
    assert [span.kind for span in spans] == [SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.PRODUCER]
    assert [parent_of(span) for span in spans] == [None, *map(id_of, spans[:-1])]
    assert (followed.trace_context or "").startswith(f"00-{id_of(spans[-1])}-")
    assert traces[f"POST {PATH}"].attributes == {
        "http.request.method": "POST",
        "http.route": PATH,
        "url.path": PATH,
        "url.scheme": "http",
        "http.response.status_code": 202,
    }
    assert traces["process stripe_events"].attributes == {
        "messaging.system": "postgresql",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "stripe_events",
        "messaging.message.id": "evt_1",
        "stripe.event.type": "customer.subscription.updated",
    }


def test_a_batch_links_to_the_trace_of_each_event(traces: Traces) -> None:
    """A span has one parent. Contexts that are missing or no contexts are left out."""
    with traces.tracing.processing([claim(1, context(1)), claim(2, context(2)), claim(3, None), claim(4, "?")]):
        pass
    span = traces["process stripe_events"]
    assert span.parent is None
    assert [f"{link.context.trace_id:x}" for link in span.links] == ["1", "2"]
    assert (span.attributes or {})["messaging.batch.message_count"] == 4


def test_nothing_to_process_has_no_span(traces: Traces) -> None:
    with traces.tracing.processing([]):
        pass
    assert traces.exporter.get_finished_spans() == ()


def test_a_failed_attempt_is_an_error_with_its_event_and_reason(traces: Traces) -> None:
    """The text of the error stays in the log, where the event's id and the trace's id find it."""
    failed = claim(1, context(1))
    retry = Retry(claim=failed, reason="bug", error="cus_secret", after=LEASE)
    with traces.tracing.processing([failed]):
        assert get_contextvars()["trace_id"] == f"{1:032x}"
        Observers(Metrics(), tracing=traces.tracing).processed(report(retry))
    assert "trace_id" not in get_contextvars()
    span = traces["process stripe_events"]
    assert span.status.status_code is StatusCode.ERROR
    assert [(each.name, each.attributes) for each in span.events] == [
        ("event.failed", {"messaging.message.id": "evt_1", "error.type": "bug"})
    ]
    assert "cus_secret" not in span.to_json()


async def test_an_event_that_cannot_be_stored_is_an_error_without_its_text(traces: Traces) -> None:
    class Unavailable(MemoryEventInbox):
        async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
            raise StoreUnavailableError("postgres://user:password@db")

    with pytest.raises(StoreUnavailableError):
        await traces.tracing.around(Unavailable(MemoryDatabase(), ManualClock())).record(provider_event())
    span = traces["publish stripe_events"]
    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (
        StatusCode.ERROR,
        StoreUnavailableError.code,
    )
    assert "password" not in span.to_json()


@pytest.mark.parametrize("batches", ["batches", "quiet_batches"])
async def test_every_way_to_process_events_is_traced(traces: Traces, batches: str) -> None:
    """A replay without messages, too; the span has the outcome."""
    settings = Settings()
    adapters = memory_adapters(settings)
    container = Container(settings=settings, **adapters, tracing=traces.tracing)
    await adapters["inbox"].record(provider_event(body=b"{}", trace_context=context(1)))
    claims = await adapters["queue"].claim(limit=1, lease=LEASE)
    await getattr(container, batches)().process(claims)
    span = traces["process stripe_events"]
    assert (span.context.trace_id, span.status.status_code) == (1, StatusCode.UNSET)
    assert (span.attributes or {})["billing.dispositions"] == ("ignored",)


def test_an_event_that_dies_is_an_error_of_its_span(traces: Traces) -> None:
    """The event that was applied in the same batch is none."""
    dead, applied = claim(1, context(1)), claim(2, context(1))
    outcomes = [
        Outcome(claim=dead, disposition=Disposition.DEAD, reason="permanent", error="cus_secret"),
        Outcome(claim=applied, disposition=Disposition.APPLIED),
    ]
    with traces.tracing.processing([dead, applied]):
        traces.tracing.processed(attrs.evolve(report(), outcomes=outcomes))
    span = traces["process stripe_events"]
    assert span.status.status_code is StatusCode.ERROR
    assert [each.attributes for each in span.events] == [{"messaging.message.id": "evt_1", "error.type": "permanent"}]
    assert (span.attributes or {})["billing.dispositions"] == ("applied", "dead")


@pytest.mark.parametrize(("forgiven", "kept"), [(0, []), (1, ["process stripe_events"])])
def test_a_replay_is_kept_whatever_is_sampled(forgiven: int, kept: list[str]) -> None:
    """Also of an event whose first processing was sampled away."""
    traces = Traces(provider=TracerProvider(sampler=ALWAYS_OFF))
    with traces.tracing.processing([claim(1, context(1, sampled=False), forgiven=forgiven)]):
        pass
    assert [span.name for span in traces.exporter.get_finished_spans()] == kept


async def test_a_start_without_the_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra to install."""
    monkeypatch.delitem(sys.modules, "billing_telemetry.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delattr("billing_telemetry.tracing", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'billing-core\[otel\]'"):
        async with open_tracing(TracingSettings(enabled=True), "billing-serve"):
            pass
