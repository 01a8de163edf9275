"""The HTTP server."""

from datetime import timedelta
from typing import Final

import attrs

from billing_app.secret import Secret
from billing_app.settings import parsers
from billing_app.settings.declaration import seconds, setting, whole
from billing_app.settings.parsers import Network

WEBHOOK_PATH: Final = "/webhooks/stripe"


@attrs.frozen(kw_only=True)
class ServerSettings:
    """Listening addresses, access to them, and the time to shut down."""

    host: str = setting("BILLING_HOST", parsers.TEXT, "127.0.0.1", "Address the HTTP server listens on.")
    port: int = whole("BILLING_PORT", 8080, "Port of the HTTP server; 0 picks a free one.", minimum=0, maximum=65535)
    metrics_port: int | None = setting(
        "BILLING_METRICS_PORT",
        parsers.whole_number(0, 65535),
        None,
        "Port on which a server or worker serves /metrics, /healthz and /readyz; 0 picks a free one. Each process of a "
        "machine needs its own; with --processes, the first has this one, the second the next. Without it, a worker "
        "does not listen.",
        example="9464",
    )
    metrics_host: str = setting(
        "BILLING_METRICS_HOST", parsers.TEXT, "127.0.0.1", "Address that BILLING_METRICS_PORT listens on."
    )
    shutdown_timeout: timedelta = seconds(
        "BILLING_SHUTDOWN_SECONDS",
        8,
        "Time to finish running work after SIGTERM; keep it below the orchestrator's grace period.",
        minimum=0.1,
        maximum=300,
    )
    public_url: str | None = setting(
        "BILLING_PUBLIC_URL",
        parsers.BASE_URL,
        None,
        "Address under which Stripe reaches this server; the webhook endpoint is this with /webhooks/stripe. "
        "`billing doctor` looks for that endpoint at Stripe.",
        example="https://billing.example.com",
    )
    cors_origins: tuple[str, ...] = setting(
        "BILLING_CORS_ORIGINS",
        parsers.comma_list(
            parsers.matching(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", "an origin such as https://app.example.com")
        ),
        (),
        "Origins whose pages may read the API and the stream. Without it, only our own pages may.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "BILLING_TRUSTED_PROXIES",
        parsers.comma_list(parsers.NETWORK),
        (),
        "Networks of reverse proxies whose X-Forwarded-For names the client. Without it, the peer is the client.",
        example="10.0.0.0/8",
    )
    metrics_token: Secret | None = setting(
        "BILLING_METRICS_TOKEN",
        parsers.secret(parsers.at_least_bytes(16)),
        None,
        "Bearer token that /metrics requires. With it, BILLING_PORT serves the metrics, too; without it, only "
        "BILLING_METRICS_PORT does, to all who reach that port.",
        secret=True,
    )

    @property
    def local_url(self) -> str:
        """The address at which this machine reaches the server."""
        return f"http://{_reachable(self.host)}:{self.port}"

    @property
    def local_metrics_url(self) -> str:
        """The address at which this machine reaches the metrics, without their path."""
        if self.metrics_port is None:
            return self.local_url
        return f"http://{_reachable(self.metrics_host)}:{self.metrics_port}"

    @property
    def webhook_url(self) -> str | None:
        """The address of the webhook endpoint at Stripe; None if the public address is not set."""
        return None if self.public_url is None else f"{self.public_url}{WEBHOOK_PATH}"


def _reachable(host: str) -> str:
    """Return an address to connect to in place of one that means all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
