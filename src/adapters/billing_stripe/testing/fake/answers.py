"""Answers in Stripe's forms: errors of both generations, and pages of lists."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

_SHOWN = 10
"""How many members Stripe shows of a list: inside an object, and on a page nobody asked to be longer."""
_LONGEST_PAGE = 100

Json = dict[str, Any]


class StripeError(Exception):
    """An error answer, on its way out of a handler."""

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
    """No such object in the first generation's words: 404 for the object asked for, 400 for one merely mentioned."""
    status = 404 if param == "id" else 400
    return StripeError(status, f"No such {noun}: '{identifier}'", code="resource_missing", param=param)


def not_found() -> StripeError:
    """No such object in the second generation's words."""
    return StripeError(404, "Object not found.", type=None, code="not_found")


def unknown_address(request: web.Request) -> StripeError:
    """Nothing lives at this path."""
    return StripeError(404, f"Unrecognized request URL ({request.method}: {request.path}).")


def beginning(listed: Json) -> Json:
    """A list as it stands inside an object: its first members, and whether there are more."""
    data = listed["data"]
    return {**listed, "data": data[:_SHOWN], "has_more": listed["has_more"] or len(data) > _SHOWN}


def page(members: Sequence[Json], query: Mapping[str, str], url: str, noun: str) -> Json:
    """The part of a list that `limit` and `starting_after` ask for."""
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
