"""The log of a process, without the secrets of its configuration."""

from billing_app.settings import Settings
from billing_app.settings.hidden import hidden_values
from billing_telemetry import logging


def configure_logging(settings: Settings, *, process: str | None = None) -> None:
    """Configure the log of this process. Call it once, before anything is logged.

    Args:
        settings: the configuration of the process.
        process: its name in each line, if it is one of several that write to the same log.
    """
    logging.configure(
        level=settings.logs.level, format=settings.logs.format, secrets=hidden_values(settings), process=process
    )


def follow_host_logging(settings: Settings) -> None:
    """Leave the log to the process that runs this code, whose logging decides what is written and how."""
    logging.follow_standard_logging(hidden_values(settings))
