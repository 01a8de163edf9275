"""The ways to run a fake Stripe: in a thread, as a pytest fixture, and from the command line."""

import asyncio
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe
from tests.unit.fake_stripe.conftest import JANUARY

from billing_stripe.testing.fake_stripe import Clock, fake_stripe_in_thread, faults

PLUGIN = "billing_stripe.testing.fake_stripe.pytest_plugin"
APPLICATION_TEST = """
import stripe

def test_billing(fake_stripe):
    client = stripe.StripeClient(fake_stripe.secret_key, base_addresses={"api": fake_stripe.url})
    assert client.v1.customers.create({"name": "Acme"}).name == "Acme"
"""


def sdk(url: str, key: str) -> stripe.StripeClient:
    """A synchronous client."""
    return stripe.StripeClient(key, base_addresses={"api": url}, max_network_retries=0)


def test_the_test_kit_exports_it_without_loading_a_server() -> None:
    """Until it is used."""
    code = (
        "import sys, billing_stripe.testing as kit; assert 'aiohttp' not in sys.modules; "
        "assert kit.FakeStripe.__name__ == 'FakeStripe'; assert not hasattr(kit, 'Nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_thread_serves_tests_that_are_not_asynchronous() -> None:
    """With its faults and its clock."""
    with fake_stripe_in_thread(clock=Clock(JANUARY)) as fake:
        client = sdk(fake.url, fake.secret_key)
        customer = client.v1.customers.create({"email": "a@example.com", "payment_method": "pm_card_visa"})
        fake.fail("/v1/customers/*", faults.server_error())
        with pytest.raises(stripe.APIError):
            client.v1.customers.retrieve(customer.id)
        assert client.v1.customers.retrieve(customer.id).email == "a@example.com"
        fake.advance(timedelta(days=1))
        assert fake.run(lambda running: running.clock.now()) == JANUARY + timedelta(days=1)


def test_a_thread_that_cannot_start_says_why() -> None:
    """The error of the thread is the cause."""
    with fake_stripe_in_thread() as fake:
        port = int(fake.url.rpartition(":")[2])
        with pytest.raises(RuntimeError, match="did not start") as raised, fake_stripe_in_thread(port=port):
            pass
    assert isinstance(raised.value.__cause__, OSError)


def test_the_fixture_needs_one_line(tmp_path: Path) -> None:
    """In the conftest of an application."""
    (tmp_path / "conftest.py").write_text(f'pytest_plugins = ["{PLUGIN}"]', encoding="utf-8")
    (tmp_path / "test_app.py").write_text(APPLICATION_TEST, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(
    "program",
    [
        ("-m", "billing_stripe.testing.fake_stripe"),
        ("-c", "from billing_app.cli import main; main()", "fake-stripe"),
    ],
    ids=["module", "billing"],
)
async def test_the_command_line_serves_until_it_is_ended(program: tuple[str, ...]) -> None:
    """And prints where."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(*program, "--port", "0", "--secret-key", "sk_test_mine"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        assert found is not None
        client = sdk(found[0], "sk_test_mine")
        created: Any = await asyncio.to_thread(client.v1.customers.create, {"name": "Acme"})
        assert created.name == "Acme"
    finally:
        process.terminate()
        await process.wait()
