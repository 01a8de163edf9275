"""A local Postgres and Valkey, for development, the demo and tests."""

from __future__ import annotations

from billing_embedded.errors import (
    EmbeddedError,
    EmbeddedInUseError,
    EmbeddedStartError,
    EmbeddedUnavailableError,
)
from billing_embedded.running import embedded_servers, embedded_servers_sync, running_servers
from billing_embedded.urls import ServerUrls

__all__ = [
    "EmbeddedError",
    "EmbeddedInUseError",
    "EmbeddedStartError",
    "EmbeddedUnavailableError",
    "ServerUrls",
    "embedded_servers",
    "embedded_servers_sync",
    "running_servers",
]
