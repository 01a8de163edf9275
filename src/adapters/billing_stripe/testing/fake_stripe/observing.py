"""The traffic of the fake, for observers that check it."""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs


@attrs.frozen(kw_only=True)
class Received:
    """One request as it arrived, before authentication."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False, default=b"")


@attrs.frozen(kw_only=True)
class Exchange:
    """One request to an endpoint, and its answer."""

    method: str
    path: str
    """As it was requested, still encoded."""
    endpoint: str
    """The path with its named parts, such as `/v1/customers/{id}`."""
    api_version: str
    """Of the answer."""
    query: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    status: int
    answer: Mapping[str, Any] | None = attrs.field(repr=False)
    """As the fake meant it, before a fault replaced it; None where a fault answered instead."""


class Observer(Protocol):
    """Sees the traffic of every fake of the process."""

    def exchanged(self, exchange: Exchange) -> None:
        """Receive one request and its answer. What it raises, the client sees as a server error."""
        ...

    def sent(self, event: Mapping[str, Any]) -> None:
        """Receive the body of an event that is about to be sent, of either generation."""
        ...
