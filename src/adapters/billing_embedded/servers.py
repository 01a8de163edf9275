"""The servers there are, and how to put their parts together for one data directory."""

from __future__ import annotations

from collections.abc import Sequence

from billing_embedded import postgres, valkey
from billing_embedded.account import server_account
from billing_embedded.binaries import find_postgres, find_valkey
from billing_embedded.home import Home
from billing_embedded.server_process import Server, ServerProcess
from billing_embedded.urls import POSTGRES, VALKEY

KINDS = (postgres.KIND, valkey.KIND)
ALL_SERVERS = tuple(kind.name for kind in KINDS)


def server_processes(home: Home, names: Sequence[str]) -> list[ServerProcess]:
    account = server_account(home.path)
    servers: list[Server] = []
    if POSTGRES in names:
        servers.append(postgres.PostgresServer(find_postgres(), home, account))
    if VALKEY in names:
        servers.append(valkey.ValkeyServer(find_valkey(), home, account))
    return [ServerProcess(server, home, account) for server in servers]
