"""Settings of a server under which a crash loses what it has acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg
import attrs

from billing_postgres import queries
from billing_postgres.errors import reaching, translated

_QUERIES: Final = queries.load("read_settings")


@attrs.frozen(kw_only=True)
class DurabilityRisk:
    """A setting, what it risks, and whether that voids the promise behind a 202."""

    setting: str
    value: str
    risk: str
    remedy: str
    voids_promise: bool


def _off(setting: str, risk: str) -> DurabilityRisk:
    remedy = f"Set {setting} = on in postgresql.conf and restart Postgres."
    return DurabilityRisk(setting=setting, value="off", risk=risk, remedy=remedy, voids_promise=True)


def _asynchronous(value: str) -> DurabilityRisk:
    return DurabilityRisk(
        setting="synchronous_commit",
        value=value,
        risk="a crash can undo retries and other bookkeeping, but no accepted event and no message",
        remedy="Run ALTER ROLE … RESET synchronous_commit, and look for it in ALTER DATABASE and postgresql.conf.",
        voids_promise=False,
    )


_RISKS: Final = {
    ("fsync", "off"): _off("fsync", "a crash of the machine loses or corrupts stored events"),
    ("full_page_writes", "off"): _off("full_page_writes", "a crash of the machine can corrupt pages of stored events"),
    ("synchronous_commit", "off"): _asynchronous("off"),
    ("synchronous_commit", "local"): _asynchronous("local"),
}

_PATIENCE: Final = 5.0
"""Seconds that a connection may take."""


async def durability_risks(database_url: str) -> Sequence[DurabilityRisk]:
    """Return the risky settings as a connection of ours gets them, the gravest first.

    Raises: StoreUnavailableError.
    """
    with reaching(database_url, within=_PATIENCE):
        connection = await asyncpg.connect(database_url, timeout=_PATIENCE, statement_cache_size=0)
    with translated("durability_risks"):
        try:
            rows = await connection.fetch(_QUERIES["list_durability_settings"])
        finally:
            await connection.close(timeout=1)
    found = [risk for row in rows if (risk := _RISKS.get((row["name"], row["setting"])))]
    return sorted(found, key=lambda risk: not risk.voids_promise)
