"""Values that must not appear in logs, tracebacks or error texts."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import parse_qsl, unquote

_KNOWN_PREFIX = re.compile(r"(?:whsec|(?:sk|rk|pk)_(?:org_)?(?:test|live))_")
_KEY = re.compile(rf"{_KNOWN_PREFIX.pattern}[\w+/=-]+")
_URL_WITH_USER = re.compile(r"(\w+)://\S*@\S*")
_HOST_AND_PATH = re.compile(r"(?:\[[0-9a-fA-F:.]*\]|[^:/#\[\]]*)(?::\d{1,5})?(?:/[^#]*)?")
_LONG_ENOUGH_FOR_A_TAIL = 16
"""Fewer secret characters than this, and the last four would reveal too much."""


class Secret:
    """A string that shows only its public prefix and its last four characters: `whsec_…abcd`.

    A URL shows everything but its password and its query. Only `reveal()` returns the whole value, so that every use of
    a secret can be found by that name. Not an attrs class, because `attrs.asdict` would expose the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def reveal(self) -> str:
        return self._value

    def hidden(self) -> tuple[str, ...]:
        """Return the texts that must not be shown: the value, or of a URL its password and the values of its query."""
        if "://" not in self._value:
            return (self._value,)
        userinfo, at, location = self._value.partition("://")[2].rpartition("@")
        password = userinfo.partition(":")[2] if at else ""
        values = [value for _, value in parse_qsl(location.partition("?")[2])]
        return tuple(filter(None, (password, unquote(password), *values)))

    def fingerprint(self) -> str:
        """Return eight hexadecimal digits that tell secrets apart, for labels.

        Not characters of the secret itself, because metrics are read by more people than logs.
        """
        return hashlib.sha256(b"billing secret\0" + self._value.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        return _mask_url(self._value) if "://" in self._value else _mask(self._value)

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"


def mask_unparsed(value: str) -> str:
    """Mask a refused value. Of a URL only the scheme remains, since its apparent host may be the password."""
    scheme, separator, _ = value.partition("://")
    return f"{scheme}://…" if separator and scheme.isalpha() else _mask(value)


def mask_inside(text: str) -> str:
    """Mask everything in a text that looks like a key, a signing secret or a URL with a password."""
    return _KEY.sub(lambda found: _mask(found[0]), _URL_WITH_USER.sub(r"\1://…", text))


def _mask(value: str) -> str:
    known = _KNOWN_PREFIX.match(value)
    prefix = known.group() if known else ""
    hidden = value[len(prefix) :]
    return f"{prefix}…{hidden[-4:] if len(hidden) >= _LONG_ENOUGH_FOR_A_TAIL else ''}"


def _mask_url(value: str) -> str:
    """Keep scheme, user, host and path; hide everything else, including the query, which may contain `password=`.

    Not split by urlsplit, which takes an unquoted `#` or `/` in a password for the end of the host.
    """
    scheme, _, rest = value.partition("://")
    userinfo, at, location = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    place, query, _ = location.partition("?")
    if not _HOST_AND_PATH.fullmatch(place):
        place = "…"
    return f"{scheme}://{user}{':…' if colon else ''}{at}{place}{'?…' if query else ''}"
