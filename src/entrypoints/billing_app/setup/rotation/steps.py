"""The next step of a rotation, a pure function: an interrupted rotation continues where it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum

import attrs

from billing_app.setup.rotation.servers import Matches, ServerSecrets


class Step(Enum):
    """The things that a rotation can wait for."""

    BEGIN = "begin"
    """Servers use the configured secrets, and none is being replaced: a new one can be added."""
    RESTART = "restart"
    """Servers use other secrets than the configured ones."""
    AWAIT_NEW = "await_new"
    """No webhook was signed with the new secret yet."""
    AWAIT_OLD = "await_old"
    """Webhooks are still signed with the old secret."""
    REMOVE = "remove"
    """The new secret alone matches: the old one can be removed."""


@attrs.frozen(kw_only=True)
class Standing:
    """The next step, and the servers that it waits for."""

    step: Step
    servers: tuple[str, ...] = ()


def webhook_standing(
    configured: Sequence[str], old: str | None, servers: Sequence[ServerSecrets], *, now: datetime, quiet: timedelta
) -> Standing:
    """Decide on the next step of a rotation of signing secrets.

    Args:
        configured: fingerprints in the order of the setting. There may be several without a rotation, one for each
            endpoint; in a rotation the last one is the new one.
        old: the fingerprint of the secret that is being replaced; None if none is.
        servers: what the running servers use.
        now: the time at which they were read.
        quiet: how long no webhook may have been signed with the old secret before it is removed.
    """
    outdated = tuple(server.url for server in servers if {*server.webhook_secrets} != {*configured})
    if outdated:
        return Standing(step=Step.RESTART, servers=outdated)
    new = configured[-1]
    if old is None or old == new or old not in configured:
        return Standing(step=Step.BEGIN)
    new_at, old_at = (_last(server.webhook_secrets[each] for server in servers) for each in (new, old))
    if new_at is None:
        return Standing(step=Step.AWAIT_NEW)
    # While Stripe signs with both, they match at the same time: only a later webhook shows that the new one is alone.
    if old_at is not None and (old_at >= new_at or now - old_at < quiet):
        return Standing(step=Step.AWAIT_OLD)
    return Standing(step=Step.REMOVE)


def api_key_standing(configured: str, servers: Iterable[ServerSecrets]) -> Standing:
    """Decide on the next step of a rotation of the API key; a server uses one at a time."""
    outdated = tuple(server.url for server in servers if server.api_keys != {configured})
    return Standing(step=Step.RESTART, servers=outdated) if outdated else Standing(step=Step.BEGIN)


def _last(matches: Iterable[Matches]) -> datetime | None:
    return max((each.last_at for each in matches if each.last_at is not None), default=None)
