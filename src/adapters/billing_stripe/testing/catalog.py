"""Products, rendered as Stripe's JSON objects. Their prices are in `builders`."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders import Json, seconds


def product(source: objects.Product, api_version: str) -> Json:
    """Render a `product` object; versions differ only in a list that 2024-04-10 renamed."""
    features = "marketing_features" if api_version >= "2024-04-10" else "features"
    return {
        "id": source.product_id,
        "object": "product",
        "active": source.active,
        "created": seconds(source.created_at),
        "default_price": source.default_price_id,
        "description": source.description,
        "images": [],
        "livemode": False,
        features: [],
        "metadata": dict(source.metadata),
        "name": source.name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": source.unit_label,
        "updated": seconds(source.updated_at),
        "url": None,
    }
