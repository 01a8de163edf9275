"""The log."""

import attrs

from billing_app.settings import parsers
from billing_app.settings.declaration import setting


@attrs.frozen(kw_only=True)
class LogSettings:
    """Level and format of the log."""

    level: str = setting(
        "BILLING_LOG_LEVEL",
        parsers.one_of("debug", "info", "warning", "error"),
        "info",
        "Lowest level that is written.",
    )
    format: str = setting(
        "BILLING_LOG_FORMAT",
        parsers.one_of("auto", "json", "console"),
        "auto",
        "`auto` is console on a terminal and json elsewhere.",
    )
