"""Set-up of the log: JSON or console lines, without secrets. Only entrypoints call `configure`."""

import logging
import sys
from collections.abc import Collection, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from billing_telemetry.redaction import Redaction


class _StandardError:
    """Standard error as it is at each line: a progress bar replaces it while it is shown, to print lines above it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def configure(
    *,
    level: str,
    format: str = "auto",
    stream: TextIO | None = None,
    secrets: Collection[str] = (),
    process: str | None = None,
) -> None:
    """Configure structlog and, for dependencies, the standard library's logging.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `json`, `console`, or `auto`, which is console on a terminal and json elsewhere.
        stream: standard error by default, because standard output is for results.
        secrets: values that must not appear, in any part of any line.
        process: name of this process in every line, if several write to the same stream.
    """
    out: Any = _StandardError() if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # before redaction, which searches the text
        Redaction(secrets),
        *([] if process is None else [_named(process)]),
    ]
    colors = out.isatty()
    console = format == "console" or (format == "auto" and colors)
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=colors) if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_without_record, *shared, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))  # of dependencies, warnings and errors only


def follow_standard_logging(secrets: Collection[str] = ()) -> None:
    """Let the standard library's logging write our lines, by the loggers of our modules, for a process of others.

    Their levels, handlers and format apply; secrets are hidden before, these values among them.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,  # before redaction, which searches the text
            Redaction(secrets),
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=_HostLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


class _HostLogger(structlog.stdlib.BoundLogger):
    """A logger that passes no exception on: the host's handlers would write its traceback as it is."""

    def exception(self, event: str | None = None, *args: Any, **values: Any) -> Any:
        """Log an error with the traceback of the current exception."""
        return self.error(event, *args, **{"exc_info": True, **values})


def _named(process: str) -> Processor:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    return add


def _without_record(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Remove structlog's internal keys from a standard library record, and add the name of its logger."""
    record = event.pop("_record")
    event.pop("_from_structlog", None)
    event["logger"] = record.name
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return event
