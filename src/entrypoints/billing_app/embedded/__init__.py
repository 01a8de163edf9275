"""Local Postgres and Valkey for development, demo and tests; and the one place that decides which servers are used."""

from __future__ import annotations

from billing_app.embedded.errors import (
    EmbeddedError,
    EmbeddedInUseError,
    EmbeddedStartError,
    EmbeddedUnavailableError,
)
from billing_app.embedded.resolve import embedded_servers, embedded_servers_sync, resolve_servers
from billing_app.embedded.urls import ServerUrls

__all__ = [
    "EmbeddedError",
    "EmbeddedInUseError",
    "EmbeddedStartError",
    "EmbeddedUnavailableError",
    "ServerUrls",
    "embedded_servers",
    "embedded_servers_sync",
    "resolve_servers",
]
