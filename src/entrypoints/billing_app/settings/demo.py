"""The demo."""

import attrs

from billing_app.secret import Secret
from billing_app.settings import parsers
from billing_app.settings.declaration import setting


@attrs.frozen(kw_only=True)
class DemoSettings:
    """The demo's sign-in links."""

    ticket_secret: Secret | None = setting(
        "BILLING_DEMO_TICKET_SECRET",
        parsers.secret(parsers.at_least_bytes(32)),
        None,
        "Set by `billing demo` only: enables its short-lived sign-in links to the activity page.",
        secret=True,
    )
