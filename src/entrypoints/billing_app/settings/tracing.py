"""Traces."""

import attrs

from billing_app.settings.declaration import flag


@attrs.frozen(kw_only=True)
class TracingSettings:
    """Whether spans are sent; the variables of OpenTelemetry say where."""

    enabled: bool = flag(
        "BILLING_TRACING",
        "Send OpenTelemetry spans of webhooks, their processing and their messages, by the standard `OTEL_*` variables "
        "of the environment. Requires the extra `otel`.",
        default=False,
    )
