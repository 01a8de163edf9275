"""The addresses of the servers, as the rest of the application takes them."""

from __future__ import annotations

import attrs

from billing_app.embedded import postgres, valkey
from billing_app.embedded.home import Home
from billing_app.secret import Secret


@attrs.frozen(kw_only=True)
class ServerUrls:
    """Where Postgres and Redis are. `redis_url` is None only when the stream is switched off and none was given."""

    database_url: Secret
    redis_url: Secret | None


def local_database_url(home: Home) -> Secret:
    """Raises: EmbeddedError when Postgres was never started here."""
    return Secret(postgres.postgres_url(home.endpoint(postgres.NAME)))


def local_redis_url(home: Home) -> Secret:
    """Raises: EmbeddedError when Valkey was never started here."""
    return Secret(valkey.valkey_url(home.endpoint(valkey.NAME)))


def local_urls(home: Home) -> ServerUrls:
    return ServerUrls(database_url=local_database_url(home), redis_url=local_redis_url(home))
