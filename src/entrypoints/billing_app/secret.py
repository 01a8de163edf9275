"""A value that must not appear in logs, tracebacks or error texts."""

from __future__ import annotations

import re

import attrs

_KNOWN_PREFIX = re.compile(r"(?:whsec|(?:sk|rk|pk)_(?:test|live))_")
_HOST_AND_PATH = re.compile(r"(?:\[[0-9a-fA-F:.]*\]|[^:/#\[\]]*)(?::\d+)?(?:/[^#]*)?")
_LONG_ENOUGH_FOR_A_TAIL = 16
"""Below this many secret characters the last four would give too much away."""


@attrs.frozen(repr=False, order=False)
class Secret:
    """A string that shows only its public prefix and its last four characters: `whsec_…abcd`.

    A URL shows everything but its password and its query. `reveal()` is the one way to the whole value, so that every
    place that uses a secret can be found by that name.
    """

    _value: str

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return _mask_url(self._value) if "://" in self._value else _mask(self._value)

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"


def _mask(value: str) -> str:
    known = _KNOWN_PREFIX.match(value)
    prefix = known.group() if known else ""
    hidden = value[len(prefix) :]
    return f"{prefix}…{hidden[-4:] if len(hidden) >= _LONG_ENOUGH_FOR_A_TAIL else ''}"


def _mask_url(value: str) -> str:
    """Keep scheme, user, host and path. What does not look like them, and a query (it may say `password=`), is hidden.

    Cut by hand rather than by urlsplit: an unquoted `#` or `/` in a password would make that take it for host or path.
    """
    scheme, _, rest = value.partition("://")
    userinfo, at, location = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    place, query, _ = location.partition("?")
    if not _HOST_AND_PATH.fullmatch(place):
        place = "…"
    return f"{scheme}://{user}{':…' if colon else ''}{at}{place}{'?…' if query else ''}"
