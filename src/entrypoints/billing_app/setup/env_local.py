"""The file `.env.local`: changed without losing a line of it, and never readable by other users.

A change takes the lock of the folder, reads, writes a temporary file that only its owner can read, and renames it: two
commands at once lose nothing, and whatever is interrupted leaves the old file or the new one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_app.settings import declared_sections
from billing_app.setup.env_text import EnvTextError, change_text, variables_of
from billing_app.setup.git_ignore import unignored
from billing_app.troubleshooting import StripeCliTrouble

PRIVATE: Final = 0o600
_TOO_OPEN: Final = stat.S_IRWXG | stat.S_IRWXO
_TEMPORARY: Final = ".tmp"
LOCK_TIMEOUT: Final = 10.0
"""Seconds until a lock that another command holds is an error; a change takes milliseconds."""


class EnvLocalError(OperatorError):
    """The file cannot be read or changed. The message names it and says what to do."""


@attrs.frozen(kw_only=True)
class EnvChange:
    """A change of the file, with secrets masked."""

    path: Path
    lines: tuple[str, ...]
    """`- NAME=old` and `+ NAME=new`, in the order of the changes."""
    changed: bool
    warnings: tuple[str, ...] = ()


def read_variables(path: Path) -> dict[str, str]:
    """Return the variables of the file; none if there is no file.

    Raises: EnvLocalError if it cannot be read, which must not be taken for an empty file.
    """
    with _folder(path) as folder:
        found = _read(path, folder)
    with _edit_errors(path):
        return {} if found is None else variables_of(found.text)


def preview(path: Path, changes: Mapping[str, str | None]) -> EnvChange:
    """Return what `write` would do. Raises: EnvLocalError."""
    with _folder(path) as folder:
        found = _read(path, folder)
    return _describe(path, found, _change(path, found, changes), changes)


def write(path: Path, changes: Mapping[str, str | None]) -> EnvChange:
    """Set variables of the file, and remove those whose value is None.

    It is created if it does not exist, and written only if something changes or other users can read it.

    Raises: EnvLocalError, and the file is as it was.
    """
    with _folder(path) as folder, _lock(path, folder):
        found = _read(path, folder)
        text = _change(path, found, changes)
        change = _describe(path, found, text, changes)
        if change.changed:
            try:
                _replace(path, folder, text)
            except OSError as exc:
                raise EnvLocalError(f"{path} cannot be written ({_name(exc)}). Check the disk and the folder.") from exc
    return change


@attrs.frozen
class _Found:
    text: str = attrs.field(repr=False)
    is_private: bool


def _read(path: Path, folder: int) -> _Found | None:
    """Read the file as it is, or return None if there is none. A link, a pipe or a folder in its place is refused."""
    try:
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise EnvLocalError(
                f"{path} is a symbolic link, which is not followed. Replace it by the file that it points to. "
                f"See {StripeCliTrouble.LOCAL_FILE_IS_A_LINK}."
            ) from None
        raise EnvLocalError(
            f"{path} cannot be read ({_name(exc)}). Repair or remove it. See {StripeCliTrouble.LOCAL_FILE_IS_UNUSABLE}."
        ) from exc
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise EnvLocalError(f"{path} is not a file. Remove it. See {StripeCliTrouble.LOCAL_FILE_IS_UNUSABLE}.")
    with os.fdopen(descriptor, "rb") as file:
        try:
            return _Found(file.read().decode("utf-8-sig"), is_private=not mode & _TOO_OPEN)
        except (OSError, UnicodeDecodeError) as exc:
            raise EnvLocalError(
                f"{path} cannot be read ({_name(exc)}). Repair or remove it. "
                f"See {StripeCliTrouble.LOCAL_FILE_IS_UNUSABLE}."
            ) from None


def _change(path: Path, found: _Found | None, changes: Mapping[str, str | None]) -> str:
    with _edit_errors(path):
        return change_text("" if found is None else found.text, changes)


@contextmanager
def _edit_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except EnvTextError as exc:
        raise EnvLocalError(f"{path} {exc}. See {StripeCliTrouble.LOCAL_FILE_IS_UNUSABLE}.") from None


def _describe(path: Path, found: _Found | None, text: str, changes: Mapping[str, str | None]) -> EnvChange:
    before = {} if found is None else variables_of(found.text)
    lines: list[str] = []
    for name, value in changes.items():
        if before.get(name) == value:
            continue
        if name in before:
            lines.append(f"- {name}={mask_value(name, before[name])}")
        if value is not None:
            lines.append(f"+ {name}={mask_value(name, value)}")
    changed = bool(text) if found is None else text != found.text or not found.is_private
    return EnvChange(path=path, lines=tuple(lines), changed=changed, warnings=_warnings(path))


def _warnings(path: Path) -> tuple[str, ...]:
    """Warn if git would commit the file, or the one that a killed command may leave beside it."""
    if not unignored((path, _temporary(path))):
        return ()
    return (
        f"git does not ignore {path}, which holds secrets. Add a line {path.name}* to .gitignore. "
        f"See {StripeCliTrouble.LOCAL_FILE_IS_NOT_IGNORED}.",
    )


def mask_value(name: str, value: str) -> str:
    """Mask the value of a variable, member by member if it is a list, unless it is a setting that is no secret."""
    public = {
        setting.env for section in declared_sections() for setting in section.settings.values() if not setting.secret
    }
    return value if name in public else ",".join(str(Secret(member)) for member in value.split(","))


# --- on disk -------------------------------------------------------------------------------------------------------


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """Open the folder, so that all that follows happens in the same one."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise EnvLocalError(f"The folder {path.parent} cannot be opened ({_name(exc)}).") from exc
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _lock(path: Path, folder: int) -> Iterator[None]:
    """Hold the lock of the folder: of the folder itself, so that no lock file stays behind."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EnvLocalError(
                    f"Another command is changing {path}. Repeat this one when it is done. "
                    f"See {StripeCliTrouble.LOCAL_FILE_IS_BUSY}."
                ) from None
            time.sleep(0.02)
        else:
            break
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def _replace(path: Path, folder: int, text: str) -> None:
    """Write the text to a new file and rename it. The lock makes its name, and one that was left behind, ours."""
    name = _temporary(path).name
    _remove(name, folder)
    descriptor = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE, dir_fd=folder
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.rename(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _remove(name, folder)
        raise
    os.fsync(folder)


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}{_TEMPORARY}")


def _name(error: Exception) -> str:
    """Name an error without its text, which could repeat the contents of the file."""
    return errno.errorcode.get(error.errno or 0, "OSError") if isinstance(error, OSError) else type(error).__name__
