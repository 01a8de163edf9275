"""/healthz and /readyz, for orchestrators."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import attrs
from aiohttp import web

from billing_app.http.responses import json_response
from billing_app.http.services import SERVICES, Probe
from billing_core.errors import BillingError

_PROBE_SECONDS: Final = 3.0
_ADVISORY: Final = frozenset({"bus"})
"""Shown without deciding: without Redis, webhooks are still stored and streams are served from the history."""


def routes() -> Iterable[web.RouteDef]:
    """Return the routes that need no tenant."""
    return [web.get("/healthz", _healthz), web.get("/readyz", _readyz)]


async def _healthz(_request: web.Request) -> web.Response:
    """Answer as long as the event loop runs. Nothing else is probed: a restart would not repair a database."""
    return json_response({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    """Answer whether this process can serve requests: whether everything it depends on responds."""
    readiness = await probe(request.app[SERVICES].probes)
    return json_response(
        {"status": "ready" if readiness.ready else "unavailable", "checks": readiness.checks},
        status=200 if readiness.ready else 503,
    )


@attrs.frozen(kw_only=True)
class Readiness:
    """Whether a process can serve requests, and the answer of everything that it depends on: `ok` or a code."""

    ready: bool
    checks: Mapping[str, str]


async def probe(probes: Mapping[str, Probe]) -> Readiness:
    """Ask everything that a process depends on."""
    answers = await asyncio.gather(*(_answer(each) for each in probes.values()))
    checks = dict(zip(probes, answers, strict=True))
    return Readiness(ready=all(checks[name] == "ok" for name in checks if name not in _ADVISORY), checks=checks)


async def _answer(probe: Probe) -> str:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await probe()
    except (BillingError, TimeoutError, OSError) as exc:
        return exc.code if isinstance(exc, BillingError) else "timeout"
    return "ok"
