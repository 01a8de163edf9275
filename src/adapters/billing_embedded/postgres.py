"""The local Postgres: made once with checksums and password authentication, then run on loopback TCP only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
from urllib.parse import quote

from billing_embedded.account import Account, reachable_folder, reachable_installation
from billing_embedded.binaries import Installation, postgres_major_version
from billing_embedded.errors import EmbeddedError, EmbeddedStartError
from billing_embedded.home import Endpoint, Home, write_private
from billing_embedded.lock import ServerKind
from billing_embedded.loopback import LOOPBACK
from billing_embedded.server_process import server_environment
from billing_embedded.urls import POSTGRES

KIND = ServerKind(name=POSTGRES, programs=("postgres",), stop_signal=signal.SIGINT)
"""SIGINT is the fast stop: it ends the sessions and writes a checkpoint."""
_ROLE = _DATABASE = "billing"
_FIRST_WITH_BUILTIN_LOCALE = 17
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_STATUS_LINE = 7
"""Index of the line of postmaster.pid that says `ready`, the same line that pg_ctl waits for."""


def postgres_url(endpoint: Endpoint) -> str:
    return f"postgresql://{_ROLE}:{quote(endpoint.password, safe='')}@{LOOPBACK}:{endpoint.port}/{_DATABASE}"


class PostgresServer:
    kind = KIND

    def __init__(self, installation: Installation, home: Home, account: Account) -> None:
        self.folder = home.path / POSTGRES
        self._home = home
        self._account = account
        self._installation = installation
        self._endpoint: Endpoint | None = None

    def prepare(self) -> None:
        self.folder = reachable_folder(self._home.path, self._account) / POSTGRES
        self._installation = reachable_installation(self._installation, self._account)
        self._endpoint = self._home.free_endpoint(POSTGRES)
        version_file = self.folder / "PG_VERSION"
        if not version_file.exists():
            self._create_cluster(self._endpoint)
        self._check_version(version_file.read_text(encoding="ascii").strip())
        # Nothing of this server lives (our caller holds its lock), so the file is stale. Postgres itself cannot tell
        # when the process id in it has been given to another program, and would refuse to start.
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
        """Build in a folder of its own and rename it: a first start that is cut off leaves nothing half made."""
        fresh = self.folder.with_name(f"{POSTGRES}.new")
        password_file = self.folder.with_name(f"{POSTGRES}.password")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        write_private(password_file, endpoint.password)
        try:
            for path in (fresh, password_file):
                self._account.own(path)
            self._run("initdb", "-D", str(fresh), f"--pwfile={password_file}", *self._initdb_options())
            self._run("postgres", "--single", "-D", str(fresh), "postgres", stdin=f"CREATE DATABASE {_DATABASE};\n")
        finally:
            password_file.unlink()
        fresh.rename(self.folder)

    def _initdb_options(self) -> list[str]:
        options = ["--username", _ROLE, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums"]
        if postgres_major_version(self._installation) >= _FIRST_WITH_BUILTIN_LOCALE:
            # The wheel is built without ICU, and the C.UTF-8 of the system does not exist everywhere.
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
            **self._account.popen_arguments(),
        )
        if done.returncode != 0:
            raise EmbeddedStartError(f"{program} failed with status {done.returncode}:\n{done.stderr.strip()}")

    def _check_version(self, made_by: str) -> None:
        running = postgres_major_version(self._installation)
        if made_by != str(running):
            raise EmbeddedError(
                f"{self.folder} was made by PostgreSQL {made_by}, but {self._installation.server_program} is version "
                f"{running}. Install the matching one, or choose another BILLING_DATA_DIR, or remove the folder."
            )


def answers(port: int) -> bool:
    """Whether a Postgres answers on the port: it says yes or no to TLS before it asks who we are."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(_SSL_REQUEST)
            return connection.recv(1) in {b"N", b"S"}
    except OSError:
        return False
