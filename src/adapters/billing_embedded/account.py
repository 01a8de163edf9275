"""Which user runs the servers, and how the programs become reachable for that user.

Postgres refuses to run as root. Under root the servers run as the owner of the data directory if that is somebody else,
otherwise as `nobody`.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import attrs

from billing_embedded.binaries import Installation
from billing_embedded.errors import EmbeddedError, EmbeddedUnavailableError

_PUBLIC_ROOT = Path("/var/tmp")  # noqa: S108 - survives a reboot; `_own_public_folder` checks what it finds there


@attrs.frozen
class Account:
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """What `subprocess.Popen` needs to run a program as this account; nothing when it is the one we run as."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, folder: Path) -> bool:
        """Whether every folder from the root down to this one lets the account through."""
        folder = folder.resolve()
        return all(self._is_let_through(step) for step in (folder, *folder.parents))

    def can_run(self, program: Path) -> bool:
        program = program.resolve()
        return self._is_let_through(program) and self.can_enter(program.parent)

    def _is_let_through(self, path: Path) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.gid:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)


def server_account(data_dir: Path) -> Account:
    """The account for the servers of an existing data directory."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    owner = data_dir.stat().st_uid
    try:
        # A folder may belong to a number without a name, such as one mounted into a container; initdb refuses those.
        named = pwd.getpwuid(owner) if owner != 0 and _has_name(owner) else pwd.getpwnam("nobody")
    except KeyError as exc:
        raise EmbeddedError(
            "PostgreSQL does not run as root, and this system has no user `nobody`. Run as an ordinary user."
        ) from exc
    return Account(named.pw_uid, named.pw_gid)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def reachable_folder(data_dir: Path, account: Account) -> Path:
    """Where the servers keep their files: the data directory, or a public place when the account cannot get into it."""
    if os.geteuid() != 0 or account.can_enter(data_dir):
        return data_dir
    folder = _own_public_folder() / f"data-{_fingerprint(str(data_dir.resolve()))}"
    folder.mkdir(mode=0o711, exist_ok=True)
    folder.chmod(0o711)
    return folder


def reachable_installation(installation: Installation, account: Account) -> Installation:
    """The installation, or a copy of it in a public place when the account cannot run it where it is."""
    if os.geteuid() != 0 or account.can_run(installation.server_program):
        return installation
    if not installation.parts:
        raise EmbeddedUnavailableError(f"{installation.server_program} cannot be run by user {account.uid}.")
    source = installation.server_program.stat()
    key = _fingerprint(f"{installation.server_program}:{source.st_size}:{source.st_mtime_ns}")
    target = _own_public_folder() / f"{installation.server}-{key}"
    if not target.is_dir():
        _copy_parts(installation, target)
    return attrs.evolve(installation, base=target)


def _copy_parts(installation: Installation, target: Path) -> None:
    """Copy beside the target, then rename: a reader sees all of it or none of it."""
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy-"))
    try:
        for part in installation.parts:
            source, copy = installation.base / part, fresh / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, symlinks=True)
            else:
                shutil.copy2(source, copy)
        _let_everybody_read(fresh)
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster, and its copy is as good
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _let_everybody_read(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)


def _own_public_folder() -> Path:
    """Our folder under /var/tmp. Anybody may create names there, so one that is not surely ours is refused."""
    folder = _PUBLIC_ROOT / f"billing-embedded-{os.geteuid()}"
    folder.mkdir(mode=0o711, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedError(f"{folder} was made by somebody else. Remove it, or run as an ordinary user.")
    folder.chmod(0o711)
    return folder


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
