"""Secrets in files, as orchestrators mount them: `STRIPE_SECRET_KEY_FILE=/run/secrets/stripe` in place of the value."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from billing_app.settings.faults import SettingsFault
from billing_app.troubleshooting import SettingTrouble

_LONGEST: Final = 64 * 1024


@attrs.frozen(kw_only=True)
class SecretFiles:
    """The variables with the contents of files among them, and the faults of those."""

    variables: Mapping[str, str] = attrs.field(repr=False)
    faults: tuple[SettingsFault, ...] = ()


def file_variable(variable: str) -> str:
    """Return the variable that names the file of a secret."""
    return f"{variable}_FILE"


def read_secret_files(given: Mapping[str, str], secrets: Iterable[str]) -> SecretFiles:
    """Read the file of each secret that has one. A line end at the end of a file is not part of the secret.

    No text of a fault holds any of a file's content.

    Args:
        given: the variables.
        secrets: the variables that hold secrets.
    """
    variables, faults = dict(given), []
    for name in secrets:
        path = given.get(file_variable(name), "").strip()
        if not path:
            continue
        if given.get(name, "").strip():
            problem = f"is set beside {file_variable(name)}"
            remedy = f"Keep one of them, for example {file_variable(name)}={path}."
            faults.append(SettingsFault(name, problem, remedy, SettingTrouble.SECRET_IS_GIVEN_TWICE))
            continue
        try:
            variables[name] = _read(Path(path))
        except (OSError, ValueError) as exc:
            reason = str(exc) if isinstance(exc, _UnusableFileError) else type(exc).__name__
            problem = f"names {path}, which cannot be read ({reason})"
            remedy = f"Mount the secret, or correct the path, for example {file_variable(name)}=/run/secrets/billing."
            faults.append(SettingsFault(file_variable(name), problem, remedy, SettingTrouble.SECRET_FILE_IS_UNREADABLE))
    return SecretFiles(variables=variables, faults=tuple(faults))


class _UnusableFileError(ValueError):
    """A file holds no secret. The text says nothing of its content."""


def _read(path: Path) -> str:
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its writer
        raise _UnusableFileError("it is no file")
    with path.open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise _UnusableFileError("it is too large")
    text = content.decode("utf-8").rstrip("\r\n")
    if not text.strip():
        raise _UnusableFileError("it is empty")
    return text
