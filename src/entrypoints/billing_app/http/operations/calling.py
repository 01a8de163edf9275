"""Requests for operations: who asks, for which tenant, under which key, with which body."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, Literal, TypeVar

import attrs
import structlog
from aiohttp import web

from billing_app.http.auth import require_own_tenant, role_refusal
from billing_app.http.operations.answers import OperationAnswer
from billing_app.http.operations.bodies import LONGEST_BODY, read_body
from billing_app.http.operations.problems import UNKNOWN_OUTCOME, Problem, problem_of
from billing_app.http.responses import RefusalError, json_response
from billing_app.http.services import SERVICES
from billing_app.settings import TokenSettings
from billing_core.errors import BillingError
from billing_core.model import TenantId
from billing_core.operations.facade import Operations
from billing_core.operations.requests import Caller
from billing_core.operations.stored import LONGEST_REQUEST_ID
from billing_core.stream_access.ports import Principal

log = structlog.get_logger()

B = TypeVar("B")
Access = Literal["read", "write", "operate"]
"""The callers of a route: any reader of the tenant; its owners and admins, and operators; operators alone."""

_SETTINGS: Final[Mapping[Access, str]] = {
    "read": "BILLING_JWT_READER_ROLES",
    "write": "BILLING_JWT_WRITER_ROLES",
    "operate": "BILLING_JWT_OPERATOR_ROLES",
}
"""The setting that names the roles of each."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_VISIBLE: Final = re.compile(r"[!-~]+").fullmatch
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}").fullmatch
"""Of the provider's ids, and of promotion codes. Nothing else is stored, or names what an operation is about."""


@attrs.frozen(kw_only=True)
class Call(Generic[B]):
    """One authenticated request for an operation."""

    operations: Operations
    principal: Principal
    ids: Mapping[str, str]
    """The variable parts of the path, without the tenant."""
    query: Mapping[str, str]
    body: B
    request_id: str | None
    """The Idempotency-Key; None for reads."""
    operates: bool
    """Whether the bearer is an operator, who may waive what a tenant owes."""

    @property
    def tenant_id(self) -> TenantId:
        """The tenant of the token."""
        return self.principal.tenant_id

    @property
    def actor(self) -> str:
        """The bearer of the token, for the record."""
        return self.principal.subject or self.principal.role

    @property
    def caller(self) -> Caller:
        """The decision behind a write."""
        if self.request_id is None:
            raise LookupError("a read has no request id")
        return Caller(tenant_id=self.tenant_id, request_id=self.request_id, actor=self.actor)


@attrs.frozen(kw_only=True)
class OperationRoute:
    """One route: everything that the server and the OpenAPI document need to know of it."""

    method: Literal["GET", "POST", "DELETE"] = "POST"
    path: str
    operation_id: str
    summary: str
    handle: Callable[[Call[Any]], Awaitable[object]]
    access: Access = "write"
    body: type | None = None
    answer: type = OperationAnswer
    query: tuple[str, ...] = ()
    """Names of required query parameters."""
    preview: bool = False
    """It only asks: no Idempotency-Key is needed although there is a body."""

    @property
    def writes(self) -> bool:
        """Whether it needs an Idempotency-Key."""
        return self.method != "GET" and not self.preview

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a request; every failure is a problem of RFC 9457."""
        try:
            answer = await self.handle(await self._call(request))
            return json_response(answer)
        except Problem as problem:
            return problem.response()
        except (BillingError, RefusalError) as error:
            if isinstance(error, BillingError) and not self.writes:  # `operation.ended` reports a write
                log.info("http.operation_failed", operation=self.operation_id, code=error.code)
            return problem_of(error).response()
        except web.HTTPException:
            raise
        except Exception:  # of us: something may have been sent by then, so it is not the request's fault
            log.exception("http.failed", method=request.method, path=request.rel_url.raw_path)
            detail = UNKNOWN_OUTCOME if self.writes else "An internal error occurred. Try again later."
            return Problem(500, "internal_error", detail).response()

    async def _call(self, request: web.Request) -> Call[Any]:
        services = request.app[SERVICES]
        principal = await services.authenticator.authenticate(request)
        require_own_tenant(request, principal)
        if not may_call(self.access, principal, services.settings.tokens):
            raise Problem(403, "forbidden_role", role_refusal(principal.role, "do this", _SETTINGS[self.access]))
        if services.operations is None:
            raise Problem(
                404,
                "operations_disabled",
                "Operations are disabled: STRIPE_SECRET_KEY is not set, or STRIPE_FETCH is false.",
            )
        return Call(
            operations=services.operations,
            principal=principal,
            ids=_ids(request),
            query={name: _query_parameter(request, name) for name in self.query},
            body=None if self.body is None else read_body(await read_bytes(request), self.body),
            request_id=_request_id(request) if self.writes else None,
            operates=may_call("operate", principal, services.settings.tokens),
        )


def may_call(access: Access, principal: Principal, policy: TokenSettings) -> bool:
    """Tell whether a principal may call a route; that it may read is known already."""
    if principal.role in policy.operator_roles:
        return True
    return access == "read" or (access == "write" and principal.role in policy.writer_roles)


def _request_id(request: web.Request) -> str:
    key = request.headers.get(IDEMPOTENCY_KEY, "").strip()
    if not key:
        message = f"Send an {IDEMPOTENCY_KEY} header: a new one for each decision, the same for each retry of it."
        raise Problem(400, "idempotency_key_missing", message)
    if len(key) > LONGEST_REQUEST_ID or not _VISIBLE(key):
        message = f"The {IDEMPOTENCY_KEY} must be 1 to {LONGEST_REQUEST_ID} visible ASCII characters."
        raise Problem(400, "bad_idempotency_key", message)
    return key


def _ids(request: web.Request) -> Mapping[str, str]:
    ids = {name: value for name, value in request.match_info.items() if name != "tenant_id"}
    for name, value in ids.items():
        if not _ID(value):
            raise Problem(400, "bad_parameter", f"{name} in the path must be 1 to 255 letters, digits, _ and -.")
    return ids


def _query_parameter(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    if not value or len(value) > LONGEST_REQUEST_ID or not _VISIBLE(value):
        raise Problem(400, "bad_parameter", f"{name} is required as a query parameter.")
    return value


async def read_bytes(request: web.Request) -> bytes:
    """Return the body of a request. Raises Problem (413) if it is too large."""
    if (request.content_length or 0) > LONGEST_BODY:
        raise _too_large()
    body = await request.content.read(LONGEST_BODY + 1)
    while len(body) <= LONGEST_BODY and not request.content.at_eof():
        body += await request.content.read(LONGEST_BODY + 1 - len(body))
    if len(body) > LONGEST_BODY:
        raise _too_large()
    return body


def _too_large() -> Problem:
    return Problem(413, "too_large", f"The body is larger than {LONGEST_BODY} bytes.")
