"""The file with settings that complements the environment."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import attrs

from billing_app.settings.faults import SettingsFault
from billing_app.troubleshooting import SettingTrouble


@attrs.frozen(kw_only=True)
class EnvFile:
    """The variables of a file, and its faults."""

    variables: Mapping[str, str] = attrs.field(factory=dict)
    faults: tuple[SettingsFault, ...] = ()
    warnings: tuple[str, ...] = ()


def read_env_file(path: Path) -> EnvFile:
    """Read a file of NAME=value lines.

    A missing file is an empty one; an unreadable one is a fault, because half a configuration is worse than none.
    """
    try:
        # Parsed rather than read by `dotenv_values`, which only logs the lines it does not understand.
        text = path.read_text(encoding="utf-8-sig")
        mode = path.stat().st_mode
    except FileNotFoundError:
        return EnvFile()
    except (OSError, UnicodeDecodeError) as exc:
        problem = f"cannot be read ({type(exc).__name__})"
        unreadable = SettingsFault(str(path), problem, "Repair or remove it.", SettingTrouble.ENV_FILE_IS_UNREADABLE)
        return EnvFile(faults=(unreadable,))
    from dotenv.parser import parse_stream  # noqa: PLC0415 - an extra, and 20 ms, that only a file takes

    bindings = list(parse_stream(io.StringIO(text)))
    return EnvFile(
        variables={each.key: each.value for each in bindings if each.key is not None and each.value is not None},
        faults=tuple(
            SettingsFault(
                str(path),
                f"has a line {each.original.line} that is not NAME=value",
                "Correct that line, for example STRIPE_FETCH=true.",
                SettingTrouble.ENV_FILE_IS_UNREADABLE,
            )
            for each in bindings
            if each.error
        ),
        warnings=(f"{path} can be read by other users; run: chmod 600 {path}",) if _open_to_others(mode) else (),
    )


def _open_to_others(mode: int) -> bool:
    return os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
