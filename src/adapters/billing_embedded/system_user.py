"""The operating system's user that runs the servers, and copies of the programs that this user can reach.

Postgres refuses to run as root. Under root, the servers run as the owner of the data directory or, if root owns it, as
an unprivileged user.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

import attrs

from billing_embedded.binaries import Installation
from billing_embedded.data_directory import ENDPOINTS, write_private
from billing_embedded.errors import EmbeddedError, EmbeddedUnavailableError

UNPRIVILEGED = "nobody"
PUBLIC_FOLDER: Final = "public-folder"
"""A file of a data directory whose servers keep theirs in a public folder."""
_PUBLIC_ROOT = Path("/var/tmp")  # noqa: S108 - survives a reboot; `_own_public_folder` checks what it finds there


@attrs.frozen
class SystemUser:
    """A user and its group."""

    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """Return the arguments with which `subprocess.Popen` runs a program as this user; none unless we are root."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, folder: Path) -> bool:
        """Return whether the user can traverse every folder from the root down to this one."""
        folder = folder.resolve()
        return all(self._may_execute(step) for step in (folder, *folder.parents))

    def can_run(self, program: Path) -> bool:
        program = program.resolve()
        return self._may_execute(program) and self.can_enter(program.parent)

    def _may_execute(self, path: Path) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.gid:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)


def server_user(data_dir: Path) -> SystemUser:
    """Return the user that runs the servers of an existing data directory."""
    if os.geteuid() != 0:
        return SystemUser(os.geteuid(), os.getegid())
    owner = data_dir.stat().st_uid
    try:
        # The owner may be an id without a name, as in a folder mounted into a container; initdb refuses such users.
        named = pwd.getpwuid(owner) if owner != 0 and _has_name(owner) else pwd.getpwnam(UNPRIVILEGED)
    except KeyError as exc:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and this system has no user `{UNPRIVILEGED}`. Run as an ordinary user."
        ) from exc
    return SystemUser(named.pw_uid, named.pw_gid)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def reachable_folder(data_dir: Path, user: SystemUser) -> Path:
    """Return the folder for the servers' files: the data directory, or a public one if the user cannot enter it."""
    if os.geteuid() != 0 or user.can_enter(data_dir):
        return data_dir
    folder = _own_public_folder() / f"data-{_fingerprint(f'{data_dir.resolve()}{_mark_of(data_dir)}')}"
    folder.mkdir(mode=0o711, exist_ok=True)
    folder.chmod(0o711)
    return folder


def _mark_of(data_dir: Path) -> str:
    """Return what tells a data directory from one that was deleted at its path: files of that one may still be there.

    One that was used before there were marks has none.
    """
    file = data_dir / PUBLIC_FOLDER
    if not file.exists() and not (data_dir / ENDPOINTS).exists():
        write_private(file, secrets.token_hex(8))
    return file.read_text(encoding="ascii") if file.exists() else ""


def reachable_installation(installation: Installation, user: SystemUser) -> Installation:
    """Return the installation, or a copy of it in a public folder if the user cannot run the original."""
    if os.geteuid() != 0 or user.can_run(installation.server_program):
        return installation
    if not installation.parts:
        raise EmbeddedUnavailableError(f"{installation.server_program} cannot be run by user {user.uid}.")
    source = installation.server_program.stat()
    key = _fingerprint(f"{installation.server_program}:{source.st_size}:{source.st_mtime_ns}")
    target = _own_public_folder() / f"{installation.server}-{key}"
    if not target.is_dir():
        _copy_parts(installation, target)
    return attrs.evolve(installation, base=target)


def _copy_parts(installation: Installation, target: Path) -> None:
    """Copy beside the target and rename, so that other processes see the whole copy or none."""
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy-"))
    try:
        for part in installation.parts:
            source, copy = installation.base / part, fresh / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, symlinks=True)
            else:
                shutil.copy2(source, copy)
        _make_world_readable(fresh)
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster, and its copy is equivalent
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _make_world_readable(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)


def _own_public_folder() -> Path:
    """Create our folder under /var/tmp. All users may create names there, so refuse one that is not ours."""
    folder = _PUBLIC_ROOT / f"billing-embedded-{os.geteuid()}"
    folder.mkdir(mode=0o711, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedError(f"{folder} was created by another user. Remove it, or run as an ordinary user.")
    folder.chmod(0o711)
    return folder


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
