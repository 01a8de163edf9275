"""The servers' names and addresses. Importable on any system."""

from __future__ import annotations

import attrs

POSTGRES = "postgres"
VALKEY = "valkey"


@attrs.frozen(kw_only=True)
class ServerUrls:
    """The URLs of Postgres and Redis, passwords included and therefore not shown.

    `redis_url` is None only when no stream needs Redis and none was given.
    """

    database_url: str = attrs.field(repr=False)
    redis_url: str | None = attrs.field(repr=False)
