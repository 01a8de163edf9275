"""The switches that turn parts of the application on and off."""

import attrs

from billing_app.settings.declaration import flag


@attrs.frozen(kw_only=True)
class Switches:
    """Parts of the application that run."""

    billing: bool = flag(
        "ENABLE_BILLING",
        "Accept webhooks and serve billing data. Requires the Stripe secrets and a JWT secret.",
        default=False,
    )
    stream: bool = flag(
        "ENABLE_BILLING_STREAM",
        "Serve the event stream. When off, messages are still numbered and kept, and Redis is not needed.",
        default=True,
    )
    stream_replay: bool = flag(
        "ENABLE_BILLING_STREAM_REPLAY",
        "Backfill an empty Redis with each tenant's newest messages when a process starts; without it they are read "
        "from Postgres until new ones arrive. With several processes, one does the backfill.",
        default=False,
    )
    retry_worker: bool = flag(
        "ENABLE_BILLING_RETRY_WORKER",
        "Process stored events and retry failed ones in the server process; `billing worker` always does.",
        default=True,
    )
