"""Test clocks."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import Json, seconds


def test_clock(source: objects.TestClock, api_version: str) -> Json:
    """Render a `test_helpers.test_clock` object; it has the same shape in all versions."""
    advancing = source.target is not None
    details = {"advancing": {"target_frozen_time": seconds(source.target)}} if source.target is not None else {}
    return {
        "id": source.test_clock_id,
        "object": "test_helpers.test_clock",
        "created": seconds(source.created_at),
        "deletes_after": seconds(source.created_at) + 30 * 86400,
        "frozen_time": seconds(source.frozen_time),
        "livemode": False,
        "name": source.name,
        "status": "advancing" if advancing else source.status,
        "status_details": details,
    }


test_clock.__test__ = False  # type: ignore[attr-defined] # pytest collects functions with this name
