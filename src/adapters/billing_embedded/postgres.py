"""The local Postgres: created with checksums and password authentication, listening on loopback TCP only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
from urllib.parse import quote

from billing_embedded.binaries import Installation, postgres_major_version
from billing_embedded.data_directory import DataDirectory, Endpoint, write_private
from billing_embedded.errors import EmbeddedError, EmbeddedStartError
from billing_embedded.lock import ServerKind
from billing_embedded.loopback import LOOPBACK
from billing_embedded.server_process import server_environment
from billing_embedded.system_user import SystemUser, reachable_folder, reachable_installation
from billing_embedded.urls import POSTGRES

KIND = ServerKind(name=POSTGRES, programs=("postgres",), stop_signal=signal.SIGINT)
"""SIGINT is a fast shutdown: it ends the sessions and writes a checkpoint."""
_ROLE = _DATABASE = "billing"
_FIRST_WITH_BUILTIN_LOCALE = 17
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_STATUS_LINE = 7
"""Index of the line of postmaster.pid that becomes `ready`; pg_ctl waits for it, too."""


def postgres_url(endpoint: Endpoint) -> str:
    """Return the URL, password included."""
    return f"postgresql://{_ROLE}:{quote(endpoint.password, safe='')}@{LOOPBACK}:{endpoint.port}/{_DATABASE}"


class PostgresServer:
    """See Server."""

    kind = KIND

    def __init__(self, installation: Installation, directory: DataDirectory, user: SystemUser) -> None:
        self.folder = directory.path / POSTGRES
        self._directory = directory
        self._user = user
        self._installation = installation
        self._endpoint: Endpoint | None = None

    def prepare(self) -> None:
        self.folder = reachable_folder(self._directory.path, self._user) / POSTGRES
        self._installation = reachable_installation(self._installation, self._user)
        self._endpoint = self._directory.free_endpoint(POSTGRES)
        version_file = self.folder / "PG_VERSION"
        if not version_file.exists():
            self._create_cluster(self._endpoint)
        self._check_version(version_file.read_text(encoding="ascii").strip())
        # No process of this server is alive (our caller holds its lock), so the file is stale. Postgres cannot detect
        # that the process id in it was reused by another program, and would refuse to start.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self._in_use().port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        settings = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        return [str(self._installation.server_program), "-D", str(self.folder), *settings]

    def is_ready(self, pid: int) -> bool:
        try:
            lines = (self.folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        is_ours = len(lines) > _STATUS_LINE and lines[0].strip() == str(pid) and lines[_STATUS_LINE].strip() == "ready"
        return is_ours and answers(self._in_use().port)

    def _in_use(self) -> Endpoint:
        if self._endpoint is None:
            raise EmbeddedError(f"{POSTGRES} has not been prepared")
        return self._endpoint

    def _create_cluster(self, endpoint: Endpoint) -> None:
        """Create the cluster in a temporary folder and rename it: an interrupted start leaves no partial one."""
        fresh = self.folder.with_name(f"{POSTGRES}.new")
        password_file = self.folder.with_name(f"{POSTGRES}.password")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        write_private(password_file, endpoint.password)
        try:
            for path in (fresh, password_file):
                self._user.own(path)
            self._run("initdb", "-D", str(fresh), f"--pwfile={password_file}", *self._initdb_options())
            self._run("postgres", "--single", "-D", str(fresh), "postgres", stdin=f"CREATE DATABASE {_DATABASE};\n")
        finally:
            password_file.unlink()
        fresh.rename(self.folder)

    def _initdb_options(self) -> list[str]:
        options = ["--username", _ROLE, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums"]
        if postgres_major_version(self._installation) >= _FIRST_WITH_BUILTIN_LOCALE:
            # The wheel is built without ICU, and not every system has the locale C.UTF-8.
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return options

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - our own command
            [str(self._installation.program(program)), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder.parent,
            env=server_environment(os.environ),
            **self._user.popen_arguments(),
        )
        if done.returncode != 0:
            raise EmbeddedStartError(f"{program} failed with status {done.returncode}:\n{done.stderr.strip()}")

    def _check_version(self, created_by: str) -> None:
        running = postgres_major_version(self._installation)
        if created_by != str(running):
            raise EmbeddedError(
                f"{self.folder} was created by PostgreSQL {created_by}, "
                f"but {self._installation.server_program} is version {running}. "
                "Install the matching version, choose another BILLING_DATA_DIR, or remove the folder."
            )


def answers(port: int) -> bool:
    """Return whether a Postgres responds on the port: it replies to a TLS request before authentication."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(_SSL_REQUEST)
            return connection.recv(1) in {b"N", b"S"}
    except OSError:
        return False
