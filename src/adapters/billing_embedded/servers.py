"""The known servers, and their processes for one data directory."""

from __future__ import annotations

from collections.abc import Sequence

from billing_embedded import postgres, valkey
from billing_embedded.binaries import find_postgres, find_valkey
from billing_embedded.data_directory import DataDirectory
from billing_embedded.server_process import Server, ServerProcess
from billing_embedded.system_user import server_user
from billing_embedded.urls import POSTGRES, VALKEY

KINDS = (postgres.KIND, valkey.KIND)
ALL_SERVERS = tuple(kind.name for kind in KINDS)


def server_processes(directory: DataDirectory, names: Sequence[str]) -> list[ServerProcess]:
    """Create the processes of the named servers, without starting them. Raises: EmbeddedUnavailableError."""
    user = server_user(directory.path)
    servers: list[Server] = []
    if POSTGRES in names:
        servers.append(postgres.PostgresServer(find_postgres(), directory, user))
    if VALKEY in names:
        servers.append(valkey.ValkeyServer(find_valkey(), directory, user))
    return [ServerProcess(server, directory, user) for server in servers]
