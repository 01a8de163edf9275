"""The secrets that running servers use, by fingerprint, as their /metrics show them.

Asked of each process, because only a process knows what it was started with and what it has verified: the database
holds neither duplicates nor the second of two secrets that one webhook was signed with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import aiohttp
import attrs

from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_app.troubleshooting import StripeCliTrouble

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_MATCHES: Final = "stripe_webhook_secret_matches_total"
_LAST_MATCH: Final = "stripe_webhook_secret_last_match_timestamp_seconds"
_API_KEY: Final = "stripe_api_key_info"


class ServerUnreadableError(OperatorError):
    """A server does not show its metrics."""

    exit_code = 1


@attrs.frozen(kw_only=True)
class Matches:
    """The webhooks that were signed with a secret, since the server started."""

    count: int = 0
    last_at: datetime | None = None


@attrs.frozen(kw_only=True)
class ServerSecrets:
    """The secrets that one process uses, by fingerprint."""

    url: str
    webhook_secrets: Mapping[str, Matches] = attrs.field(factory=dict)
    api_keys: frozenset[str] = frozenset()


async def read_servers(urls: Iterable[str], token: Secret | None) -> Sequence[ServerSecrets]:
    """Read the metrics of all servers.

    Args:
        urls: addresses of the processes, without a path.
        token: BILLING_METRICS_TOKEN.

    Raises: ServerUnreadableError if one of them does not answer: nothing can be said about it then.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session:
        return await asyncio.gather(*(_read(session, url.rstrip("/")) for url in urls))


async def _read(session: aiohttp.ClientSession, url: str) -> ServerSecrets:
    try:
        async with session.get(f"{url}/metrics") as response:
            response.raise_for_status()
            return parse_metrics(url, await response.text())
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        why = f"status {exc.status}" if isinstance(exc, aiohttp.ClientResponseError) else type(exc).__name__
        raise ServerUnreadableError(
            f"{url} does not show its metrics ({why}). They are on BILLING_METRICS_PORT, or behind "
            "BILLING_METRICS_TOKEN. Name every running `billing serve` with --server; behind a load balancer, each "
            f"process by its own address. See {StripeCliTrouble.SERVER_IS_NOT_READABLE}."
        ) from None


def parse_metrics(url: str, text: str) -> ServerSecrets:
    """Read the metrics of one server. Raises: ValueError if they are not metrics."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - only this needs it

    counts: dict[str, int] = {}
    times: dict[str, float] = {}
    keys: set[str] = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == _MATCHES:
                counts[sample.labels["secret"]] = int(sample.value)
            elif sample.name == _LAST_MATCH:
                times[sample.labels["secret"]] = sample.value
            elif sample.name == _API_KEY:
                keys.add(sample.labels["key"])
    matches = {
        each: Matches(count=count, last_at=datetime.fromtimestamp(times[each], UTC) if times.get(each) else None)
        for each, count in counts.items()
    }
    return ServerSecrets(url=url, webhook_secrets=matches, api_keys=frozenset(keys))
