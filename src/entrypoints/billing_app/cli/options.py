"""Durations and moments as values of options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from billing_app.settings.parsers import parse_duration


def parse_moment(text: str, now: datetime) -> datetime | None:
    """Parse a duration before `now` or an ISO 8601 date (UTC unless it has an offset); None if it is neither."""
    try:
        if (duration := parse_duration(text)) is not None:
            return now - duration
        instant = datetime.fromisoformat(text.strip())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment_option(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """Parse the value of an option that takes a moment."""
    moment = None if text is None else parse_moment(text, datetime.now(UTC))
    if text is not None and moment is None:
        raise click.BadParameter(
            f"{text!r} is neither a duration before now (30m, 2h, 3d) nor a date (2026-03-01T12:00)"
        )
    return moment


def duration_option(_ctx: click.Context, _param: click.Parameter, text: str | None) -> timedelta | None:
    """Parse the value of an option that takes a duration."""
    found = None if text is None else parse_duration(text)
    if text is not None and found is None:
        raise click.BadParameter(f"{text!r} is not a duration: a number and s, m, h, d or w, such as 90d")
    return found
