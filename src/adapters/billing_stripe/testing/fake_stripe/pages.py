"""Pages of lists."""

from collections.abc import Callable, Sequence
from typing import Any

from billing_stripe.testing.fake_stripe.errors import Json, invalid, missing
from billing_stripe.testing.fake_stripe.forms import Params
from billing_stripe.testing.fake_stripe.kinds import SHOWN

LONGEST = 100


def page(members: Sequence[Any], paging: Params, identify: Callable[[Any], str], noun: str) -> tuple[list[Any], bool]:
    """Return the page that `limit`, `starting_after` and `ending_before` select, and whether there is more beyond it.

    Raises: StripeError for a bad limit, for two cursors, and for a cursor that is no member.
    """
    limit = paging.get("limit", SHOWN)
    if not 1 <= limit <= LONGEST:
        code = "parameter_invalid_integer"
        raise invalid(f"This value must be between 1 and {LONGEST}.", param="limit", code=code)
    after, before = paging.get("starting_after"), paging.get("ending_before")
    if after is not None and before is not None:
        raise invalid("You cannot parameterize with both starting_after and ending_before.", param="ending_before")
    keys = [identify(member) for member in members]
    if before is not None:
        end = _position(keys, before, noun, "ending_before")
        start = max(0, end - limit)
        return list(members[start:end]), start > 0
    start = 0 if after is None else _position(keys, after, noun, "starting_after") + 1
    return list(members[start : start + limit]), start + limit < len(keys)


def listed(data: list[Json], *, more: bool, url: str) -> Json:
    """Return a page in Stripe's form."""
    return {"object": "list", "data": data, "has_more": more, "url": url}


def _position(keys: Sequence[str], cursor: str, noun: str, param: str) -> int:
    try:
        return keys.index(cursor)
    except ValueError:
        raise missing(noun, cursor, param) from None
