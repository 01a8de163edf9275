"""Texts for the driver's errors: which server failed, how, and what to do."""

import socket
from typing import Final
from urllib.parse import urlsplit

from redis import exceptions

_PORT: Final = 6379


def server_of(url: str) -> str:
    """Return `host:port` of a Redis URL, or the path of its socket; never the user or the password."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    host = parts.hostname or "localhost"
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _PORT}"


def describe(exc: BaseException, url: str, *, within: float) -> str:
    """Return what is wrong with a server and what to do. The driver's own text is left out: it may hold keys.

    Args:
        exc: the driver's error.
        url: the address; only its host and port are shown.
        within: seconds after which the server counts as one that does not answer.
    """
    text = _network_fault(exc) or next((text for kinds, text in _TEXTS if isinstance(exc, kinds)), _UNUSABLE)
    if isinstance(exc, exceptions.ResponseError) and text == _UNUSABLE and str(exc).startswith("MISCONF"):
        text = "cannot write its snapshot or append-only file: look at its disk and its log"
    return f"Redis at {server_of(url)} " + text.format(error=type(exc).__name__, seconds=f"{within:g}")


def _network_fault(exc: BaseException) -> str | None:
    """Return the text of an error of the network; the driver wraps those of the operating system."""
    if isinstance(exc, socket.gaierror) or isinstance(exc.__cause__, socket.gaierror):
        return "cannot be found: its name is unknown. Correct REDIS_URL, or the name service"
    refused = isinstance(exc, ConnectionRefusedError) or isinstance(exc.__cause__, ConnectionRefusedError)
    if refused or "Connect call failed" in str(exc):
        return "refuses connections: start it, or correct REDIS_URL"
    return None


_UNUSABLE: Final = "cannot be used ({error}): look at its log"
_TEXTS: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((exceptions.AuthenticationError,), "refuses the user or the password: correct REDIS_URL"),
    ((exceptions.ReadOnlyError,), "is a read-only replica (ReadOnlyError): let REDIS_URL lead to the master"),
    (
        (exceptions.OutOfMemoryError,),
        "has reached maxmemory (OutOfMemoryError): raise it, or delete what does not belong there",
    ),
    ((exceptions.BusyLoadingError,), "is loading its data: wait"),
    (
        (TimeoutError, exceptions.TimeoutError),
        "does not answer within {seconds} s: it is frozen or overloaded, or a firewall drops what is sent to it",
    ),
)
"""Texts by the error; the first that fits."""
