"""Query parameters of the operator's API. Unknown ones are refused: a misspelled filter must not select everything."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

from multidict import MultiMapping

from billing_app.http.openapi_components import Json, parameter
from billing_app.http.operations.problems import Problem
from billing_app.settings.parsers import parse_moment
from billing_core.events import Disposition
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId, TenantId

LONGEST: Final = 255
"""Characters of a value."""
MOST: Final = 50
"""Values of one parameter that may be repeated."""
MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,18}").fullmatch

FILTER: Final = ("id", "type", "tenant", "customer", "status", "reason", "since", "until")
"""The parameters that select events."""

GROUPS: Final = ("status", "reason", "type", "hour")
"""The ways to group events: by status, by status with its reason, by type, or by the hour of receipt."""
Window = Literal["5m", "1h", "24h"]
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)


def _text(**more: Any) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": LONGEST, **more}


def _many(schema: Json) -> Json:
    return {"type": "array", "items": schema, "minItems": 1, "maxItems": MOST}


_MOMENT: Final = "as ISO 8601 (UTC without an offset), or as a duration before now: 30m, 2h, 3d."
PARAMETERS: Final[Mapping[str, Json]] = {
    each["name"]: each
    for each in (
        parameter("id", "query", "An id of Stripe's; may be repeated.", _many(_text())),
        parameter("type", "query", "A glob of event types, such as `invoice.*`; may be repeated.", _many(_text())),
        parameter("tenant", "query", "Those of this tenant.", _text()),
        parameter("customer", "query", "Those of this customer, including waiting ones.", _text()),
        parameter(
            "status",
            "query",
            "A status; may be repeated.",
            _many({"type": "string", "enum": [each.value for each in Disposition]}),
        ),
        parameter("reason", "query", "A reason of the status; may be repeated.", _many(_text())),
        parameter("since", "query", f"Received then or later, {_MOMENT}", _text()),
        parameter("until", "query", f"Received before then, {_MOMENT}", _text()),
        parameter("by", "query", "What they are grouped by.", {"type": "string", "enum": list(GROUPS)}),
        parameter("window", "query", "How far back.", {"type": "string", "enum": list(WINDOWS), "default": "1h"}),
        parameter("action", "query", "Only entries of this action.", _text()),
        parameter("actor", "query", "Only entries of this operator.", _text()),
        parameter("about", "query", "A customer, a subscription or a tenant.", _text()),
        parameter("search", "query", "Begins the id of a tenant or a customer.", _text()),
        parameter("after", "query", "The page starts after this id.", _text()),
        parameter("linked", "query", "Whether they have a tenant.", {"type": "string", "enum": ["true", "false"]}),
        parameter(
            "before",
            "query",
            "The page goes on below this number.",
            {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        ),
        parameter(
            "limit",
            "query",
            "The maximum number of entries.",
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
    )
}


class Query:
    """The parameters of one request. Reading one raises Problem (400) if its value cannot be used."""

    def __init__(self, given: MultiMapping[str], allowed: tuple[str, ...], now: datetime) -> None:
        self._given = given
        self._now = now
        if unknown := sorted({name for name in given if name not in allowed}):
            known = ", ".join(allowed) or "none"
            raise _bad(f"Unknown query parameters {', '.join(name[:40] for name in unknown)}. Known are: {known}.")

    def text(self, name: str) -> str | None:
        """Return the only value of a parameter; None if it is not given."""
        found = self.texts(name)
        if len(found) > 1:
            raise _bad(f"{name} may be given once.")
        return found[0] if found else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return all values of a parameter."""
        found = tuple(self._given.getall(name, []))
        if len(found) > MOST or not all(0 < len(each) <= LONGEST for each in found):
            raise _bad(f"{name} takes at most {MOST} values of 1 to {LONGEST} characters.")
        return found

    def words(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """Return values of a closed list."""
        found = self.texts(name)
        if not set(found) <= set(allowed):
            raise _bad(f"{name} must be one of {', '.join(allowed)}.")
        return found

    def word(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """Return the only value of a parameter with a closed list."""
        self.text(name)
        return next(iter(self.words(name, allowed)), default)

    def moment(self, name: str) -> datetime | None:
        """Return an instant."""
        text = self.text(name)
        instant = None if text is None else parse_moment(text, self._now)
        if text is not None and instant is None:
            raise _bad(f"{name} must be a moment, such as 2026-03-01T12:00Z, or a duration before now, such as 2h.")
        return instant

    def number(self, name: str) -> int | None:
        """Return a positive whole number."""
        text = self.text(name)
        if text is None:
            return None
        if not _WHOLE_NUMBER(text) or int(text) < 1:
            raise _bad(f"{name} must be a whole number above 0.")
        return int(text)

    @property
    def limit(self) -> int:
        """The size of a page."""
        limit = self.number("limit") or DEFAULT_LIMIT
        if limit > MAX_LIMIT:
            raise _bad(f"limit must be between 1 and {MAX_LIMIT}.")
        return limit

    @property
    def event_filter(self) -> EventFilter:
        """The conditions on events."""
        tenant, customer = self.text("tenant"), self.text("customer")
        return EventFilter(
            ids=tuple(map(EventId, self.texts("id"))),
            types=self.texts("type"),
            tenant_id=None if tenant is None else TenantId(tenant),
            customer_id=None if customer is None else CustomerId(customer),
            statuses=tuple(map(Disposition, self.words("status", tuple(each.value for each in Disposition)))),
            reasons=self.texts("reason"),
            since=self.moment("since"),
            until=self.moment("until"),
        )


def _bad(detail: str) -> Problem:
    return Problem(400, "bad_parameter", detail)
