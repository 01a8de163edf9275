"""The command line lists commands without importing them, and prints known errors as one line."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from billing_app import cli
from billing_app.cli.lazy import LazyCommand, LazyGroup
from billing_app.errors import OperatorError
from billing_core.errors import BillingError

HEAVY = (
    "aiohttp",
    "asyncpg",
    "redis",
    "stripe",
    "rich",
    "structlog",
    "prometheus_client",
    "dotenv",
    "cattrs",
    "asyncio",
)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["billing", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def failing_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setitem(cli.cli.commands, "fails", fails)


def test_help_imports_nothing_heavy() -> None:
    """`billing --help` stays instant: it loads no driver, SDK or web framework, not even asyncio."""
    program = (
        "import sys\nfrom billing_app.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_listed_command_can_be_imported_and_has_help(name: str) -> None:
    """Every entry of the table can be imported, and `--help` works for it."""
    result = CliRunner().invoke(cli.cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"billing {name}" in result.output or f"cli {name}" in result.output


def test_help_lists_every_command_with_its_line() -> None:
    """The lines come from the table of commands."""
    output = " ".join(CliRunner().invoke(cli.cli, ["--help"], terminal_width=200).output.split())
    for name, command in cli.COMMANDS.items():
        assert f"{name} {command.help}" in output


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with the words that call it."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*path, name))


LEAVES = dict(leaves(cli.cli))
WITHOUT_JSON = {"serve", "worker", "fake-stripe", "stripe listen", "completion"}
"""Commands that run until they are stopped, and one that prints a script."""


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_an_example_in_its_help(name: str) -> None:
    """One that can be pasted: its options exist, and none is missing."""
    examples = re.findall(rf"billing {name}\b([^\n|<>&)\"`]*)[^\n`]*$", LEAVES[name].help or "", re.MULTILINE)
    assert examples
    for example in examples:
        LEAVES[name].make_context(name, shlex.split(example), resilient_parsing=False)


def test_every_command_that_ends_prints_json_on_request() -> None:
    """As the documentation says."""
    without = {
        name
        for name, command in LEAVES.items()
        if "--json" not in {option for parameter in command.params for option in parameter.opts}
    }
    assert without == WITHOUT_JSON


def test_a_shell_completes_commands_and_options() -> None:
    """By asking the command; the script that `billing completion` prints does that."""
    expected = {"billing ev": "events", "billing events li": "list", "billing events list --st": "--status"}
    for words, completed in expected.items():
        asked = {"_BILLING_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        command = [sys.executable, "-m", "billing_app"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **asked})
        assert f"plain,{completed}" in done.stdout.splitlines()
    for shell in ("bash", "zsh", "fish"):
        assert "_BILLING_COMPLETE" in CliRunner().invoke(cli.cli, ["completion", shell]).output


def test_a_similar_command_is_suggested_for_a_misspelled_one() -> None:
    """The exit status of a usage error is 2."""
    result = CliRunner().invoke(cli.cli, ["embeded"])
    assert result.exit_code == 2
    assert "No such command 'embeded'. Did you mean 'embedded'?" in result.output


def test_no_command_is_suggested_if_none_is_similar() -> None:
    """An unrelated suggestion would only confuse."""
    result = CliRunner().invoke(cli.cli, ["xyzzy"])
    assert result.exit_code == 2
    assert "Did you mean" not in result.output


def test_a_table_entry_that_is_not_a_command_is_a_clear_error() -> None:
    """A wrong entry is reported as such, not as an attribute error inside click."""
    group = LazyGroup("test", lazy={"wrong": LazyCommand("billing_app.cli:COMMANDS", "")})
    with pytest.raises(TypeError, match=r"billing_app\.cli:COMMANDS is not a click command"):
        group.get_command(click.Context(group), "wrong")


def test_an_operator_error_is_one_message_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status of a wrong configuration is 2."""
    failing_with(OperatorError("set DATABASE_URL"), monkeypatch)
    assert run(monkeypatch, "fails") == 2
    assert capsys.readouterr().err == "billing: set DATABASE_URL\n"


def test_a_billing_error_shows_its_stable_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status of an error of the domain is 1."""
    failing_with(BillingError("no such tenant"), monkeypatch)
    assert run(monkeypatch, "fails") == 1
    assert capsys.readouterr().err == "billing: billing_error: no such tenant\n"


def test_an_unknown_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug must not look like an error of the operator."""
    failing_with(ZeroDivisionError(), monkeypatch)
    monkeypatch.setattr(sys, "argv", ["billing", "fails"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_the_version_is_that_of_the_distribution() -> None:
    """The version is defined in one place."""
    result = CliRunner().invoke(cli.cli, ["--version"])
    assert result.output == f"billing, version {importlib.metadata.version('billing-core')}\n"
