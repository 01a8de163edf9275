"""Secrets stay where they belong: in no representation, traceback, log, argument, core file or metric."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.integration.processes import python

from billing_app.settings import Settings, declared_sections
from billing_app.settings.secret_files import file_variable

SECRETS = {
    "STRIPE_SECRET_KEY": "sk_test_51KEYKEYKEYKEYKEYKEYhunter22",
    "STRIPE_WEBHOOK_SECRET": "whsec_ONEONEONEONEONEONEhunter22,whsec_TWOTWOTWOTWOTWOTWOhunter22",
    "BILLING_JWT_SECRET": "JWTJWTJWTJWTJWTJWTJWTJWTJWTJWThunter22",
    "BILLING_METRICS_TOKEN": "METRICSMETRICSMETRICShunter22",
    "BILLING_DEMO_TICKET_SECRET": "DEMODEMODEMODEMODEMODEMODEMODEMOhunter22",
    "DATABASE_URL": "postgresql://user:DBDBDBDBhunter22@127.0.0.1:1/billing?password=DBDBDBDBhunter22",
    "DATABASE_DIRECT_URL": "postgresql://user:DIRECThunter22@127.0.0.1:1/billing",
    "REDIS_URL": "redis://:REDISREDIShunter22@127.0.0.1:1/0",
}
"""A value for each secret. The end is the same for all, so that one search finds any of them."""
TRACE = "hunter22"
DUMPS = f"""
import os, resource, sys
os.chdir(sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
from billing_app.runtime import forbid_core_dumps
forbid_core_dumps()
secret = "{TRACE}"
os.abort()
"""


def settings() -> Settings:
    return Settings.load(SECRETS, Path("/nonexistent/.env.local"))


def commands(process_id: int) -> Iterator[str]:
    """Yield the arguments of a process and of all that it has started, as any user of the machine sees them."""
    yield Path(f"/proc/{process_id}/cmdline").read_bytes().decode()
    for task in Path(f"/proc/{process_id}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            yield from commands(int(child))


def test_every_secret_is_tried() -> None:
    """A new one fails here until it is among them."""
    declared = [setting for section in declared_sections() for setting in section.settings.values()]
    assert {setting.env for setting in declared if setting.secret} == set(SECRETS)


def test_no_representation_shows_one() -> None:
    """Of the settings, of any of their sections, and of the secrets themselves; the last four characters may show."""
    loaded = settings()
    shown = f"{loaded!r} {loaded} " + " ".join(f"{getattr(loaded, section.name)!r}" for section in declared_sections())
    assert TRACE not in shown
    assert "sk_test_…er22" in shown


def test_no_traceback_shows_one() -> None:
    """Not even one that prints the values of local variables, as error trackers do."""
    loaded = settings()
    try:
        raise_with(loaded)
    except RuntimeError as exc:
        shown = "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())
    assert "loaded = " in shown
    assert TRACE not in shown


def raise_with(given: Settings) -> None:
    raise RuntimeError(f"cannot use {given.stripe}")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit that is set is Linux's")
def test_no_core_file_is_written(tmp_path: Path) -> None:
    """A process that ends by a signal leaves none, although its limits allowed it before."""
    process_id = os.posix_spawn(sys.executable, [sys.executable, "-c", DUMPS, str(tmp_path)], os.environ)
    _, status = os.waitpid(process_id, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_server_shows_none_in_arguments_metrics_and_logs(
    environment: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Although it was given them by file and by variable, is asked with wrong ones, and logs everything."""
    secrets = {name: value for name, value in SECRETS.items() if not name.endswith("_URL")}
    for name, value in list(secrets.items())[:2]:
        file = tmp_path / name
        file.write_text(f"{value}\n", encoding="utf-8")
        del secrets[name]
        environment.pop(name, None)
        secrets[file_variable(name)] = str(file)
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    password = urlsplit(environment["DATABASE_URL"]).password or "none"
    settings_ = environment | secrets | {"BILLING_LOG_LEVEL": "debug"}
    token = {"Authorization": f"Bearer {SECRETS['BILLING_METRICS_TOKEN']}"}
    wrong = {"Stripe-Signature": "t=1,v1=00", "Authorization": f"Bearer {SECRETS['BILLING_JWT_SECRET']}"}
    async with (
        python("-m", "billing_app", "serve", environment=settings_, ready=f"{base}/readyz") as server,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{base}/metrics", headers=token) as response:
            assert response.status == 200
            metrics = await response.text()
        for path in ("/webhooks/stripe", "/api/v1/billing/tenants/acme/subscriptions"):
            async with session.post(f"{base}{path}", data=b"{}", headers=wrong) as response:
                assert response.status >= 400
                metrics += await response.text()
        arguments = list(commands(server.pid))
        server.terminate()
        await asyncio.wait_for(server.wait(), 30)
    written = capfd.readouterr()
    assert '"event": "stripe_config"' in written.err
    for shown in (metrics, *arguments, written.out, written.err):
        assert TRACE not in shown
        assert password not in shown
