"""The HTTP surface behaves as its OpenAPI document says, whatever a client sends.

schemathesis generates valid and invalid requests from the document, sends them to a running server, and checks every
response: status, headers, media type, schema, and that a route that needs a token refuses requests without one.
"""

from datetime import UTC, datetime, timedelta

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.unit.http.conftest import JWT_SECRET, World

from billing_app.http import openapi
from billing_app.http.operations.routes import ROUTES
from billing_app.http.operator.routes import BASE as OPERATOR
from billing_app.http.operator.routes import LIVE
from billing_app.http.operator.routes import ROUTES as OPERATOR_ROUTES
from billing_app.http.tokens import issue_operator_token

TENANT = "acme"
"""The tenant of the example history."""
NOT_DECIDED_BY_SCHEMA = {
    "POST /webhooks/stripe",
    "GET /api/v1/billing/stream",
    f"GET {LIVE}",
    *(f"{route.method} {route.path}" for route in (*ROUTES, *OPERATOR_ROUTES)),
}
"""A schema cannot tell whether a signature, ticket, glob, moment or change fits: these may refuse sound requests."""


surface = schemathesis.openapi.from_dict(
    openapi.document(),
    config=schemathesis.Config.from_dict(
        {
            "parameters": {"path.tenant_id": TENANT, "header.X-Tenant-Id": TENANT},
            "generation": {"allow-extra-parameters": False},  # unknown parameters are ignored
        }
    ),
)


@surface.parametrize()
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case, world: World) -> None:
    """For requests that the document allows and for requests that it does not."""
    excluded = [positive_data_acceptance] if case.operation.label in NOT_DECIDED_BY_SCHEMA else []
    operates = case.operation.path.startswith(OPERATOR)
    headers = operators_header(world) if operates else world.bearer(role="owner")
    case.call_and_validate(base_url=world.url, headers=headers, excluded_checks=excluded)


def operators_header(world: World) -> dict[str, str]:
    """Return the header with a token of an operator."""
    token = issue_operator_token(
        secret=JWT_SECRET,
        policy=world.policy,
        subject="ann@ops.example",
        role="operator",
        now=datetime.now(UTC),
        ttl=timedelta(hours=1),
    )
    return {"Authorization": f"Bearer {token}"}
