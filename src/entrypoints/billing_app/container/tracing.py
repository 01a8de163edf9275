"""Open what sends spans, which loads OpenTelemetry only where it is switched on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from billing_app.settings import TracingSettings
from billing_app.tracing import Tracing
from billing_core.errors import ConfigurationError

_MISSING: Final = (
    "BILLING_TRACING is true, and OpenTelemetry is not installed. Run: pip install 'billing-core[otel]'. "
    "Or set BILLING_TRACING=false."
)


@asynccontextmanager
async def open_tracing(settings: TracingSettings, application_name: str) -> AsyncIterator[Tracing | None]:
    """Yield None where nothing is traced. Raises ConfigurationError if the extra is missing."""
    if not settings.enabled:
        yield None
        return
    try:
        from billing_telemetry import tracing  # noqa: PLC0415 - an optional extra
    except ImportError as exc:
        raise ConfigurationError(_MISSING) from exc
    async with tracing.open_tracing(application_name) as opened:
        yield opened
