"""Responses in Stripe's form: errors of both API generations, and pages of lists."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

_SHOWN = 10
"""Members of a list inside an object, and of a page without `limit`."""
_LONGEST_PAGE = 100

Json = dict[str, Any]


class StripeError(Exception):
    """An error response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        notified = {"code": code, "message": message, "param": param, "type": type}
        self.body: Json = {"error": {key: value for key, value in notified.items() if value is not None}}


def missing(noun: str, identifier: str, param: str = "id") -> StripeError:
    """Return the first generation's error for a missing object: 404 in the path, 400 in a parameter."""
    status = 404 if param == "id" else 400
    return StripeError(status, f"No such {noun}: '{identifier}'", code="resource_missing", param=param)


def not_found() -> StripeError:
    """Return the second generation's error for a missing object."""
    return StripeError(404, "Object not found.", type=None, code="not_found")


def unknown_address(request: web.Request) -> StripeError:
    """Return the error for an unknown path."""
    return StripeError(404, f"Unrecognized request URL ({request.method}: {request.path}).")


def beginning(listed: Json) -> Json:
    """Return a list as it appears inside an object: its first members, and whether there are more."""
    data = listed["data"]
    return {**listed, "data": data[:_SHOWN], "has_more": listed["has_more"] or len(data) > _SHOWN}


def page(members: Sequence[Json], query: Mapping[str, str], url: str, noun: str) -> Json:
    """Return the page that `limit` and `starting_after` select."""
    try:
        limit = int(query.get("limit", _SHOWN))
    except ValueError:
        raise StripeError(400, f"Invalid integer: {query['limit']}", param="limit") from None
    if not 1 <= limit <= _LONGEST_PAGE:
        raise StripeError(400, "This value must be between 1 and 100.", param="limit")
    start = _position(members, query["starting_after"], noun) + 1 if "starting_after" in query else 0
    shown = list(members[start : start + limit])
    return {"object": "list", "data": shown, "has_more": start + limit < len(members), "url": url}


def _position(members: Sequence[Json], cursor: str, noun: str) -> int:
    for position, member in enumerate(members):
        if member["id"] == cursor:
            return position
    raise missing(noun, cursor, "starting_after")
