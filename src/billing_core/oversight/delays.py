"""Delays between the stages of an event, as histograms. Pure.

Each process counts its own. Histograms of several processes can be added up; their percentiles cannot.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final, Literal

import attrs

from billing_core.model.time import aware

MeasuredStage = Literal["stored", "applied", "published", "delivered"]
"""The stage that a delay ends with. It begins with the verified signature, the receipt, the commit of the message, or
its arrival at the bus."""

DELAY_BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
"""Upper bounds of the buckets in seconds, finest where a change is still on time; one more bucket is above them."""

DELAYS_KEPT: Final = timedelta(hours=25)
"""How long delays stay in a tally: for the longest window that is shown, and the minute in which it begins."""


@attrs.frozen(kw_only=True)
class DelayCount:
    """The delays of one minute and stage that fell into one bucket."""

    minute: datetime = attrs.field(validator=aware)
    """Its beginning."""
    stage: MeasuredStage
    bound: float
    """The upper bound of the bucket in seconds; infinite for the last one."""
    count: int


Histogram = Mapping[float, int]
"""How many delays fell into each bucket, by its upper bound in seconds. Buckets without any may be left out."""


def percentile(histogram: Histogram, fraction: float) -> timedelta | None:
    """Return a percentile, interpolated within its bucket; None without delays.

    The last bucket has no upper end: its lower one stands for it. Source:
    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
    """
    counts = sorted((bound, count) for bound, count in histogram.items() if count)
    if not counts:
        return None
    sums = list(accumulate(count for _, count in counts))
    rank = fraction * sums[-1]
    place = next(place for place, reached in enumerate(sums) if reached >= rank)
    bound, count = counts[place]
    below = max((each for each in DELAY_BOUNDS if each < bound), default=0.0)
    if bound == float("inf"):
        return timedelta(seconds=below)
    return timedelta(seconds=below + (bound - below) * (rank - (sums[place] - count)) / count)


def added(counted: Iterable[DelayCount]) -> Mapping[MeasuredStage, Histogram]:
    """Return the histogram of each stage that has any delays."""
    sums: dict[MeasuredStage, dict[float, int]] = {}
    for each in counted:
        histogram = sums.setdefault(each.stage, {})
        histogram[each.bound] = histogram.get(each.bound, 0) + each.count
    return sums
