"""The bodies of answers to operations."""

from datetime import datetime
from typing import Literal

import attrs

from billing_core.operations.plans import PlanOffer
from billing_core.operations.results import CustomerPaymentMethod, InvoicePreview
from billing_core.operations.runner import OperationOutcome


@attrs.frozen(kw_only=True)
class OperationAnswer:
    """An operation that was carried out."""

    operation_id: int
    status: Literal["done", "pending", "requires_action"]
    """`pending`: accepted, takes effect later. `requires_action`: the customer has to confirm something first."""
    object_id: str | None
    object_status: str | None
    effective_at: datetime | None
    expires_at: datetime | None
    confirms: Literal["payment", "setup"] | None
    client_secret: str | None = attrs.field(repr=False)
    url: str | None = attrs.field(repr=False)
    repeated: bool
    """It was done before, under the same Idempotency-Key: this request did nothing."""


def operation_answer(outcome: OperationOutcome) -> OperationAnswer:
    """Return the answer to a request for an operation."""
    result = outcome.result
    return OperationAnswer(
        operation_id=outcome.operation_id,
        status=result.status,
        object_id=result.object_id,
        object_status=result.object_status,
        effective_at=result.effective_at,
        expires_at=result.expires_at,
        confirms=result.confirms,
        client_secret=result.client_secret,
        url=result.url,
        repeated=outcome.repeated,
    )


@attrs.frozen(kw_only=True)
class PlansAnswer:
    """The plans that are sold."""

    plans: tuple[PlanOffer, ...]


@attrs.frozen(kw_only=True)
class PaymentMethodsAnswer:
    """The payment methods of a tenant, the default one first."""

    payment_methods: tuple[CustomerPaymentMethod, ...]


@attrs.frozen(kw_only=True)
class UpcomingAnswer:
    """The next invoice of a subscription."""

    invoice: InvoicePreview | None
    """Null if none follows, since the subscription ends."""


@attrs.frozen(kw_only=True)
class LinkAnswer:
    """A link that is valid for a short time."""

    url: str
