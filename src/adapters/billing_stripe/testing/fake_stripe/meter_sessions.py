"""Sessions of the high-throughput endpoint for usage, which takes their tokens in place of API keys.

Source: https://docs.stripe.com/api/v2/billing-meter-stream
"""

from datetime import datetime, timedelta
from typing import Final

from billing_stripe.testing.fake_stripe.account import Account

STREAM: Final = "/v2/billing/meter_event_stream"
"""The only endpoint that a token opens, and that opens to nothing else."""
LASTS: Final = timedelta(minutes=15)
_NAME = "meter_sessions"


def open_session(account: Account) -> tuple[str, datetime]:
    """Return a new token, and the end of its session."""
    token, ends_at = account.new_id("token_test"), account.now + LASTS
    account.settings.setdefault(_NAME, {})[token] = ends_at
    return token, ends_at


def is_open(account: Account, token: str) -> bool:
    """Return whether the session of a token has not ended."""
    ends_at: datetime | None = account.settings.get(_NAME, {}).get(token)
    return ends_at is not None and account.now < ends_at
