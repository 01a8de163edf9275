"""docs/scripts/stripe-setup.md and the first billing.toml say what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from tests.unit.setup.directory import Directory

from billing_app.cli.stripe.listen import listen
from billing_app.cli.stripe.rotate import api_key, webhook_secret
from billing_app.cli.stripe.setup import setup
from billing_app.settings.rules import read_rules
from billing_stripe.provisioning import create_thin_destination

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/scripts/stripe-setup.md").read_text(encoding="utf-8")


OPTIONS = [
    ("# `billing stripe setup`", [setup]),
    ("## `billing stripe listen`", [listen]),
    ("## `billing stripe rotate`", [webhook_secret, api_key]),
]


@pytest.mark.parametrize(("heading", "commands"), OPTIONS, ids=[heading for heading, _ in OPTIONS])
def test_the_page_lists_every_option(heading: str, commands: list[click.Command]) -> None:
    """And none that does not exist."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n## `")[0]
    cells = re.findall(r"^\| (`--.*?) \|", section, re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"--[a-z-]+", cell)}
    offered = [option for command in commands for option in command.params if isinstance(option, click.Option)]
    assert listed == {name for option in offered for name in option.opts}


def test_the_other_ways_to_call_it_exist() -> None:
    """`make stripe-setup` is what the scripts of package.json call."""
    scripts = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["scripts"]
    assert scripts["stripe:setup"] == "make stripe-setup"
    assert "billing stripe setup $(ARGS)" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_steps_for_thin_events_name_the_same_events() -> None:
    """The page and the command are read by the same people."""
    events = re.findall(r"v1\.billing[\w.]+", " ".join(create_thin_destination("https://example.com")))
    assert events
    assert all(event.rstrip(".") in PAGE for event in events)


async def test_the_first_file_has_no_fault(directory: Directory) -> None:
    """`billing config check` accepts it as it is."""
    await directory.run()
    assert read_rules(directory.rules_file, required=True).faults == []
