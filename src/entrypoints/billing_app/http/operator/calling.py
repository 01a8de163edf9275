"""Requests of operators: who asks, with which parameters and which body."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

import attrs
import structlog
from aiohttp import web

from billing_app.http.operations.bodies import read_body
from billing_app.http.operations.calling import read_bytes
from billing_app.http.operations.problems import Problem, problem_of
from billing_app.http.operator.identity import Operator
from billing_app.http.operator.parameters import Query
from billing_app.http.operator.services import OperatorServices
from billing_app.http.responses import RefusalError, json_response
from billing_app.http.services import SERVICES, Services
from billing_core.errors import BillingError, StoreUnavailableError

log = structlog.get_logger()

B = TypeVar("B")

_LONGEST_ID: Final = 255


@attrs.frozen(kw_only=True)
class OperatorCall(Generic[B]):
    """One authenticated request of an operator."""

    services: Services
    operator: Operator
    ids: Mapping[str, str]
    """The variable parts of the path."""
    query: Query
    body: B
    now: datetime

    @property
    def tools(self) -> OperatorServices:
        """The objects that operators work with."""
        return self.services.operator


@attrs.frozen(kw_only=True)
class OperatorRoute:
    """One route: everything that the server and the OpenAPI document need to know of it."""

    method: Literal["GET", "POST"] = "GET"
    path: str
    operation_id: str
    summary: str
    handle: Callable[[OperatorCall[Any]], Awaitable[object]]
    body: type | None = None
    answer: type
    query: tuple[str, ...] = ()
    """Names of `parameters.PARAMETERS` that it takes."""
    status: int = 200

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a request; every failure is a problem of RFC 9457."""
        try:
            call = await self._call(request)
            async with call.tools.admission.admitted():
                return json_response(await self.handle(call), status=self.status)
        except Problem as problem:
            return problem.response()
        except StoreUnavailableError as error:
            log.warning("http.store_unavailable", path=request.rel_url.raw_path, error=str(error))
            detail = "The billing data is unavailable, or the search takes too long. Try again, or ask for less."
            return Problem(503, error.code, detail, headers={"Retry-After": "2"}, retryable=True).response()
        except (BillingError, RefusalError) as error:
            return problem_of(error).response()
        except web.HTTPException:
            raise
        except Exception:
            log.exception("http.failed", method=request.method, path=request.rel_url.raw_path)
            return Problem(500, "internal_error", "An internal error occurred. Try again later.").response()

    async def _call(self, request: web.Request) -> OperatorCall[Any]:
        services = request.app[SERVICES]
        operator = await services.operator.authenticator.authenticate(request)
        now = services.clock.now()
        return OperatorCall(
            services=services,
            operator=operator,
            ids=_ids(request),
            query=Query(request.query, self.query, now),
            body=None if self.body is None else read_body(await read_bytes(request), self.body),
            now=now,
        )


def _ids(request: web.Request) -> Mapping[str, str]:
    for name, value in request.match_info.items():
        if len(value) > _LONGEST_ID or not value.isprintable():  # ids of tenants are of any script
            raise Problem(400, "bad_parameter", f"{name} in the path must be 1 to {_LONGEST_ID} printable characters.")
    return dict(request.match_info)
