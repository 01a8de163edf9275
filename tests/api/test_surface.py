"""The HTTP surface behaves as its OpenAPI document says, whatever a client sends.

schemathesis generates valid and invalid requests from the document, sends them to a running server, and checks every
response: status, headers, media type, schema, and that a route that needs a token refuses requests without one.
"""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.unit.http.conftest import World

from billing_app.http import openapi
from billing_app.http.operations.routes import ROUTES

TENANT = "acme"
"""The tenant of the example history."""
NOT_DECIDED_BY_SCHEMA = {
    "POST /webhooks/stripe",
    "GET /api/v1/billing/stream",
    *(f"{route.method} {route.path}" for route in ROUTES),
}
"""A schema cannot tell whether a signature, ticket, glob or change is valid, so these may refuse sound requests."""


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
    case.call_and_validate(base_url=world.url, headers=world.bearer(role="owner"), excluded_checks=excluded)
