"""GET /api/v1/billing/tenants/{tenant_id}/…: a tenant's billing state and its numbered history."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiohttp import web

from billing_app.http.auth import require_own_tenant
from billing_app.http.operations.calling import may_call
from billing_app.http.responses import RefusalError, json_response, json_text_response
from billing_app.http.services import SERVICES, Services
from billing_core import payloads
from billing_core.model import ADJUSTMENT_KINDS, TenantId
from billing_core.stream_access.ports import Principal

_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,18}").fullmatch
"""ASCII digits only, and no more than fit into a 64-bit integer."""

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500

TenantHandler = Callable[[web.Request, Services, TenantId], Awaitable[web.Response]]


def routes() -> Iterable[web.RouteDef]:
    """Return the routes of the read API, each open to the tenant's own tokens only."""
    base = "/api/v1/billing/tenants/{tenant_id:[^/]+}"  # aiohttp's default pattern excludes braces
    return [
        web.get(f"{base}/state", _state),
        web.get(f"{base}/viewer", _viewer),
        web.get(f"{base}/subscriptions", _for_own_tenant(_subscriptions)),
        web.get(f"{base}/invoices", _for_own_tenant(_invoices)),
        web.get(f"{base}/usage", _for_own_tenant(_usage)),
        web.get(f"{base}/adjustments", _for_own_tenant(_adjustments)),
        web.get(f"{base}/events", _for_own_tenant(_events)),
        web.get(f"{base}/entitlements", _for_own_tenant(_entitlements)),
        web.get(f"{base}/entitlements/{{feature:[^/]+}}", _for_own_tenant(_entitlement)),
    ]


def whole_number(request: web.Request, name: str, *, default: int) -> int:
    """Read a query parameter as a non-negative whole number. Raises RefusalError (400)."""
    text = request.query.get(name)
    if text is None:
        return default
    if not _WHOLE_NUMBER(text):
        raise RefusalError(400, "bad_parameter", f"{name} must be a whole number.")
    return int(text)


def _for_own_tenant(handler: TenantHandler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        services, principal = await _authenticated(request)
        return await handler(request, services, principal.tenant_id)

    return handle


async def _authenticated(request: web.Request) -> tuple[Services, Principal]:
    """Return the principal of a request for its own tenant. Raises RefusalError."""
    services = request.app[SERVICES]
    principal = await services.authenticator.authenticate(request)
    require_own_tenant(request, principal)
    return services, principal


async def _state(request: web.Request) -> web.Response:
    services, principal = await _authenticated(request)
    state = await services.reader.state(principal.tenant_id)
    verdict = await services.rules.access_of(state)
    payload = payloads.state_payload(state, verdict, services.epoch)
    if principal.role in services.settings.tokens.operator_roles:
        attention = await services.timeline.attention(principal.tenant_id)
        payload = payloads.operator_state_payload(payload, attention, state.views)
    return json_text_response(payloads.dumps(payload))


async def _viewer(request: web.Request) -> web.Response:
    """Answer what the bearer of a token may do, so that a page shows no button that would be refused."""
    services, principal = await _authenticated(request)
    viewer = {
        "tenant_id": principal.tenant_id,
        "role": principal.role,
        "may_write": may_call("write", principal, services.settings.tokens),
        "operations": services.operations is not None,
    }
    return json_response(viewer)


async def _subscriptions(_request: web.Request, services: Services, tenant_id: TenantId) -> web.Response:
    found = await services.reader.subscriptions(tenant_id)
    return _listing(tenant_id, "subscriptions", [payloads.subscription_section(each.snapshot) for each in found])


async def _invoices(request: web.Request, services: Services, tenant_id: TenantId) -> web.Response:
    found = await services.reader.invoices(tenant_id, limit=_limit(request))
    return _listing(tenant_id, "invoices", [payloads.invoice_section(each.snapshot) for each in found])


async def _usage(request: web.Request, services: Services, tenant_id: TenantId) -> web.Response:
    found = await services.reader.usage(tenant_id, limit=_limit(request))
    return _listing(tenant_id, "usage", payloads.usage_sections(found))


async def _adjustments(request: web.Request, services: Services, tenant_id: TenantId) -> web.Response:
    """Answer refunds, disputes and credit notes. None of them changes an invoice: a paid one stays paid."""
    found = await services.reader.records(tenant_id, kinds=ADJUSTMENT_KINDS, limit=_limit(request))
    return _listing(tenant_id, "adjustments", map(payloads.adjustment_section, found))


async def _events(request: web.Request, services: Services, tenant_id: TenantId) -> web.Response:
    """Answer a page of the history. `next_after` is the `after` of the next page; null at the end."""
    after, limit = whole_number(request, "after", default=0), _limit(request)
    events = await services.history.events(tenant_id, after=after, limit=limit)
    next_after = str(events[-1].sequence) if len(events) == limit else "null"
    # The stored payloads are sent unchanged: every reader of a message gets the same bytes.
    listed = ",".join(event.payload for event in events)
    return json_text_response(f'{{"tenant_id":{json.dumps(tenant_id)},"next_after":{next_after},"events":[{listed}]}}')


async def _entitlements(_request: web.Request, services: Services, tenant_id: TenantId) -> web.Response:
    found = await services.entitlements.found(tenant_id)
    payload = payloads.entitlements_payload(found.entitlements, found.now, found.freshness)
    return json_text_response(payloads.dumps(payload))


async def _entitlement(request: web.Request, services: Services, tenant_id: TenantId) -> web.Response:
    """Answer whether so much more of a feature may be used. `used` is the caller's own count, if it has one."""
    quantity = whole_number(request, "quantity", default=1)
    used = whole_number(request, "used", default=0) if "used" in request.query else None
    verdict = await services.entitlements.allows(tenant_id, request.match_info["feature"], quantity, used=used)
    return json_text_response(payloads.dumps(payloads.entitlement_payload(tenant_id, verdict)))


def _listing(tenant_id: TenantId, name: str, sections: Iterable[Any]) -> web.Response:
    return json_response({"tenant_id": tenant_id, name: list(sections)})


def _limit(request: web.Request) -> int:
    limit = whole_number(request, "limit", default=DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise RefusalError(400, "bad_parameter", f"limit must be between 1 and {MAX_LIMIT}.")
    return limit
