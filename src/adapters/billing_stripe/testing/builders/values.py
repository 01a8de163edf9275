"""Values that objects of all kinds hold, and what an update says of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Json = dict[str, Any]


def previous_attributes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """Return `data.previous_attributes` of an update: the old values of changed fields, in the objects' own shape.

    Objects are reduced to their changed members, lists are complete, and a new member was null before.
    """
    changed: Json = {}
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changed[key] = previous_attributes(old, new)
        else:
            changed[key] = old
    return changed


def json_list(data: Iterable[Json], url: str, *, has_more: bool = False) -> Json:
    """Render a list that begins with these members."""
    members = list(data)
    return {"object": "list", "data": members, "has_more": has_more, "total_count": len(members), "url": url}


def derived(prefix: str, identifier: str) -> str:
    """Derive the id of an object that the source does not name."""
    return f"{prefix}_{identifier.rpartition('_')[2]}"


def billing_details() -> Json:
    """Return the address and contact of a payment method or a charge, all unknown."""
    return {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}


def short(identifier: str) -> str:
    """Derive a short upper-case code from an id."""
    return identifier.rpartition("_")[2][-8:].upper()


def seconds(instant: datetime) -> int:
    """Return the Unix time. Raises ValueError for a naive datetime, which would be read in the machine's time zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone")
    return int(instant.timestamp())


def optional_seconds(instant: datetime | None) -> int | None:
    """Return the Unix time of an instant, if there is one."""
    return None if instant is None else seconds(instant)
