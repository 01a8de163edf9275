"""The metrics that an expression of Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?(\s*\()?")
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_DURATION = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_OPERATORS = frozenset({"and", "or", "unless", "bool"})


def selectors(expression: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each series that an expression selects, and the labels that it selects them by."""
    rest = _DURATION.sub(" ", _GROUPING.sub(" ", expression))
    for name, matchers, call in _SELECTOR.findall(rest):
        if not call and name not in _OPERATORS and not re.fullmatch(r"e\d+", name):
            yield name, _MATCHER.findall(matchers)
