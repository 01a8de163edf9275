"""The HTTP surface does what its OpenAPI document says, for whatever a client sends.

schemathesis makes requests from the document, good and bad ones, sends them to a running server, and holds every answer
against it: status, headers, media type, schema, and whether what needs a token is refused without one.
"""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.unit.http.conftest import World

from billing_app.http import openapi

TENANT = "acme"
"""The one of the story that has been told."""
NO_SCHEMA_KNOWS = {"POST /webhooks/stripe", "GET /api/v1/billing/stream"}
"""Whether a signature is right, a ticket is real, or a glob means any type: these may refuse what looks good."""


surface = schemathesis.openapi.from_dict(
    openapi.document(),
    config=schemathesis.Config.from_dict(
        {
            "parameters": {"path.tenant_id": TENANT, "header.X-Tenant-Id": TENANT},
            "generation": {"allow-extra-parameters": False},  # as everywhere on the web, they are ignored
        }
    ),
)


@surface.parametrize()
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case, world: World) -> None:
    """For requests that the document allows and for those that it does not."""
    of_no_use = [positive_data_acceptance] if case.operation.label in NO_SCHEMA_KNOWS else []
    case.call_and_validate(base_url=world.url, headers=world.bearer(), excluded_checks=of_no_use)
