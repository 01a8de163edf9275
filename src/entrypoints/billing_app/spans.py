"""Lengths of time as operators read them."""

from datetime import timedelta


def span(length: timedelta) -> str:
    """Format a length of time in its largest unit, rounded down: `3 d`, `5 h`, `12 min` or `40 s`."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
