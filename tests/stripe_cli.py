"""Stripe's own command line, as npm distributes it, pointed at a fake Stripe."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import attrs
from tests.patience import PATIENCE
from tests.programs import missing

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe

ROOT: Final = Path(__file__).parents[1]
DEVICE: Final = "referee"


def install_stripe_cli(folder: Path) -> Path:
    """Install the version that package.json names, without its scripts, and return the program; else call `missing`."""
    shutil.copy(ROOT / "package.json", folder)
    install = ["npm", "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as exc:
        missing(f"npm could not install Stripe's command line: {exc}")
    # Not node_modules/.bin/stripe: that is a script of node, and does not pass on signals.
    programs = list(folder.glob("node_modules/@stripe/cli-*/bin/stripe*"))
    return programs[0] if programs else missing("Stripe's command line does not exist for this computer")


def home_with_login(home: Path, *, key: str, expires_on: date, account_id: str = "acct_1FakeStripe") -> Path:
    """Write what `stripe login` leaves behind in a home folder, and return it."""
    folder = home / "stripe"
    folder.mkdir(parents=True)
    profile = {
        "account_id": account_id,
        "device_name": DEVICE,
        "display_name": "Acme",
        "test_mode_api_key": key,
        "test_mode_key_expires_at": expires_on.isoformat(),
    }
    lines = [f"{name} = '{value}'\n" for name, value in profile.items()]
    (folder / "config.toml").write_text("[default]\n" + "".join(lines))
    return home


@attrs.frozen
class StripeCli:
    """The program with a home of its own, so that the tester's log-in is not used."""

    program: Path
    home: Path
    api_base: str
    secret_key: str = attrs.field(repr=False)

    async def run(self, *arguments: str) -> str:
        """Run a command that talks to Stripe, and return its output. Fails if it fails."""
        process = await self._start(*arguments, "--api-base", self.api_base)
        try:
            async with asyncio.timeout(PATIENCE):
                output, _ = await process.communicate()
        finally:
            await _stop(process)
        assert process.returncode == 0, output.decode()
        return output.decode()

    @asynccontextmanager
    async def listening(self, url: str) -> AsyncIterator[str]:
        """Forward all events to a URL within the block, which begins once it is connected; yields its secret."""
        options = ["--all-snapshot", "--skip-update", "--forward-to", url]
        process = await self._start("listen", *options, "--api-base", self.api_base)
        assert process.stdout is not None
        reading: asyncio.Task[bytes] | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                while b"Ready!" not in (line := await process.stdout.readline()):
                    assert line, "stripe listen ended"
            reading = asyncio.create_task(process.stdout.read())  # else it stops when the pipe is full
            yield next(word for word in line.decode().split() if word.startswith("whsec_"))
        finally:
            await _stop(process)
            if reading is not None:
                await reading

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STRIPE_")}
        environment = inherited | {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "STRIPE_API_KEY": self.secret_key,
            "STRIPE_DEVICE_NAME": DEVICE,
            "HTTPS_PROXY": "http://127.0.0.1:9",  # neither telemetry nor a look for newer versions leaves the computer
        }
        return await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


def create_subscription(fake: FakeStripe) -> None:
    """Create a customer of tenant acme who is subscribed to something."""
    account, now = fake.account, fake.account.now
    price = objects.Price(price_id="price_1", product_id="prod_1", unit_amount=4900)
    item = objects.Item(item_id="si_1", price=price, period=objects.Span(now, now + timedelta(days=30)))
    with account.transaction():
        account.create(objects.Customer(customer_id="cus_1", created_at=now, metadata={"tenant_id": "acme"}))
        account.create(
            objects.Subscription(
                subscription_id="sub_1", customer_id="cus_1", status="active", created_at=now, items=(item,)
            )
        )
