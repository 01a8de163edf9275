"""Instants are aware datetimes in UTC; periods are half-open."""

from datetime import UTC, datetime
from typing import Any

import attrs

from billing_core.frozen import frozen


def aware(_instance: object, attribute: "attrs.Attribute[Any]", value: datetime | None) -> None:
    """Validator: refuse naive datetimes, which a database would read in the machine's own zone."""
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{attribute.name} must be an aware datetime, got {value!r}")


def from_timestamp(seconds: float) -> datetime:
    """Return the instant of a Unix timestamp, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


@frozen(kw_only=True)
class Period:
    """A span of time, `[start, end)`. May be empty: a provider's first invoice has one of no length."""

    start: datetime = attrs.field(validator=aware)
    end: datetime = attrs.field(validator=aware)

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def start_of(period: Period | None) -> datetime | None:
    """Return the start of a period, if there is one."""
    return None if period is None else period.start


def end_of(period: Period | None) -> datetime | None:
    """Return the end of a period, if there is one."""
    return None if period is None else period.end
