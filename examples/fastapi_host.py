"""A FastAPI application with billing. Run it: uvicorn fastapi_host:app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from billing_app import SSE_HEADERS, StreamRefusedError, open_billing
from billing_core import BillingEventPayload

billing = open_billing(application_name="shop")


@billing.on("subscription.*", consumer="welcome-mails")
async def welcome(message: BillingEventPayload) -> None:
    """Runs in a worker, at least once for each message, in the order of the tenant's messages."""
    print(f"mail to {message.tenant_id}: {message.summary}", flush=True)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with billing, billing.working():  # leave out working() where other processes do the work
        yield


app = FastAPI(lifespan=lifespan)


Tenant = Annotated[str, Header(alias="X-Tenant")]  # your own authentication goes here


@app.post("/webhooks/stripe")
async def webhook(request: Request) -> Response:
    return Response(*await billing.answer_webhook(request.stream(), request.headers.get("stripe-signature")))


@app.get("/exports")
async def export(tenant: Tenant) -> dict[str, str]:
    verdict = await billing.allows(tenant, "exports")
    if not verdict:
        raise HTTPException(402, verdict.reason.value)
    return {"export": f"the data of {tenant}"}


@app.post("/upgrade")
async def upgrade(tenant: Tenant) -> RedirectResponse:
    page = await billing.operations.start_checkout(tenant, "pro", success_url="https://shop.example/billing")
    return RedirectResponse(page.result.url or "", 303)


@app.get("/billing/stream")
async def stream(tenant: Tenant, last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
    try:
        return StreamingResponse(billing.server_sent_events(tenant, last_event_id=last_event_id), headers=SSE_HEADERS)
    except StreamRefusedError as exc:
        raise HTTPException(exc.status, str(exc)) from exc
