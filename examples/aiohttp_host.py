"""An aiohttp application with billing. Run it: python aiohttp_host.py 8000"""

import sys
from collections.abc import AsyncIterator

from aiohttp import web

from billing_app import SSE_HEADERS, StreamRefusedError, open_billing
from billing_core import BillingEventPayload

billing = open_billing(application_name="shop")


@billing.on("subscription.*", consumer="welcome-mails")
async def welcome(message: BillingEventPayload) -> None:
    """Runs in a worker, at least once for each message, in the order of the tenant's messages."""
    print(f"mail to {message.tenant_id}: {message.summary}", flush=True)


async def opened(_app: web.Application) -> AsyncIterator[None]:
    async with billing, billing.working():  # leave out working() where other processes do the work
        yield


def tenant_of(request: web.Request) -> str:
    return request.headers["X-Tenant"]  # your own authentication goes here


async def webhook(request: web.Request) -> web.Response:
    signature = request.headers.get("Stripe-Signature")
    body, status, headers = await billing.answer_webhook(request.content.iter_any(), signature)
    return web.Response(body=body, status=status, headers=headers)


async def export(request: web.Request) -> web.Response:
    verdict = await billing.allows(tenant_of(request), "exports")
    if not verdict:
        return web.json_response({"detail": verdict.reason.value}, status=402)
    return web.json_response({"export": f"the data of {tenant_of(request)}"})


async def stream(request: web.Request) -> web.StreamResponse:
    try:
        frames = billing.server_sent_events(tenant_of(request), last_event_id=request.headers.get("Last-Event-ID"))
    except StreamRefusedError as exc:
        return web.Response(text=str(exc), status=exc.status)
    response = web.StreamResponse(headers=SSE_HEADERS)
    await response.prepare(request)
    async for frame in frames:
        await response.write(frame)
    return response


app = web.Application()
app.cleanup_ctx.append(opened)
app.add_routes([web.post("/webhooks/stripe", webhook), web.get("/exports", export), web.get("/billing/stream", stream)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), shutdown_timeout=2, handler_cancellation=True)
