"""Declarations of metrics: each is registered and described in one place, and its closed label values begin at zero.

A counter that appears with its first increment has no increase that a query could see, so every value that is known
beforehand has a series from the start.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import product
from typing import Final, Literal

import attrs
from prometheus_client import CollectorRegistry, Gauge

from billing_telemetry.counter import Count, Counter
from billing_telemetry.histogram import Histogram

LATENCY: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Seconds from quick to a backlog, which is the interesting case."""

Kind = Literal["counter", "gauge", "histogram"]


@attrs.frozen
class Label:
    """One label of a metric."""

    name: str
    values: Sequence[str] = ()
    """The values that are known beforehand; all of them begin at zero unless the declaration says otherwise."""
    others: str = ""
    """The further values, in words; empty for a closed set."""


@attrs.frozen(kw_only=True)
class Declared:
    """One metric, as the reference describes it."""

    name: str
    kind: Kind
    help: str
    labels: Sequence[Label] = ()
    of_database: bool = False
    """Measured in the database, so that every process that measures it has the same value."""


class Gauges:
    """The children of one gauge by their label values. A lookup here costs a fraction of the library's."""

    def __init__(self, parent: Gauge) -> None:
        self._parent = parent
        self._children: dict[tuple[str, ...], Gauge] = {}

    def __call__(self, *values: str) -> Gauge:
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._parent.labels(*values)
        return child

    def forget(self) -> None:
        """Remove all children."""
        self._parent.clear()
        self._children.clear()


class Bounded:
    """A label whose values are limited: the known ones, and the first `room` others."""

    def __init__(self, known: Collection[str] = (), *, room: int = 0) -> None:
        self._known = set(known)
        self._most = len(self._known) + room

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) < self._most:
            self._known.add(value)
            return value
        return "other"


class Declarations:
    """The metrics of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.declared: list[Declared] = []

    def counter(
        self, name: str, help_: str, *labels: Label, born: Collection[tuple[str, ...]] | None = None
    ) -> Counter:
        """Declare a counter. `born` are the label values that begin at zero, in place of all known combinations."""
        self._declare("counter", name, help_, labels)
        counter = Counter(name, help_, [label.name for label in labels])
        for values in _known(labels) if born is None else born:
            counter(*values)
        self.registry.register(counter)
        return counter

    def gauge(self, name: str, help_: str, *labels: Label, of_database: bool = False) -> Gauges:
        """Declare a gauge with labels."""
        self._declare("gauge", name, help_, labels, of_database=of_database)
        gauges = Gauges(Gauge(name, help_, [label.name for label in labels], registry=self.registry))
        for values in _known(labels):
            gauges(*values)
        return gauges

    def value(self, name: str, help_: str, *, of_database: bool = False) -> Gauge:
        """Declare a gauge without labels."""
        self._declare("gauge", name, help_, of_database=of_database)
        return Gauge(name, help_, registry=self.registry)

    def read(self, name: str, help_: str, current: Callable[[], float]) -> None:
        """Declare a gauge without labels that is read when it is scraped: setting one takes a lock."""
        self.value(name, help_).set_function(current)

    def total(self, name: str, help_: str) -> Count:
        """Declare a counter without labels."""
        return self.counter(name, help_)()

    def histogram(self, name: str, help_: str, *labels: Label, buckets: Sequence[float] = LATENCY) -> Histogram:
        """Declare a histogram with at most one label, whose known values begin at zero."""
        self._declare("histogram", name, help_, labels)
        values = [value for label in labels for value in label.values]
        histogram = Histogram(name, help_, buckets, label=labels[0].name if labels else None, values=values)
        self.registry.register(histogram)
        return histogram

    def _declare(
        self, kind: Kind, name: str, help_: str, labels: Sequence[Label] = (), *, of_database: bool = False
    ) -> None:
        self.declared.append(Declared(name=name, kind=kind, help=help_, labels=labels, of_database=of_database))


def _known(labels: Sequence[Label]) -> Iterable[tuple[str, ...]]:
    """Return all combinations of the values that are known beforehand."""
    return product(*(label.values for label in labels))
