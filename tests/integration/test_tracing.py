"""One trace over two processes, sent to a collector by OTLP over HTTP; none of it is needed where tracing is off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import attrs
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.integration.processes import bearer, post, python, running, state_at, subscription_event, token
from tests.patience import PATIENCE

from billing_app.container.tracing import open_tracing
from billing_app.settings import TracingSettings
from billing_embedded.loopback import free_port

WAY = {
    "POST /webhooks/stripe": "billing-serve",
    "publish stripe_events": "billing-serve",
    "process stripe_events": "billing-worker",
    "publish billing_events": "billing-worker",
    "deliver billing_events": "billing-serve",
}
"""The spans of a webhook, each the child of the one before, and the service of each."""
STREAM = "/api/v1/billing/stream"

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@attrs.define
class Collector:
    """A receiver of spans: by trace and name, each with the service that sent it."""

    url: str = ""
    traces: dict[bytes, dict[str, tuple[str, Span]]] = attrs.field(factory=dict)

    @property
    def complete(self) -> dict[str, tuple[str, Span]] | None:
        """A trace of the whole way of a webhook, if there is one."""
        return next((spans for spans in self.traces.values() if spans.keys() >= WAY.keys()), None)

    async def receive(self, request: web.Request) -> web.Response:
        """Take one export."""
        body = await request.read()  # aiohttp decompresses it
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {each.key: each.value.string_value for each in sent.resource.attributes}["service.name"]
            for scope in sent.scope_spans:
                for span in scope.spans:
                    self.traces.setdefault(span.trace_id, {})[span.name] = service, span
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


async def test_a_webhook_is_one_trace_over_a_server_and_a_worker(environment: dict[str, str]) -> None:
    """The worker continues the trace that the server began, and the server that of the worker's message.

    The first messages may reach a client from the history, before its server follows the bus: these have no last span.
    """
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    watched = str(free_port())
    async with collecting() as collector, aiohttp.ClientSession() as session:
        environment |= {
            "BILLING_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        ready = f"http://127.0.0.1:{watched}/readyz"
        async with (
            running("serve", "--no-worker", environment=environment, ready=f"{base}/readyz") as server,
            running("worker", "--metrics-port", watched, environment=environment, ready=ready) as worker,
            session.get(base + STREAM, headers=bearer(token("acme"))) as stream,
            asyncio.timeout(PATIENCE),
        ):
            sent = 0
            while (complete := collector.complete) is None:
                sent += 1
                assert (await post(session, base, subscription_event(sent)))[0] == 202
                await state_at(session, base, sent)
                await asyncio.sleep(0.2)
            for process in (server, worker):
                process.terminate()
                assert await process.wait() == 0
            received = await stream.content.read()

    services, spans = zip(*(complete[name] for name in WAY), strict=True)
    assert services == tuple(WAY.values())
    assert [span.parent_span_id for span in spans] == [b"", *(span.span_id for span in spans[:-1])]
    shown = b"".join(span.SerializeToString() for span in spans)
    assert not [word for word in (b"acme", b"cus_1", b"sub_1", b"sk_test", b"whsec") if word in shown]
    assert b"evt_1" in received
    assert not [trace for trace in collector.traces if trace.hex().encode() in received]


async def test_the_last_spans_are_sent_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends does not wait for the interval between two exports."""
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
        async with open_tracing(TracingSettings(enabled=True), "billing-serve") as tracing:
            assert tracing is not None
            with tracing.publishing([None]):
                pass
        (spans,) = collector.traces.values()
        assert spans["publish billing_events"][0] == "ours"


async def test_a_server_that_does_not_trace_needs_no_opentelemetry(environment: dict[str, str]) -> None:
    """Neither its start nor a webhook imports it, from the request to the message."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    blocked = "import sys; sys.modules['opentelemetry'] = None; from billing_app.program import main; main()"
    async with (
        aiohttp.ClientSession() as session,
        python("-c", blocked, "serve", environment=environment, ready=f"{base}/readyz"),
    ):
        assert (await post(session, base, subscription_event(1)))[0] == 202
        await state_at(session, base, 1)
