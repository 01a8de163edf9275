"""One reading of JSON, whichever parser is installed.

The standard library's parser defines what is accepted; orjson, when it is there, is its fast path and may not decide by
itself to refuse: it rejects lone surrogates, which Stripe's customers can type, and numbers beyond a double. Integers
beyond 64 bits come as `float` from one and as `int` from the other; readers take neither for an integer.
"""

import json
from collections.abc import Callable
from typing import NoReturn

MAX_NESTING = 100
"""Fully expanded objects nest a dozen levels. A fixed limit gives every body one verdict: the parsers' own limits
depend on the Python version and on how deep the caller already is."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_slowly(body: bytes) -> object:
    """Decoding first refuses UTF-16 and encoded surrogates, which `json.loads` lets pass when given bytes."""
    return json.loads(body.decode(), parse_constant=_refuse_constant)


_parse_fast: Callable[[bytes], object] | None
try:
    import orjson
except ImportError:
    _parse_fast = None
else:
    _parse_fast = orjson.loads


def parse_json(body: bytes, *, fast: Callable[[bytes], object] | None = _parse_fast) -> object:
    """The value of a JSON text in UTF-8; of a repeated key the last one counts. Raises ValueError, nothing else.

    Args:
        body: the text.
        fast: a parser that is asked first; None asks the standard library alone.
    """
    try:
        value = _parse(body, fast)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if _nests_deeper(value, MAX_NESTING, containers=_brackets(body)):
        raise ValueError("nested too deeply")
    return value


def _parse(body: bytes, fast: Callable[[bytes], object] | None) -> object:
    if fast is not None:
        try:
            return fast(body)
        except ValueError:
            pass  # not a verdict yet
    return _parse_slowly(body)


def _brackets(body: bytes) -> int:
    """How many containers there can be, at most. Deleting them is three times as fast as `count`."""
    return 2 * len(body) - len(body.replace(b"{", b"")) - len(body.replace(b"[", b""))


def _nests_deeper(value: object, limit: int, *, containers: int) -> bool:
    """Whether containers nest more than `limit` levels: level by level, since recursion is what this guards against.

    Args:
        value: what was parsed.
        limit: the levels that are allowed.
        containers: how many there are, at most. Those that are left are as deep as they can be when each holds the
            next one, so few of an ordinary body's are looked at.
    """
    level = [value]
    depth = 0
    while depth + containers > limit:
        nodes = [node for node in level if isinstance(node, (dict, list))]
        if not nodes:
            return False
        depth += 1
        if depth > limit:
            return True
        containers -= len(nodes)
        level = [child for node in nodes for child in (node.values() if isinstance(node, dict) else node)]
    return False
