"""The addresses of the servers, as the rest of the application takes them. Importable on any system."""

from __future__ import annotations

import attrs

from billing_app.secret import Secret

POSTGRES = "postgres"
VALKEY = "valkey"


@attrs.frozen(kw_only=True)
class ServerUrls:
    """Where Postgres and Redis are. `redis_url` is None only when the stream is switched off and none was given."""

    database_url: Secret
    redis_url: Secret | None
