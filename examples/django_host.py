"""A Django application with billing, in one file. Run it: uvicorn django_host:application"""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from billing_app import SSE_HEADERS, StreamRefusedError, open_billing
from billing_core import BillingEventPayload

billing = open_billing(application_name="shop")


@billing.on("subscription.*", consumer="welcome-mails")
def welcome(message: BillingEventPayload) -> None:
    """Runs in a thread of a worker, so that it may use Django's models."""
    close_old_connections()  # as at the start of a request: the database may have restarted since the last one
    print(f"mail to {message.tenant_id}: {message.summary}", flush=True)


def tenant_of(request: HttpRequest) -> str:
    return request.headers["X-Tenant"]  # your own authentication goes here


@csrf_exempt
async def webhook(request: HttpRequest) -> HttpResponse:
    body, status, headers = await billing.answer_webhook(request.body, request.headers.get("Stripe-Signature"))
    return HttpResponse(body, status=status, headers=headers)


async def export(request: HttpRequest) -> HttpResponse:
    verdict = await billing.allows(tenant_of(request), "exports")
    if not verdict:
        return JsonResponse({"detail": verdict.reason.value}, status=402)
    return JsonResponse({"export": f"the data of {tenant_of(request)}"})


async def stream(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    try:
        frames = billing.server_sent_events(tenant_of(request), last_event_id=request.headers.get("Last-Event-ID"))
    except StreamRefusedError as exc:
        return HttpResponse(str(exc), status=exc.status)
    return StreamingHttpResponse(frames, headers=SSE_HEADERS)


urlpatterns = [path("webhooks/stripe", webhook), path("exports", export), path("billing/stream", stream)]

if not settings.configured:  # in place of a settings module
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DATA_UPLOAD_MAX_MEMORY_SIZE=2 * 1024 * 1024)
    django.setup()

# Django has no start-up of its own: billing opens with the server and closes with it.
application = billing.around(get_asgi_application())
