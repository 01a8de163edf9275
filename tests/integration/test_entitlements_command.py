"""`billing entitlements`: what a tenant may use, on the command line."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing_app import cli

pytestmark = pytest.mark.postgres

RULES = """
[plans.pro.features]
exports = true
projects = 5
api_calls = { metered = true, included = 100, limit = "hard", reset = "day" }
"""


@pytest.fixture
async def granted(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a deployment in which a tenant was granted a plan."""
    rules = tmp_path / "billing.toml"
    rules.write_text(RULES, encoding="utf-8")
    environment = {"DATABASE_URL": database_url, "ENABLE_BILLING": "", "BILLING_CONFIG": str(rules)}
    given = ("grants", "add", "acme", "--plan", "pro", "--why", "pilot", "--yes")
    assert (await billing(environment, *given)).exit_code == 0
    return environment


async def billing(environment: dict[str, str], *arguments: str) -> Result:
    """Run the command in a thread, because it runs an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli.cli, arguments, env=environment)


async def test_all_features_of_a_tenant_are_shown(granted: dict[str, str]) -> None:
    """With what is left, what gives them, and the access that they depend on."""
    lines = (await billing(granted, "entitlements", "acme")).stdout.splitlines()
    assert lines[0] == "acme  access full: granted"
    assert lines[1].startswith("  api_calls  yes: included  used 0  limit 100, remaining 100  resets ")
    assert lines[2] == "  exports    yes: included  from grant:pro"
    assert lines[3] == "  projects   yes: included  limit 5, remaining 5  from grant:pro"


async def test_one_feature_is_decided_for_an_amount(granted: dict[str, str]) -> None:
    """As the API answers; --json has its fields."""
    shown = await billing(granted, "entitlements", "acme", "projects", "--used", "5")
    assert "  projects  no: limit_reached  used 5  limit 5, remaining 0" in shown.stdout
    listed = await billing(granted, "entitlements", "acme", "projects", "--quantity", "2", "--used", "3", "--json")
    found = json.loads(listed.stdout)
    assert (found["access"]["state"], found["entitlement"]["allowed"]) == ("full", True)
    everything = json.loads((await billing(granted, "entitlements", "acme", "--json")).stdout)
    assert [each["feature"] for each in everything["features"]] == ["api_calls", "exports", "projects"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("globex",), 3, "Unknown tenant 'globex'"),
        (("acme", "--used", "1"), 2, "--quantity and --used need a FEATURE"),
        (("acme", "projects", "--used", "-1"), 2, "Invalid value for '--used'"),
    ],
)
async def test_a_wrong_call_says_what_to_do(
    granted: dict[str, str], arguments: tuple[str, ...], status: int, message: str
) -> None:
    """With the exit status of its kind."""
    done = await billing(granted, "entitlements", *arguments)
    assert (done.exit_code, message in done.stderr) == (status, True)
