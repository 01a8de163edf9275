"""A histogram that is cheap enough to observe every event with."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class _Counts:
    """The observations with one label value, by bucket."""

    __slots__ = ("buckets", "total")

    def __init__(self, buckets: int) -> None:
        self.buckets = [0] * buckets
        self.total = 0.0


class Histogram(Collector):
    """Counts observations by bucket, without the locks of the library's: only the event loop observes.

    A scrape from another thread may see an observation in its bucket and not yet in the sum.
    """

    def __init__(
        self, name: str, help_: str, bounds: Sequence[float], *, label: str | None = None, values: Iterable[str] = ()
    ) -> None:
        """Count in buckets up to each of `bounds` and above; by `label`, which begins with these values at zero."""
        self._name, self._help = name, help_
        self._bounds = tuple(map(float, bounds))
        self._label = label
        self._counts = {value: self._empty() for value in (values if label is not None else ("",))}

    def observe(self, amount: float, value: str = "", *, times: int = 1) -> None:
        """Count `amount`, of the label `value` if there is a label, as often as it occurred."""
        counts = self._counts.get(value)
        if counts is None:
            counts = self._counts[value] = self._empty()
        counts.buckets[bisect_left(self._bounds, amount)] += times
        counts.total += amount * times

    def counts(self, value: str = "") -> Sequence[int]:
        """Return how many observations each bucket has; the last one is above all bounds."""
        return tuple(self._counts[value].buckets)

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return the family alone: the registry checks its names."""
        return [self._family()]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return all observations, with cumulative buckets as the format wants them."""
        family = self._family()
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for value, counts in list(self._counts.items()):
            cumulative = accumulate(counts.buckets)
            labels = () if self._label is None else (value,)
            family.add_metric(labels, list(zip(names, map(float, cumulative), strict=True)), counts.total)
        return [family]

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._help, labels=() if self._label is None else (self._label,))

    def _empty(self) -> _Counts:
        return _Counts(len(self._bounds) + 1)
