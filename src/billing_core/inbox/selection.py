"""Filters over stored events, as operators give them."""

import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from billing_core.events import Disposition
from billing_core.model import CustomerId, EventId, TenantId
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class EventFilter:
    """A filter over stored events. Conditions are combined with AND; an empty filter matches every event."""

    ids: tuple[EventId, ...] = ()
    types: tuple[str, ...] = ()
    """Globs of event types, combined with OR: `*` stands for any text, `?` for one character."""
    tenant_id: TenantId | None = None
    customer_id: CustomerId | None = None
    statuses: tuple[Disposition, ...] = ()
    reasons: tuple[str, ...] = ()
    since: datetime | None = attrs.field(default=None, validator=aware)
    """Received at this instant or later."""
    until: datetime | None = attrs.field(default=None, validator=aware)
    """Received before this instant."""

    def describe(self) -> Mapping[str, object]:
        """Return the given conditions as JSON values, for the audit log."""
        given = {
            "id": list(self.ids),
            "type": list(self.types),
            "tenant": self.tenant_id,
            "customer": self.customer_id,
            "status": [status.value for status in self.statuses],
            "reason": list(self.reasons),
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
        }
        return {name: value for name, value in given.items() if value}

    def matches_type(self, event_type: str) -> bool:
        """Tell whether one of the globs matches a type."""
        return not self.types or any(_as_pattern(glob).fullmatch(event_type) for glob in self.types)


def _as_pattern(glob: str) -> "re.Pattern[str]":
    pieces = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in glob)
    return re.compile("".join(pieces), re.DOTALL)
