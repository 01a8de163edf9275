"""The local Valkey (or Redis): append-only file, no eviction, password, loopback TCP only."""

from __future__ import annotations

import signal
import socket
from urllib.parse import quote

from billing_embedded.binaries import Installation
from billing_embedded.data_directory import DataDirectory, Endpoint, write_private
from billing_embedded.errors import EmbeddedError
from billing_embedded.lock import ServerKind
from billing_embedded.loopback import LOOPBACK
from billing_embedded.system_user import SystemUser, reachable_folder, reachable_installation
from billing_embedded.urls import VALKEY

KIND = ServerKind(name=VALKEY, programs=("valkey-server", "redis-server"), stop_signal=signal.SIGTERM)
_CONFIGURATION = "valkey.conf"


def valkey_url(endpoint: Endpoint) -> str:
    """Return the URL, password included."""
    return f"redis://:{quote(endpoint.password, safe='')}@{LOOPBACK}:{endpoint.port}/0"


class ValkeyServer:
    """See Server."""

    kind = KIND

    def __init__(self, installation: Installation, directory: DataDirectory, user: SystemUser) -> None:
        self.folder = directory.path / VALKEY
        self._directory = directory
        self._user = user
        self._installation = installation
        self._endpoint: Endpoint | None = None

    def prepare(self) -> None:
        self.folder = reachable_folder(self._directory.path, self._user) / VALKEY
        self._installation = reachable_installation(self._installation, self._user)
        self._endpoint = self._directory.free_endpoint(VALKEY)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._user.own(self.folder)
        # A file rather than arguments, because every user of the machine can read the arguments of a process.
        write_private(self.folder / _CONFIGURATION, _configuration(self._endpoint))
        self._user.own(self.folder / _CONFIGURATION)

    def command(self) -> list[str]:
        return [str(self._installation.server_program), str(self.folder / _CONFIGURATION)]

    def is_ready(self, pid: int) -> bool:
        """Check the password, which is random: a server that accepts it is ours, whatever its process id."""
        if self._endpoint is None:
            raise EmbeddedError(f"{VALKEY} has not been prepared")
        return answers(self._endpoint)


def _configuration(endpoint: Endpoint) -> str:
    return "\n".join(
        (
            f"bind {LOOPBACK}",
            f"port {endpoint.port}",
            f"requirepass {endpoint.password}",
            "dir .",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
            "",
        )
    )


def answers(endpoint: Endpoint) -> bool:
    """Return whether our server responds and has finished loading its data."""
    request = f"AUTH {endpoint.password}\r\nPING\r\nQUIT\r\n".encode()
    try:
        with socket.create_connection((LOOPBACK, endpoint.port), timeout=2) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as replies:
                return replies.readline() == b"+OK\r\n" and replies.readline() == b"+PONG\r\n"
    except OSError:
        return False
