"""The series that an expression of Prometheus reads, and those that a process exports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from billing_telemetry.declaring import Label
from billing_telemetry.reference import declared

_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?(\s*\()?")
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_DURATION = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_OPERATORS = frozenset({"and", "or", "unless", "bool"})
_OF_TARGETS = (Label("job", others="any"), Label("instance", others="any"))
_OF_LIBRARIES = ("up", "process_cpu_seconds_total", "process_resident_memory_bytes")
_BUCKET = Label("le", others="any")


def selectors(expression: str) -> Iterator[tuple[str, Mapping[str, Sequence[str]]]]:
    """Yield the name of each series that an expression selects, and the values that it selects by, by label."""
    rest = _DURATION.sub(" ", _GROUPING.sub(" ", expression))
    for name, matchers, call in _SELECTOR.findall(rest):
        if not call and name not in _OPERATORS:
            yield name, {label: value.split("|") for label, _, value in _MATCHER.findall(matchers)}


def exported() -> Mapping[str, Mapping[str, Label]]:
    """Return every series that a process exports by its name, with its labels by theirs."""
    series: dict[str, dict[str, Label]] = {name: {} for name in _OF_LIBRARIES}
    for metric in declared():
        labels = {label.name: label for label in metric.labels}
        if metric.kind == "histogram":
            counts = {f"{metric.name}_count": labels, f"{metric.name}_sum": labels}
            series |= counts | {f"{metric.name}_bucket": labels | {_BUCKET.name: _BUCKET}}
        else:
            series[metric.name] = labels
    return {name: labels | {label.name: label for label in _OF_TARGETS} for name, labels in series.items()}


def faults(expression: str, series: Mapping[str, Mapping[str, Label]]) -> Iterator[str]:
    """Yield what an expression selects by and no process exports: series, labels, and values of closed sets."""
    for name, matchers in selectors(expression):
        if name not in series:
            yield f"{name} does not exist"
            continue
        for label, values in matchers.items():
            known = series[name].get(label)
            if known is None:
                yield f"{name} has no label {label}"
            elif not known.others and (unknown := set(values) - set(known.values)):
                yield f"{name}: {label} is never {', '.join(unknown)}"
