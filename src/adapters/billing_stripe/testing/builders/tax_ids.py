"""Tax ids of customers."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import Json, seconds
from billing_stripe.testing.versions import Shape


def tax_id(source: objects.TaxId, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `tax_id` object that is verified at once."""
    rendered: Json = {
        "id": source.tax_id,
        "object": "tax_id",
        "country": source.type[:2].upper(),
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "livemode": False,
        "owner": {"customer": source.customer_id, "type": "customer"},
        "type": source.type,
        "value": source.value,
        "verification": {"status": "verified", "verified_address": None, "verified_name": None},
    }
    if Shape(api_version, transitional).customer_account:
        rendered["customer_account"] = None
        rendered["owner"]["customer_account"] = None
    return rendered
