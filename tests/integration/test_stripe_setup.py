"""`billing stripe setup` as a person meets it: in a terminal, with Stripe's own program, from nothing to a webhook."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import date
from pathlib import Path

import aiohttp
import attrs
import pytest
from tests.commands import Command, started
from tests.developer import command_lines_with, developer_environment, files_with
from tests.integration.processes import Ended, answers, ended
from tests.stripe_cli import home_with_login
from tests.terminal import INTERRUPT, terminal

from billing_app.setup.env_local import read_variables
from billing_app.troubleshooting import StripeCliTrouble
from billing_embedded.loopback import free_port
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.stripe]

KEY = "rk_test_51FakeAbcdefghijklmnopqrstuvWXYZ"
SOMETIME = date(2999, 1, 1)
CATALOG = Counter(Product=3, Price=5, Meter=1, Feature=3, ProductFeature=4)
"""The objects of the billing.toml that set-up writes if there is none."""
MADE = (objects.Product, objects.Price, objects.Meter, objects.Feature, objects.ProductFeature)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe without objects."""
    async with fake_stripe(secret_key=KEY) as running_fake:
        yield running_fake


@pytest.fixture
def developer(
    fake: FakeStripe, stripe_program: Path, tmp_path: Path, database_url: str, redis_url: str
) -> dict[str, str]:
    """The environment of a person with Stripe's program and two servers, who is not logged in."""
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "BILLING_PORT": str(free_port())}
    return developer_environment(tmp_path, stripe_program, fake.url) | servers


def made(fake: FakeStripe) -> Counter[str]:
    """Return how many objects of each kind the account has."""
    return Counter({kind.__name__: len(list(fake.account.all(kind))) for kind in MADE})


def secrets_of(folder: Path) -> list[str]:
    """Return the secrets that set-up has found, made and recorded."""
    recorded = read_variables(folder / ".env.local")
    return [KEY, recorded["STRIPE_WEBHOOK_SECRET"], recorded["BILLING_JWT_SECRET"]]


def assert_private(folder: Path) -> None:
    """Check that only its owner can read the file."""
    assert stat.S_IMODE((folder / ".env.local").stat().st_mode) == 0o600


async def test_a_person_who_is_logged_in_gets_to_the_first_webhook_in_three_commands(
    fake: FakeStripe, developer: dict[str, str], tmp_path: Path
) -> None:
    """Set up, serve, listen; then an event of Stripe's is applied. No secret is shown, listed or left in a file."""
    home_with_login(tmp_path / "home", key=KEY, expires_on=SOMETIME)
    base = f"http://127.0.0.1:{developer['BILLING_PORT']}"
    async with terminal("stripe", "setup", environment=developer, folder=tmp_path) as setup:
        await setup.shows("Do this?")
        assert not (tmp_path / ".env.local").exists()
        setup.types("y\n")
        await setup.shows("Proof:")
        await setup.shows("applied")
        assert await setup.ends() == 0
    assert_private(tmp_path)
    secrets = secrets_of(tmp_path)
    async with (
        terminal("serve", environment=developer, folder=tmp_path) as serve,
        terminal("stripe", "listen", environment=developer, folder=tmp_path) as listen,
        aiohttp.ClientSession() as session,
    ):
        await serves(session, base)
        await listen.shows("Ready!")
        await listen.shows("Ready!")
        with fake.account.transaction():
            fake.account.create(objects.Customer(customer_id="cus_1", created_at=fake.account.now))
        await listen.shows("[202]")
        assert command_lines_with(*secrets) == []
        listen.types(INTERRUPT)
        assert await listen.ends() == 0
        serve.types(INTERRUPT)
        assert await serve.ends() == 0
    listed = json.loads((await run(developer, tmp_path, "events", "list", "--json")).output.splitlines()[0])
    assert listed
    for screen in (setup.screen, serve.screen, listen.screen):
        assert not any(secret in screen for secret in secrets)
    assert files_with(tmp_path, *secrets) == [".env.local", "home/stripe/config.toml"]


