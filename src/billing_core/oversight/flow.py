"""Measures of the flow of events over a time, for charts and headlines. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from billing_core.model.time import aware

MEASURED: Final = 10_000
"""The latest events whose delays are measured."""


@attrs.frozen(kw_only=True)
class FlowStep:
    """The events of one step of time."""

    at: datetime = attrs.field(validator=aware)
    """Its beginning."""
    stored: int = 0
    """Events received in it."""
    applied: int = 0
    """Events applied in it; so are those below."""
    ignored: int = 0
    dead: int = 0
    messages: int = 0
    """Messages that these events caused."""

    @property
    def ended(self) -> int:
        """Events that need nothing more."""
        return self.applied + self.ignored


@attrs.frozen(kw_only=True)
class FlowDelays:
    """Delays of events before their receipt: the median and the 95th percentile, None if there are none."""

    sent: tuple[timedelta, timedelta] | None = None
    """From the provider's own time of the event to its receipt. The provider counts whole seconds."""
    duplicates: int = 0
    """How many times these events were delivered again."""


def in_steps(
    counted: Mapping[datetime, FlowStep], *, since: datetime, until: datetime, step: timedelta
) -> Sequence[FlowStep]:
    """Return one entry for every step that begins in `[since, until)`, with zeros where nothing was counted."""
    starts = (since + step * number for number in range(-((since - until) // step)))
    return [counted.get(start, FlowStep(at=start)) for start in starts]


def median_and_p95(delays: Sequence[timedelta]) -> tuple[timedelta, timedelta] | None:
    """Return two percentiles, interpolated as `percentile_cont` of SQL does."""
    if not delays:
        return None
    ordered = sorted(delays)
    return _percentile(ordered, 0.5), _percentile(ordered, 0.95)


def _percentile(ordered: Sequence[timedelta], fraction: float) -> timedelta:
    place = fraction * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
