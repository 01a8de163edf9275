"""The data directory: its files, its lock, and the ports and passwords that survive a restart."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from billing_embedded.errors import EmbeddedError
from billing_embedded.loopback import LOOPBACK, PORTS, is_free

ENDPOINTS: Final = "endpoints.json"
"""A file that exists from the first start of a server on."""
_SUPERVISOR = "supervisor"
_USERS = "users"
_LOCK_GRACE_SECONDS = 0.5


@attrs.frozen(kw_only=True)
class Endpoint:
    """The port and the password of one server."""

    port: int
    password: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class SupervisorRecord:
    """The supervisor that holds the data directory.

    owner: the process that the servers stop with; None if they run until `billing embedded stop`.
    servers: the process ids by server name, complete once `ready`.
    failed: why a server that was asked for later could not be started, by its name.
    """

    pid: int
    owner: int | None
    ready: bool
    servers: Mapping[str, int] = attrs.field(factory=dict)
    failed: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class DataDirectory:
    """The data directory of one set of local servers. All methods are safe while other processes use it."""

    path: Path

    @classmethod
    def at(cls, data_dir: Path) -> DataDirectory:
        """Create the folder if it is missing, with a .gitignore that excludes it from git."""
        path = data_dir.resolve()
        try:
            if not path.exists():
                path.mkdir(parents=True, exist_ok=True)
                # Under root the servers run as another user, who must be able to traverse this folder.
                path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            ignore = path / ".gitignore"
            if not ignore.exists():
                write_private(ignore, "*\n")
            (path / "logs").mkdir(mode=0o700, exist_ok=True)
            give_to_folder_owner(path / "logs")
        except OSError as exc:
            raise EmbeddedError(f"{path} cannot be used ({exc.strerror}). Choose another BILLING_DATA_DIR.") from exc
        return cls(path)

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def lock_file(self, name: str) -> Path:
        return self.path / f"{name}.lock"

    def is_held(self) -> bool:
        """Return whether a supervisor is running. The check takes the lock briefly; see `take`."""
        lock = self._open_lock(_SUPERVISOR, os.O_RDONLY | os.O_CREAT)
        try:
            return not _try_lock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def take(self) -> bool:
        """Take the supervisor's lock until this process ends; return False if another process holds it."""
        lock = self._open_lock(_SUPERVISOR, os.O_RDWR | os.O_CREAT)
        # The grace period distinguishes a supervisor from a process that only calls `is_held`.
        deadline = time.monotonic() + _LOCK_GRACE_SECONDS
        while not _try_lock(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(lock)
                return False
            time.sleep(0.02)
        return True  # the descriptor stays open on purpose: it is the lock

    def share(self) -> int | None:
        """Keep the servers of another process running until the returned descriptor is closed, however that happens.

        None while their supervisor is stopping them.
        """
        lock = self._open_lock(_USERS, os.O_RDONLY | os.O_CREAT)
        if _try_lock(lock, fcntl.LOCK_SH):
            return lock
        os.close(lock)
        return None

    def is_shared(self) -> bool:
        """Return whether processes besides their owner use the servers."""
        lock = self._open_lock(_USERS, os.O_RDONLY | os.O_CREAT)
        try:
            # The first is refused by those processes and by a supervisor that stops, the second only by the latter.
            return not _try_lock(lock, fcntl.LOCK_EX) and _try_lock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def end_sharing(self) -> bool:
        """Let no process share the servers from now on; return False if one does."""
        lock = self._open_lock(_USERS, os.O_RDONLY | os.O_CREAT)
        if _try_lock(lock, fcntl.LOCK_EX):
            return True  # the descriptor stays open on purpose: it is the lock
        os.close(lock)
        return False

    def record(self) -> SupervisorRecord | None:
        content = self._read_json("supervisor.json")
        return SupervisorRecord(**content) if content else None

    def write_record(self, record: SupervisorRecord) -> None:
        self._write_json("supervisor.json", attrs.asdict(record))

    def remove_record(self) -> None:
        (self.path / "supervisor.json").unlink(missing_ok=True)

    def endpoint(self, name: str) -> Endpoint:
        """Return the last endpoint. Raises EmbeddedError if the server was never started here."""
        known = self._read_json(ENDPOINTS).get(name)
        if known is None:
            raise EmbeddedError(f"There is no {name} in {self.path} yet. Run `billing embedded start`.")
        return Endpoint(**known)

    def free_endpoint(self, name: str) -> Endpoint:
        """Return the last endpoint if its port is free, otherwise one with the same password and another port."""
        endpoints = self._read_json(ENDPOINTS)
        known = endpoints.get(name)
        if known is not None and is_free(known["port"]):
            return Endpoint(**known)
        taken = {other["port"] for other in endpoints.values()}
        password = known["password"] if known else secrets.token_urlsafe(24)
        fresh = Endpoint(port=_pick_port(taken), password=password)
        self._write_json(ENDPOINTS, {**endpoints, name: attrs.asdict(fresh)})
        return fresh

    def _open_lock(self, name: str, flags: int) -> int:
        path = self.lock_file(name)
        try:
            lock = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise EmbeddedError(
                f"{path} cannot be opened ({exc.strerror}). Check that the folder belongs to you."
            ) from exc
        give_to_folder_owner(path)
        return lock

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            raise EmbeddedError(f"{self.path / name} cannot be read ({type(exc).__name__}).") from exc
        if not isinstance(content, dict):
            raise EmbeddedError(f"{self.path / name} is not a JSON object.")
        return content

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace the whole file, readable by its owner only, who is the owner of the folder."""
        write_private(self.path / name, json.dumps(content, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically: a crash leaves the old content or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    give_to_folder_owner(fresh)
    fresh.replace(path)


def give_to_folder_owner(path: Path) -> None:
    """Give a file created by root to the owner of the folder, who may run the servers without root next time."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pick_port(taken: set[int]) -> int:
    for port in random.sample(PORTS, 200):
        if port not in taken and is_free(port):
            return port
    raise EmbeddedError(f"No free port between {PORTS.start} and {PORTS.stop} was found on {LOOPBACK}.")
