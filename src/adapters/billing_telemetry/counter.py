"""A counter that is cheap enough to count every event with."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Count:
    """The number counted with one combination of label values."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self.total += amount


class Counter(Collector):
    """Counts by label values, without the locks of the library's: only the event loop counts."""

    def __init__(self, name: str, help_: str, labels: Sequence[str] = ()) -> None:
        self._name, self._help = name, help_
        self._labels = tuple(labels)
        self._counts: dict[tuple[str, ...], Count] = {}

    def __call__(self, *values: str) -> Count:
        """Return the count with these label values; it begins at zero."""
        count = self._counts.get(values)
        if count is None:
            count = self._counts[values] = Count()
        return count

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Return the family alone: the registry checks its names."""
        return [self._family()]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return all counts."""
        family = self._family()
        for values, count in list(self._counts.items()):
            family.add_metric(values, count.total)
        return [family]

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._help, labels=self._labels)
