"""Outgoing webhooks: limits of sending, and patience with receivers."""

from datetime import timedelta

import attrs

from billing_app.settings import parsers
from billing_app.settings.declaration import duration, seconds, setting, whole


@attrs.frozen(kw_only=True)
class OutgoingSettings:
    """Deliveries to the receivers that `billing consumers add` knows."""

    allowed_networks: tuple[parsers.Network, ...] = setting(
        "BILLING_OUTGOING_ALLOWED_NETWORKS",
        parsers.comma_list(parsers.NETWORK),
        (),
        "Networks that webhooks may be sent to although they are not public. Only they may be reached by http.",
        example="10.0.0.0/8",
    )
    timeout: timedelta = seconds(
        "BILLING_OUTGOING_TIMEOUT_SECONDS",
        15,
        "Longest wait for a receiver's answer, its lookup and connection included.",
        minimum=0.1,
        maximum=25,
    )
    connect_timeout: timedelta = seconds(
        "BILLING_OUTGOING_CONNECT_TIMEOUT_SECONDS", 5, "Longest wait for a connection.", minimum=0.1, maximum=30
    )
    connections: int = whole(
        "BILLING_OUTGOING_CONNECTIONS", 100, "Most open connections to receivers per process.", maximum=10_000
    )
    disable_after: timedelta = duration(
        "BILLING_OUTGOING_DISABLE_AFTER_HOURS",
        "hours",
        72,
        "A receiver that took no message for this long is disabled until `billing consumers enable`. Messages wait.",
        minimum=1,
        maximum=8760,
    )
