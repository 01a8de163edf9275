"""Declarations of settings: fields of a section that carry their variable, parser, default and help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import attrs

from billing_app.settings import parsers
from billing_app.settings.rules import Given, value_text
from billing_app.troubleshooting import SettingTrouble, Trouble

T = TypeVar("T")

_METADATA_KEY: Final = "setting"


@attrs.frozen(kw_only=True)
class Setting:
    """One environment variable, for the loader, `.env.example` and the reference."""

    env: str
    parser: parsers.Parser[Any]
    help: str
    default_text: str
    example: str
    secret: bool
    trouble: Trouble
    """The row about a value that cannot be used."""
    contradiction: Callable[[Any, Given], str | None]
    """Says why a value does not repeat what billing.toml gives the same field, as the end of a sentence about that."""


def settings_of(section: type[Any]) -> Mapping[str, Setting]:
    """Return the settings that a section declares, by field, in the order of the class."""
    return {
        field.name: field.metadata[_METADATA_KEY] for field in attrs.fields(section) if _METADATA_KEY in field.metadata
    }


def _differs(value: object, given: Given) -> str | None:
    return None if value == given.value else f"is {value_text(given.node.value)}"


def setting(
    env: str,
    parser: parsers.Parser[T],
    default: Any,
    help: str,
    *,
    default_text: str | None = None,
    example: str = "",
    secret: bool = False,
    trouble: Trouble = SettingTrouble.SETTING_IS_INVALID,
    contradiction: Callable[[T, Given], str | None] = _differs,
) -> Any:
    """Declare a field.

    Args:
        env: name of the environment variable.
        parser: parses the text.
        default: the value if the variable is not set.
        help: one or two sentences for the reference.
        default_text: the default as written in a file, if that differs from `str(default)`.
        example: a value to show if there is no default.
        secret: whether error texts must mask it.
        trouble: the row of the troubleshooting matrix about a value that cannot be used.
        contradiction: compares it with the same field of billing.toml; by default they must be equal.
    """
    declared = Setting(
        env=env,
        parser=parser,
        help=help,
        default_text=_as_written(default) if default_text is None else default_text,
        example=example,
        secret=secret,
        trouble=trouble,
        contradiction=contradiction,
    )
    return attrs.field(default=default, metadata={_METADATA_KEY: declared})


def flag(env: str, help: str, *, default: bool) -> Any:
    """Declare a switch."""
    return setting(env, parsers.FLAG, default, help)


def seconds(env: str, default: float | timedelta, help: str, *, minimum: float, maximum: float) -> Any:
    """Declare a duration that is written in seconds."""
    return duration(env, "seconds", default, help, minimum=minimum, maximum=maximum)


def duration(env: str, unit: str, default: float | timedelta, help: str, *, minimum: float, maximum: float) -> Any:
    """Declare a duration that is written in `unit`, a keyword of `timedelta`."""
    one = timedelta(**{unit: 1})
    value = default if isinstance(default, timedelta) else default * one
    return setting(env, parsers.duration(unit, minimum, maximum), value, help, default_text=f"{value / one:g}")


def whole(env: str, default: int, help: str, *, minimum: int = 1, maximum: int) -> Any:
    """Declare a whole number."""
    return setting(env, parsers.whole_number(minimum, maximum), default, help)


def _as_written(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)
