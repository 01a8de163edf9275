"""Set-up of the log: JSON or console lines, without secrets. Only entrypoints call `configure`."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

REDACTED: Final = "[redacted]"

_SECRET_KEY: Final = re.compile(r"secret|token|password|authorization|cookie|signature|credential|api_?key", re.I)
_CONTENT_KEY: Final = re.compile(r"(?:.*_)?(?:payload|body)", re.I)
"""Keys that may hold customer data; their values are never logged."""

_SECRET_SHAPES: Final = (
    (re.compile(r"\b((?:sk|rk|pk)_(?:org_)?(?:test|live)_)[A-Za-z0-9]+"), r"\1…"),  # keys of the Stripe API
    (re.compile(r"\b(whsec_)[A-Za-z0-9+/=_-]+"), r"\1…"),  # signing secrets of its webhooks
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "[token]"),  # JWTs
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1…"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^:/?#\s@]*:)\S+@"), r"\1…@"),  # passwords in URLs, up to the last @
)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact secrets by the name of their key and, in any text including tracebacks, by their shape."""
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_KEY.search(key) or _CONTENT_KEY.fullmatch(key):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(name): _clean(str(name), each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", each) for each in value]
    return hide_secrets(value if isinstance(value, str) else str(value))


def hide_secrets(text: str) -> str:
    """Return the text with everything masked that has the shape of a secret."""
    for shape, replacement in _SECRET_SHAPES:
        text = shape.sub(replacement, text)
    return text


class _StandardError:
    """Standard error as it is at each line: a progress bar replaces it while it is shown, to print lines above it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def configure(*, level: str, format: str = "auto", stream: TextIO | None = None) -> None:
    """Configure structlog and, for dependencies, the standard library's logging.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `json`, `console`, or `auto`, which is console on a terminal and json elsewhere.
        stream: standard error by default, because standard output is for results.
    """
    out: Any = _StandardError() if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # before redaction, which searches the text
        redact,
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


def follow_standard_logging() -> None:
    """Let the standard library's logging write our lines, by the loggers of our modules, for a process of others.

    Their levels, handlers and format apply; secrets are hidden before.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,  # before redaction, which searches the text
            redact,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _without_record(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Remove structlog's internal keys from a standard library record, and add the name of its logger."""
    record = event.pop("_record")
    event.pop("_from_structlog", None)
    event["logger"] = record.name
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return event
