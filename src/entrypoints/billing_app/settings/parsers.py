"""Parsers of environment variables; each one can describe what it expects."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import attrs

from billing_app.secret import Secret
from billing_app.troubleshooting import Trouble

T = TypeVar("T")

_DURATION: Final = re.compile(r"([0-9]{1,7})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TRUE = frozenset({"1", "true", "yes", "on"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_FALSE = frozenset({"0", "false", "no", "off"})


def parse_duration(text: str) -> timedelta | None:
    """Parse a duration such as `90s`, `15m`, `2h`, `3d` or `1w`; None if it is not one."""
    found = _DURATION.fullmatch(text.strip())
    return None if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})


def parse_moment(text: str, now: datetime) -> datetime | None:
    """Parse a duration before `now` or an ISO 8601 date (UTC unless it has an offset); None if it is neither."""
    try:
        if (duration := parse_duration(text)) is not None:
            return now - duration
        instant = datetime.fromisoformat(text.strip())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class UnusableValueError(ValueError):
    """A value is unusable for a reason beyond `Parser.expects`. The reason never repeats a secret.

    Args:
        reason: the end of a sentence about the value.
        trouble: the row of the troubleshooting matrix, if it is not the one of the setting.
    """

    def __init__(self, reason: str, trouble: Trouble | None = None) -> None:
        super().__init__(reason)
        self.trouble = trouble


class UnusablePartsError(ValueError):
    """Several parts of a value are unusable, each for a reason of its own, which never repeats a secret."""

    def __init__(self, parts: Sequence[UnusableValueError]) -> None:
        super().__init__("; ".join(map(str, parts)))
        self.parts = parts


@attrs.frozen
class Parser(Generic[T]):
    """A description of the accepted text, and the function that parses it.

    `parse` gets stripped, non-empty text and raises ValueError, or UnusableValueError with a reason to show, or
    UnusablePartsError with several. The message of any other ValueError is never shown: Python's messages repeat the
    value, which may be a secret.
    """

    expects: str
    parse: Callable[[str], T]


def one_of(*words: str) -> Parser[str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Parser(f"one of {', '.join(words)}", parse)


def matching(pattern: str, expects: str) -> Parser[str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError
        return text

    return Parser(expects, parse)


def whole_number(minimum: int, maximum: int) -> Parser[int]:
    def parse(text: str) -> int:
        number = int(text)
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    return Parser(f"a whole number from {minimum} to {maximum}", parse)


def duration(unit: str, minimum: float, maximum: float) -> Parser[timedelta]:
    """Parse a number, fractions included, in `unit`, a keyword of `timedelta`."""

    def parse(text: str) -> timedelta:
        number = float(text)
        if not (math.isfinite(number) and minimum <= number <= maximum):
            raise ValueError
        return timedelta(**{unit: number})

    return Parser(f"a number of {unit} from {minimum:.10g} to {maximum:.10g}", parse)


def url(*schemes: str, example: str) -> Parser[str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise UnusableValueError(f"the scheme must be {' or '.join(schemes)}")
        if not (parts.netloc or parts.path.strip("/")):
            raise UnusableValueError("the host is missing")
        # urlsplit checks the port only when it is read.
        if parts.port == 0:
            raise UnusableValueError("the port must not be 0")
        return text

    return Parser(f"a URL like {example}", parse)


def _secure_url(text: str) -> str:
    parts = urlsplit(url("http", "https", example="").parse(text))
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise UnusableValueError("http is allowed for this machine only; use https for other hosts")
    if parts.username is not None or parts.password is not None:
        raise UnusableValueError("it must not contain a password")
    return text


def _base_url(text: str) -> str:
    parts = urlsplit(url("http", "https", example="").parse(text))
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise UnusableValueError("it must be an address without query, fragment and password")
    return text.rstrip("/")


BASE_URL = Parser("a URL like https://billing.example.com", _base_url)
SECURE_URL = Parser("a URL like https://login.example.com/.well-known/jwks.json", _secure_url)


def secret(inner: Parser[str]) -> Parser[Secret]:
    return Parser(inner.expects, lambda text: Secret(inner.parse(text)))


Network = IPv4Network | IPv6Network
NETWORK: Final[Parser[Network]] = Parser("an IP address or a network such as 10.0.0.0/8", ip_network)


def comma_list(inner: Parser[T], *, blank: Trouble | None = None) -> Parser[tuple[T, ...]]:
    """Parse values separated by commas. An empty member is a fault: it is usually a lost secret.

    Args:
        inner: parses a member.
        blank: the row about an empty member, if it is not the one of the setting.
    """

    def parse(text: str) -> tuple[T, ...]:
        members = [member.strip() for member in text.split(",")]
        if len(members) == 1:
            return (inner.parse(text),)
        values, faults = list[T](), list[UnusableValueError]()
        for number, member in enumerate(members, start=1):
            try:
                if not member:
                    raise UnusableValueError("it is empty", blank)
                values.append(inner.parse(member))
            except ValueError as exc:
                unusable = exc if isinstance(exc, UnusableValueError) else UnusableValueError("it has another form")
                faults.append(UnusableValueError(f"member {number} of the list: {unusable}", unusable.trouble))
        if faults:
            raise UnusablePartsError(faults)
        return tuple(values)

    return Parser(f"{inner.expects}; several are separated by commas", parse)


def at_least_bytes(minimum: int) -> Parser[str]:
    def parse(text: str) -> str:
        if len(text.encode()) < minimum:
            raise ValueError
        return text

    return Parser(f"at least {minimum} bytes of random text, for example from `openssl rand -hex 32`", parse)


def _flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError


FLAG = Parser("true or false", _flag)
TEXT: Parser[str] = Parser("text", str)
PATH = Parser("a folder", lambda text: Path(text).expanduser())
FILE = Parser("a file", lambda text: Path(text).expanduser())
