"""billing.toml says what is sold and who may do what; every fault in it has a place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from billing_app import cli
from billing_app.container import Container
from billing_app.settings import Settings, SettingsError
from billing_app.settings.rules import TABLES
from billing_app.settings.rules.document import path_text
from billing_app.settings.rules.table import Key
from billing_core.model import AccessPolicy, AccessState, TenantRules

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "billing.example.toml"
SECRET = "sk_live_51AbcdefghijklmnopqrstuvWXYZ"


def load(folder: Path, text: str | bytes, **environ: str) -> Settings:
    """Load the settings of a folder with this billing.toml."""
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "billing.toml").write_bytes(content)
    return Settings.load(environ, folder / ".env.local")


def faults(folder: Path, text: str | bytes, **environ: str) -> Sequence[str]:
    """Return the faults of such settings, without the folder's name."""
    with pytest.raises(SettingsError) as caught:
        load(folder, text, **environ)
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


def places(folder: Path, text: str, **environ: str) -> Sequence[str]:
    """Return only where the faults are and what is wrong, without the remedies."""
    return [fault.partition(". ")[0] for fault in faults(folder, text, **environ)]


class TestTheFile:
    def test_no_file_leaves_every_default(self, tmp_path: Path) -> None:
        """It is optional."""
        settings = Settings.load({}, tmp_path / ".env.local")
        assert settings == Settings()
        assert settings.rules.path is None

    @pytest.mark.parametrize("text", ["", "\ufeff# nothing\r\n", "[access]\n[tenants]\n"])
    def test_an_empty_file_leaves_every_default(self, tmp_path: Path, text: str) -> None:
        """Empty tables set nothing."""
        assert load(tmp_path, text) == Settings()

    def test_a_file_of_another_name_is_named_by_a_variable(self, tmp_path: Path) -> None:
        """In place of the one beside .env.local, which may name it, too."""
        other = tmp_path / "rules.toml"
        other.write_text('[tenants]\nlink = "subscription"\n', encoding="utf-8")
        assert load(tmp_path, "[typo]", BILLING_CONFIG=str(other)).tenants.link == "subscription"
        (tmp_path / ".env.local").write_text(f"BILLING_CONFIG={other}\n", encoding="utf-8")
        assert load(tmp_path, "[typo]").rules.path == other

    def test_a_named_file_that_is_missing_is_a_fault(self, tmp_path: Path) -> None:
        """A deployment that forgot to mount it must not start with other rules."""
        with pytest.raises(SettingsError, match=r"none\.toml does not exist\. Create it, or correct BILLING_CONFIG"):
            Settings.load({"BILLING_CONFIG": str(tmp_path / "none.toml")}, tmp_path / ".env.local")

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ('[tenants]\nlink = "customer\n', "billing.toml:2 is not valid TOML: Illegal character '\\n'"),
            ("[access]\nunpaid = ", "billing.toml:2 is not valid TOML: Invalid value"),
            ("[access]\n[access]", "billing.toml:2 is not valid TOML: Cannot declare ('access',) twice"),
            ("a = 1\nb = [", "billing.toml:2 is not valid TOML: Invalid value"),
            (b"# one\n# two \xff\n", "billing.toml:2 is not UTF-8 on this line"),
            (b"a = " + b"[" * 100_000, "billing.toml:1 is nested too deeply"),
            (b"a = " + b"9" * 5000, "billing.toml:1 is not valid TOML: Exceeds the limit"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_a_fault_with_its_line(
        self, tmp_path: Path, content: str | bytes, fault: str
    ) -> None:
        """Half a configuration is not used."""
        (found,) = faults(tmp_path, content)
        assert found.startswith(fault)

    def test_a_folder_in_its_place_is_a_fault(self, tmp_path: Path) -> None:
        """It is not the same as no file."""
        (tmp_path / "billing.toml").mkdir()
        with pytest.raises(SettingsError, match=r"billing\.toml cannot be read"):
            Settings.load({}, tmp_path / ".env.local")


FAULTY = """\
# ten faults
[tenants]
link = "both"
id_pattern = "[a-z"
id_patern = "[a-z]+"

[access]
trialing = "ful"
active = true
past_due = { state = "grace", days = -1, length = 3 }
trial_overdue_after = "1 day"
paused = { state = "full" }
unpaid = [
  "read_only",
]

[acces]
active = "full"
"""


class TestFaults:
    def test_every_fault_is_reported_at_once_with_its_line_and_key(self, tmp_path: Path) -> None:
        """Together with those of the environment: one start shows every mistake."""
        assert places(tmp_path, FAULTY, BILLING_PORT="eighty") == [
            'billing.toml:3 tenants.link is "both", which cannot be used',
            'billing.toml:4 tenants.id_pattern is "[a-z", which cannot be used: '
            "unterminated character set at position 0",
            "billing.toml:5 tenants.id_patern is not a known key",
            'billing.toml:8 access.trialing is "ful", which cannot be used',
            "billing.toml:9 access.active is true, which cannot be used",
            "billing.toml:10 access.past_due.length is not a known key",
            "billing.toml:10 access.past_due.days is -1, which cannot be used",
            'billing.toml:11 access.trial_overdue_after is "1 day", which cannot be used',
            "billing.toml:12 access.paused is a table, which cannot be used",
            "billing.toml:13 access.unpaid is an array, which cannot be used",
            "billing.toml:17 acces is not a known key",
            "BILLING_PORT is 'eighty', which cannot be used",
        ]

    def test_a_fault_says_what_is_accepted(self, tmp_path: Path) -> None:
        """The example can be copied."""
        assert faults(tmp_path, "[access]\nunpaid = 3\nunpayd = 4\n") == [
            "billing.toml:2 access.unpaid is 3, which cannot be used. "
            'It takes one of full, grace, read_only, blocked, for example unpaid = "full".',
            "billing.toml:3 access.unpayd is not a known key. Did you mean unpaid? "
            f"The keys here are {', '.join(key.name for key in TABLES['access'].keys)}.",
        ]

    @pytest.mark.parametrize(
        "text",
        [
            f'[tenants]\nlink = "{SECRET}"\n',
            f'[tenants]\nlink = "key: {SECRET}"\n',
            f'{SECRET} = "a"\n',
            f'[access]\n"{SECRET}" = "a"\n',
            f'[access]\nunpaid = {{ {SECRET} = "{SECRET}" }}\n',
            f'[tenants]\nid_pattern = "[{SECRET}"\n',
            f'[tenants]\nlink = "{SECRET}\n',
            f"[tenants]\nlink = {SECRET}\n",
            f"[{SECRET}]\n[{SECRET}]\n",
        ],
    )
    def test_a_secret_that_was_put_into_the_file_is_masked(self, tmp_path: Path, text: str) -> None:
        """The error goes to logs."""
        shown = "".join(faults(tmp_path, text))
        assert SECRET[8:-4] not in shown


class TestBesideTheEnvironment:
    RULES = '[access]\npast_due = { state = "grace", days = 5 }\ntrial_overdue_after = "2h"\n'

    def test_a_variable_may_repeat_the_file(self, tmp_path: Path) -> None:
        """In its own unit."""
        environ = {"BILLING_PAST_DUE_GRACE_DAYS": "5", "BILLING_TRIAL_OVERDUE_HOURS": "2.0"}
        settings = load(tmp_path, self.RULES, **environ)
        assert settings == load(tmp_path, self.RULES)
        assert (settings.access.past_due_grace, settings.access.trial_overdue_after) == (
            timedelta(days=5),
            timedelta(hours=2),
        )

    def test_a_variable_sets_what_the_file_leaves_out(self, tmp_path: Path) -> None:
        """The file need not be complete."""
        settings = load(tmp_path, '[access]\nunpaid = "blocked"\n', BILLING_PAST_DUE_GRACE_DAYS="3")
        assert settings.access.past_due_grace == timedelta(days=3)
        assert settings.access.states["unpaid"] is AccessState.BLOCKED

    def test_a_contradiction_names_both_places(self, tmp_path: Path) -> None:
        """Neither silently wins."""
        environ = {"BILLING_PAST_DUE_GRACE_DAYS": "7", "BILLING_TRIAL_OVERDUE_HOURS": "24"}
        assert faults(tmp_path, self.RULES, **environ) == [
            "BILLING_PAST_DUE_GRACE_DAYS is '7', but billing.toml:2 access.past_due.days is 5. "
            "Remove the variable, or make it repeat the file.",
            "BILLING_TRIAL_OVERDUE_HOURS is '24', but billing.toml:3 access.trial_overdue_after is \"2h\". "
            "Remove the variable, or make it repeat the file.",
        ]


class TestValues:
    def test_tenants_are_named_as_the_file_says(self, tmp_path: Path) -> None:
        """The container passes it to the service."""
        settings = load(tmp_path, '[tenants]\nlink = "subscription"\nid_pattern = "[a-z]{3}"\n')
        assert settings.tenants == TenantRules(link="subscription", id_pattern="[a-z]{3}")
        assert Container(settings=settings).tenant_rules() == settings.tenants

    def test_a_status_that_is_not_named_keeps_its_access(self, tmp_path: Path) -> None:
        """Each key changes one entry."""
        access = load(tmp_path, '[access]\nincomplete = "read_only"\nunpaid = "blocked"\n').access
        changed = {"incomplete": AccessState.READ_ONLY, "unpaid": AccessState.BLOCKED}
        assert access.states == {**AccessPolicy().states, **changed}

    def test_a_state_stands_for_a_table_that_has_only_that(self, tmp_path: Path) -> None:
        """Both forms mean the same."""
        short = load(tmp_path, '[access]\npast_due = "full"\n')
        assert short == load(tmp_path, '[access.past_due]\nstate = "full"\n')
        assert short.access.states["past_due"] is AccessState.FULL

    @given(text=st.text(max_size=30))
    def test_a_path_in_a_fault_is_a_key_as_it_can_be_written(self, text: str) -> None:
        """Unusual keys are quoted, so that the place can be searched for."""
        bare = re.fullmatch("[A-Za-z0-9_-]+", text)
        assert path_text(("a", text, 1)).startswith(f"a.{text}[1]" if bare else 'a."')


class TestExample:
    def test_it_shows_the_defaults(self) -> None:
        """But for the form of ids, for which there is no default."""
        settings = Settings.load({"BILLING_CONFIG": str(EXAMPLE)}, Path("/nonexistent/.env.local"))
        assert settings.tenants == TenantRules(id_pattern="[a-z0-9-]{3,64}")
        verdicts = {status: settings.access.states.get(status) for status in AccessPolicy().states}
        assert verdicts == AccessPolicy().states

    @pytest.mark.parametrize(
        ("table", "key"), [(name, key) for name, table in TABLES.items() for key in table.keys], ids=str
    )
    def test_it_shows_every_key(self, table: str, key: Key) -> None:
        """A new key needs a line there."""
        assert re.search(rf"^\[{table}\][^[]*\n{key.name} = ", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)


class TestConfigCommand:
    def test_it_shows_what_the_file_sets(self, tmp_path: Path) -> None:
        """A reviewer sees that the right file was read."""
        file = tmp_path / "rules.toml"
        file.write_text('[access]\nunpaid = "full"\n[tenants]\n', encoding="utf-8")
        done = CliRunner().invoke(cli.cli, ["config", "check", str(file)])
        assert (done.exit_code, done.stdout) == (0, f"The settings are valid.\n{file}: [tenants] ; [access] unpaid\n")
        listed = CliRunner().invoke(cli.cli, ["config", "check", str(file), "--json"])
        assert f'"file": "{file}", "keys": {{"tenants": [], "access": ["unpaid"]}}' in listed.stdout

    def test_faults_end_it_with_the_status_of_a_wrong_configuration(self, tmp_path: Path) -> None:
        """All of them are shown, as at a start."""
        file = tmp_path / "rules.toml"
        file.write_text(FAULTY, encoding="utf-8")
        done = CliRunner().invoke(cli.cli, ["config", "check", str(file)])
        assert isinstance(done.exception, SettingsError)
        assert (done.exception.exit_code, len(done.exception.faults)) == (2, 11)
