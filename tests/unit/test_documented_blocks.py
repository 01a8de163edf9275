"""Every fenced block of README and docs is run or checked, or says in a comment above it why it is not.

Commands have to exist, with these options; a rules file has no fault; a message matches its schema. Code is run by the
test of its page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click
import jsonschema
import pytest
import yaml
from tests.documented import ROOT, Block, blocks, blocks_of, check_command_line

from billing_app.payload_schema import schema
from billing_app.settings.rules import read_rules

RUN_BY: Final = {
    ("README.md", "python"): "tests/unit/test_readme.py",
    ("README.md", "py"): "tests/unit/host/test_documented_calls.py",
    ("docs/embedding.md", "python"): "tests/unit/test_embedding_page.py",
    ("docs/ports.md", "python"): "tests/integration/test_hosts.py",
    ("docs/billing/consumers.md", "http"): "tests/unit/outgoing_webhooks/test_documented_receivers.py",
    ("docs/billing/consumers.md", "js"): "tests/unit/outgoing_webhooks/test_documented_receivers.py",
    ("docs/billing/consumers.md", "python"): "tests/unit/outgoing_webhooks/test_documented_receivers.py",
    ("docs/billing/entitlements.md", "python"): "tests/unit/host/test_documented_calls.py",
    ("docs/billing/fake-stripe.md", "python"): "tests/unit/fake_stripe/test_page.py",
    ("docs/billing/frontend.md", "html"): "tests/e2e/test_docs.py",
    ("docs/billing/frontend.md", "js"): "tests/e2e/test_docs.py",
    ("docs/billing/frontend.md", "javascript"): "tests/e2e/test_docs.py",
    ("docs/billing/frontend.md", "ts"): "tests/integration/test_npm_package.py",
    ("docs/billing/gateway.md", "python"): "tests/unit/test_gateway_page.py",
    ("docs/billing/operations-api.md", "http"): "tests/unit/http/test_operations_page.py",
    ("docs/billing/operations-api.md", "py"): "tests/unit/host/test_documented_calls.py",
    ("docs/billing/operations-api.md", "python"): "tests/unit/core/operations/test_operations_page.py",
    ("docs/billing/streaming.md", "redis"): "tests/integration/test_secure_connections.py",
    ("docs/billing/streaming.md", "python"): "tests/integration/test_stream_processes.py",
}
"""The test that runs the code of a page, by page and language."""

BLOCKS: Final = blocks()
COMMANDS: Final = [block for block in BLOCKS if block.language in ("console", "sh") and block.reason is None]


def is_text(block: Block) -> bool:
    """Return whether a block is for people: a form, an output, an expression. One with our commands is `sh`."""
    words = {line.split()[0] for line in block.text.splitlines() if line.strip()}
    return block.language in ("", "text") and not words & {"billing", "make", "pip", "curl"}


def data_of(language: str) -> list[Block]:
    """Return the blocks of a format that are not excepted."""
    return [block for block in BLOCKS if block.language == language and block.reason is None]


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_commands_can_be_run_as_printed(block: Block) -> None:
    """Programs, commands, options, settings, targets, extras and addresses exist."""
    lines = list(block.commands())
    assert lines
    for line in lines:
        check_command_line(line)


@pytest.mark.parametrize("block", data_of("toml"), ids=str)
def test_rules_have_no_fault(block: Block, tmp_path: Path) -> None:
    """`billing config check` accepts them."""
    rules = tmp_path / "billing.toml"
    rules.write_text(block.text, encoding="utf-8")
    assert read_rules(rules, required=True).faults == []


@pytest.mark.parametrize("block", data_of("json"), ids=str)
def test_data_is_valid(block: Block) -> None:
    """A message is what its schema says."""
    content = json.loads(block.text)
    if "schema_version" in content:
        jsonschema.validate(content, schema())


def test_documents_can_be_read() -> None:
    """As YAML."""
    for block in data_of("yaml"):
        assert [each for each in yaml.safe_load_all(block.text) if each is not None], block


def test_every_block_is_run_or_checked() -> None:
    """When this fails, run the block in a test that RUN_BY names, or say above it `<!-- not run: the reason -->`."""
    checked = {"console", "sh", "toml", "json", "yaml"} | {"text"}  # a text is for people: a form to fill in, a drawing
    assert [
        f"{block}: {block.language or 'no language'}"
        for block in BLOCKS
        if block.language not in checked
        and block.reason is None
        and (block.page, block.language) not in RUN_BY
        and not is_text(block)
    ] == []


@pytest.mark.parametrize(("page", "language"), RUN_BY)
def test_the_named_test_runs_the_code_of_its_page(page: str, language: str) -> None:
    """It reads the page, and the page has such code."""
    assert any((block.page, block.language) == (page, language) for block in BLOCKS)
    test = (ROOT / RUN_BY[page, language]).read_text(encoding="utf-8")
    assert Path(page).name in test or page in test.replace('" / "', "/")


@pytest.mark.parametrize(
    "line",
    [
        "billing event list",
        "billing events list --stauts dead",
        "billing tenants link cus_1",
        "biling status",
        "make dmo",
        "pip install 'billing-core[servers]'",
        "curl http://127.0.0.1:8080/api/v2/billing/stream",
        "ENABLE_BILING=true billing serve",
        "billing status | jq . && billing statuses",
        'curl -H "Authorization: Bearer $(billing tokens --tenant acme)" http://127.0.0.1:8080/metrics',
        "pnpm stripe:setup-all",
        "python -c 'import billing_apps'",
    ],
)
def test_a_command_that_cannot_be_run_is_found(line: str) -> None:
    """In each of its parts."""
    with pytest.raises((AssertionError, ImportError, click.ClickException)):
        check_command_line(line)


def test_blocks_are_found_with_their_reasons() -> None:
    """Also in a list, and with the line that they begin on."""
    page = "text\n\n<!-- not run: it needs an account -->\n```sh\nstripe login\n```\n\n1. x\n"
    page += "\n   ```python\n   a\n   b\n   ```\n"
    first, second = blocks_of("page.md", page)
    assert (first.reason, first.text, first.line) == ("it needs an account", "stripe login\n", 4)
    assert (second.reason, second.text, second.language, second.line) == (None, "a\nb\n", "python", 10)