async def serves(session: aiohttp.ClientSession, base: str) -> None:
    """Wait until a server is ready."""
    async with asyncio.timeout(60):
        while not await answers(session, f"{base}/readyz"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def run(environment: dict[str, str], folder: Path, *arguments: str, given: str = "") -> Ended:
    """Run a command without a terminal."""
    return await ended(*arguments, environment=environment, given=given, folder=folder)


async def test_a_person_who_is_not_logged_in_types_a_key(
    fake: FakeStripe, developer: dict[str, str], tmp_path: Path
) -> None:
    """It is not echoed, and the way to log in is offered beside it."""
    async with terminal("stripe", "setup", environment=developer, folder=tmp_path) as setup:
        await setup.shows("stripe login")
        await setup.shows("Number")
        setup.types("1\n")
        await setup.shows("(it is not shown)")
        setup.types(f"{KEY}\n")
        await setup.shows("Do this?")
        setup.types("y\n")
        await setup.shows("Proof:")
        assert await setup.ends() == 0
    assert read_variables(tmp_path / ".env.local")["STRIPE_SECRET_KEY"] == KEY
    assert KEY not in setup.screen
    assert files_with(tmp_path, KEY) == [".env.local"]


async def test_a_person_whose_log_in_has_expired_is_told_so_and_types_a_key(
    fake: FakeStripe, developer: dict[str, str], tmp_path: Path
) -> None:
    """The expired key is not tried."""
    expired = "rk_test_51Expired0123456789"
    home_with_login(tmp_path / "home", key=expired, expires_on=date(2026, 1, 20))
    async with terminal("stripe", "setup", environment=developer, folder=tmp_path) as setup:
        await setup.shows(str(StripeCliTrouble.CLI_KEY_IS_EXPIRED))
        await setup.shows("Number")
        setup.types("1\n")
        await setup.shows("(it is not shown)")
        setup.types(f"{KEY}\n")
        await setup.shows("Do this?")
        setup.types("n\n")
        assert await setup.ends() == 1
    assert not (tmp_path / ".env.local").exists()
    assert made(fake).total() == 0


async def test_a_person_without_the_program_types_a_key(
    fake: FakeStripe, developer: dict[str, str], tmp_path: Path
) -> None:
    """Set-up works without Stripe's program, and says what is missing; nothing is installed."""
    environment = developer | {"STRIPE_CLI_PATH": str(tmp_path / "missing")}
    async with terminal("stripe", "setup", "--yes", environment=environment, folder=tmp_path) as setup:
        await setup.shows("npm install --save-dev @stripe/cli")
        await setup.shows("(it is not shown)")
        setup.types(f"{KEY}\n")
        await setup.ends()
    assert str(StripeCliTrouble.CLI_IS_MISSING) in setup.screen
    assert made(fake)["Price"] > 0


async def test_a_program_that_hangs_ends_the_command_with_its_name(developer: dict[str, str], tmp_path: Path) -> None:
    """After half a minute, and without a process that stays behind."""
    program = tmp_path / "stripe"
    program.write_text(f"#!/bin/sh\nexec tail -f {program}\n")  # its path is its own: other test runs may hang, too
    program.chmod(0o755)
    environment = developer | {"STRIPE_CLI_PATH": str(program)}
    async with terminal("stripe", "setup", environment=environment, folder=tmp_path) as setup:
        assert await setup.ends() == 1
    assert str(StripeCliTrouble.CLI_HANGS) in setup.screen
    assert command_lines_with(str(program)) == []


# --- interrupted ---------------------------------------------------------------------------------------------------


@attrs.define
class Killer:
    """Kills a command when the fake has received so many requests from it."""

    at: int
    process: Command | None = None
    count: int = 0

    def exchanged(self, exchange: object) -> None:
        """See FakeStripe.observers: a request was answered, the change made, and the answer is about to be sent."""
        self.count += 1
        if self.process is not None and self.count == self.at:
            self.process.send_signal(signal.SIGKILL)

    def sent(self, event: object) -> None:
        """See FakeStripe.observers."""


@asynccontextmanager
async def observed(killer: Killer) -> AsyncIterator[Killer]:
    """Let the killer see the traffic within the block."""
    FakeStripe.observers.append(killer)
    try:
        yield killer
    finally:
        FakeStripe.observers.remove(killer)


async def set_up(developer: dict[str, str], folder: Path, killer: Killer | None = None) -> Ended:
    """Run set-up with the key from standard input, and let it be killed."""
    process = await started(
        *("stripe", "setup", "--yes", "--key-stdin"),
        environment=developer,
        folder=folder,
        given=f"{KEY}\n".encode(),
        captured=(1, 2),
    )
    if killer is not None:
        killer.process = process
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


@pytest.mark.parametrize("request_number", [1, 4, 8, 12, 16, 20, 24, 28, 30, 32])
async def test_a_killed_run_is_completed_by_the_next(
    request_number: int, fake: FakeStripe, developer: dict[str, str], tmp_path: Path
) -> None:
    """Killed after a request whose answer it never sees: no object twice, and never a broken or readable file."""
    watching = asyncio.create_task(watch(tmp_path))
    async with observed(Killer(at=request_number)) as killer:
        killed = await set_up(developer, tmp_path, killer)
    assert killed.status == -signal.SIGKILL
    read_variables(tmp_path / ".env.local")
    completed = await set_up(developer, tmp_path)
    watching.cancel()
    assert (completed.status, await watching) == (0, set()), completed.errors
    assert_private(tmp_path)
    assert made(fake) == CATALOG
    assert files_with(tmp_path, *secrets_of(tmp_path)) == [".env.local"]


async def watch(folder: Path) -> set[str]:
    """Collect the files that others can read while a command writes, until cancelled."""
    readable: set[str] = set()
    with suppress(asyncio.CancelledError):
        while True:
            readable |= readable_by_others(folder)
            await asyncio.sleep(0.005)
    return readable


def readable_by_others(folder: Path) -> set[str]:
    """Return the names of the files beside .env.local, and its own, that others can read now."""
    found = set()
    for path in folder.glob(".env*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                found.add(path.name)
    return found
