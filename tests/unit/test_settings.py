"""Settings are loaded once, checked together, and never reveal a secret."""

from __future__ import annotations

import inspect
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app import settings_reference
from billing_app.settings import (
    DOCUMENTATION,
    AccessSettings,
    DatabaseSettings,
    DispatchSettings,
    InboxSettings,
    PublishSettings,
    RedisSettings,
    Secret,
    Setting,
    Settings,
    SettingsError,
    declared_sections,
)
from billing_app.settings.price_map import parse_price_map
from billing_app.troubleshooting import WebhookTrouble
from billing_core.inbox.policy import DispatchPolicy
from billing_core.model import AccessPolicy, Plan
from billing_core.stream.publisher import PublishPolicy
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_redis.bus import RedisEventBus

REPOSITORY = Path(__file__).parents[2]
NO_FILE = Path("/nonexistent/.env.local")
API_KEY = "sk_test_51AbcdefghijklmnopqrstuvWXYZ"
WEBHOOK_SECRET = "whsec_AbcdefghijklmnopqrstuvWXYZ"
JWT_SECRET = "0123456789abcdef0123456789abcdef"
DECLARED = [setting for section in declared_sections() for setting in section.settings.values()]
COMPLETE = {
    "ENABLE_BILLING": "true",
    "STRIPE_SECRET_KEY": API_KEY,
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "BILLING_JWT_SECRET": JWT_SECRET,
}


def load(**environ: str) -> Settings:
    return Settings.load(environ, NO_FILE)


def faults(**environ: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return {fault.variable: str(fault) for fault in caught.value.faults}


def error_message(**environ: str) -> str:
    """Return the error message of a configuration; empty if it is valid."""
    try:
        load(**environ)
    except SettingsError as exc:
        return str(exc)
    return ""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


class TestDefaults:
    def test_development_needs_no_settings(self) -> None:
        """An empty environment gives the defaults, with billing switched off."""
        assert load() == Settings()
        assert not load().switches.billing

    def test_every_documented_default_is_the_default(self) -> None:
        """Parsing the written form of each default gives the default."""
        written = {setting.env: setting.default_text for setting in DECLARED}
        assert load(**written) == Settings()

    @pytest.mark.parametrize("setting", DECLARED, ids=lambda setting: setting.env)
    def test_no_variable_is_declared_twice(self, setting: Setting) -> None:
        """Two fields that read the same variable would be a copying error."""
        assert [each.env for each in DECLARED].count(setting.env) == 1

    @pytest.mark.parametrize(
        ("section", "policy"),
        [
            (DispatchSettings(), DispatchPolicy()),
            (PublishSettings(), PublishPolicy()),
            (AccessSettings(), AccessPolicy()),
        ],
        ids=["dispatch", "publishing", "access"],
    )
    def test_a_section_that_is_a_policy_keeps_its_defaults(self, section: Any, policy: Any) -> None:
        """A service that embeds only the domain has the same policies as one with an empty environment."""
        assert attrs.asdict(section) == attrs.asdict(policy)

    @pytest.mark.parametrize(
        ("section", "adapter", "shared"),
        [
            (
                DatabaseSettings(),
                Database,
                {"acquire_timeout", "statement_timeout", "lock_timeout", "transaction_timeout"},
            ),
            (InboxSettings(), PostgresEventInbox, {"flushes", "batch", "queue_limit", "timeout"}),
            (RedisSettings(), RedisEventBus, {"shards", "log_length"}),
        ],
        ids=["database", "inbox", "redis"],
    )
    def test_an_adapter_on_its_own_has_the_same_defaults(self, section: Any, adapter: Any, shared: set[str]) -> None:
        """The settings import no adapter, so both declare the defaults; they must not diverge."""
        defaults = {name: one.default for name, one in inspect.signature(adapter).parameters.items()}
        assert {name: getattr(section, name) for name in shared} == {name: defaults[name] for name in shared}


class TestFile:
    def test_the_environment_wins_over_the_file(self, tmp_path: Path) -> None:
        """The file provides what the environment does not."""
        file = write(tmp_path / ".env.local", "BILLING_PORT=9000\nBILLING_HOST=0.0.0.0\n")
        settings = Settings.load({"BILLING_PORT": "9001"}, file)
        assert (settings.server.port, settings.server.host) == (9001, "0.0.0.0")

    def test_a_value_is_taken_literally(self, tmp_path: Path) -> None:
        """A dollar sign in a password is a dollar sign."""
        file = write(tmp_path / ".env.local", "HOME_TOWN=x\nREDIS_URL='redis://:a${HOME_TOWN}b$c@h:1/0'\n")
        redis_url = Settings.load({}, file).redis.url
        assert redis_url is not None
        assert redis_url.reveal() == "redis://:a${HOME_TOWN}b$c@h:1/0"

    def test_a_line_that_is_not_an_assignment_is_a_fault(self, tmp_path: Path) -> None:
        """Half a configuration is not used. The error has the line number, but not its text."""
        file = write(tmp_path / ".env.local", "BILLING_PORT=9000\nSTRIPE_SECRET_KEY='sk_test_unclosed\n")
        with pytest.raises(SettingsError, match="line 2") as caught:
            Settings.load({}, file)
        assert "unclosed" not in str(caught.value)

    def test_an_unreadable_file_is_not_an_empty_one(self, tmp_path: Path) -> None:
        """A folder in its place, or bytes that are not text, are faults."""
        (tmp_path / ".env.local").mkdir()
        with pytest.raises(SettingsError, match="cannot be read"):
            Settings.load({}, tmp_path / ".env.local")
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00A=1")
        with pytest.raises(SettingsError, match="cannot be read"):
            Settings.load({}, tmp_path / "binary")

    def test_a_file_that_others_can_read_is_reported(self, tmp_path: Path) -> None:
        """It contains secrets; the warning has the command that protects it."""
        file = write(tmp_path / ".env.local", "")
        assert Settings.load({}, file).warnings == ()
        file.chmod(0o644)
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert Settings.load({}, file).warnings == (f"{file} can be read by other users; run: chmod 600 {file}",)


class TestFaults:
    def test_all_faults_are_reported_at_once(self) -> None:
        """One start of the process is enough to see every mistake."""
        found = faults(
            ENABLE_BILLING="yes",
            STRIPE_WEBHOOK_SECRET="whsec_",
            BILLING_PORT="eighty",
            BILLING_DISPATCH_LEASE_SECONDS="-1",
            STRIPE_PRODUCT_PRICE_MAP="starter",
        )
        assert found.keys() == {
            "STRIPE_SECRET_KEY",
            "STRIPE_WEBHOOK_SECRET",
            "BILLING_JWT_SECRET",
            "BILLING_PORT",
            "BILLING_DISPATCH_LEASE_SECONDS",
            "STRIPE_PRODUCT_PRICE_MAP",
        }

    def test_the_message_has_the_fault_the_expected_value_and_the_documentation(self) -> None:
        """One line per variable, then the place to change it."""
        with pytest.raises(SettingsError) as caught:
            load(BILLING_PORT="eighty")
        assert str(caught.value) == (
            "One setting needs attention:\n"
            "  - BILLING_PORT is 'eighty', which cannot be used. It takes a whole number from 0 to 65535, "
            "for example BILLING_PORT=8080. See docs/billing/stripe-setup.md#setting-is-invalid.\n"
            "Change them in the environment, in .env.local or in billing.toml; "
            "docs/billing/configuration.md describes every setting."
        )

    @pytest.mark.parametrize("missing", ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET"])
    @pytest.mark.parametrize("how", ["absent", "empty", "blank"])
    def test_billing_requires_its_secrets(self, missing: str, how: str) -> None:
        """An empty secret is a missing one."""
        environ = {**COMPLETE, missing: {"absent": "", "empty": "", "blank": " \n"}[how]}
        if how == "absent":
            del environ[missing]
        assert faults(**environ).keys() == {missing}

    def test_a_command_is_refused_for_what_is_wrong_and_not_for_what_servers_need(self) -> None:
        """A migration runs with the switches of the servers, and without their secrets."""
        assert Settings.for_command({"ENABLE_BILLING": "true"}, NO_FILE).switches.billing
        with pytest.raises(SettingsError) as caught:
            Settings.for_command({"ENABLE_BILLING": "true", "STRIPE_SECRET_KEY": "pk_test_1"}, NO_FILE)
        assert [fault.variable for fault in caught.value.faults] == ["STRIPE_SECRET_KEY"]

    @pytest.mark.parametrize("url", ["https://login.example.com/jwks.json", "http://127.0.0.1:9000/jwks.json"])
    def test_published_keys_can_replace_a_shared_secret(self, url: str) -> None:
        """One of the two is enough; http is allowed on the same machine."""
        environ = {**COMPLETE, "BILLING_JWT_JWKS_URL": url}
        del environ["BILLING_JWT_SECRET"]
        assert load(**environ).tokens.jwks_url == url

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("STRIPE_WEBHOOK_SECRET", f"{WEBHOOK_SECRET},,"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_…"),
            ("STRIPE_WEBHOOK_SECRET", API_KEY),
            ("STRIPE_SECRET_KEY", "pk_test_51AbcdefghijklmnopqrstuvWXYZ"),
            ("STRIPE_SECRET_KEY", "sk_test_…"),
            ("BILLING_JWT_SECRET", "short"),
            ("BILLING_JWT_SECRET", f"{JWT_SECRET},short"),
            ("BILLING_JWT_JWKS_URL", "http://login.example.com/jwks.json"),
            ("BILLING_JWT_JWKS_URL", "http://127.0.0.1.example.com/jwks.json"),
            ("BILLING_JWT_JWKS_URL", "https://user:password@login.example.com/jwks.json"),
            ("BILLING_JWT_JWKS_URL", "login.example.com/jwks.json"),
            ("BILLING_JWT_READER_ROLES", "owner,,viewer"),
            ("BILLING_TOKEN_RECHECK_SECONDS", "30"),
            ("BILLING_METRICS_TOKEN", "short"),
            ("DATABASE_URL", "mysql://user:password@host/billing"),
            ("DATABASE_URL", "postgresql://"),
            ("REDIS_URL", "host:6379"),
            ("STRIPE_API_VERSION", "latest"),
            ("STRIPE_ACCOUNT_ID", "cus_1"),
            ("BILLING_TOKEN_TTL_SECONDS", "nan"),
            ("BILLING_TOKEN_TTL_SECONDS", "inf"),
            ("BILLING_STREAM_SHARDS", "0"),
            ("BILLING_LOG_LEVEL", "loud"),
            ("ENABLE_BILLING", "maybe"),
            ("BILLING_DISPATCH_BACKOFF_BASE_SECONDS", "601"),
            ("DATABASE_DIRECT_URL", "postgresql://localhost/billing"),  # without DATABASE_URL
        ],
    )
    def test_an_invalid_value_is_refused(self, variable: str, value: str) -> None:
        """Each fault names its variable."""
        assert faults(**{**COMPLETE, variable: value}).keys() == {variable}

    def test_every_faulty_member_of_a_list_is_reported_by_its_position(self) -> None:
        """And no value that joins the beginning of one secret with the end of another."""
        with pytest.raises(SettingsError) as caught:
            load(**{**COMPLETE, "STRIPE_WEBHOOK_SECRET": f"{WEBHOOK_SECRET},,{API_KEY},we_1"})
        assert [(fault.problem, fault.trouble) for fault in caught.value.faults] == [
            ("cannot be used: member 2 of the list: it is empty", WebhookTrouble.WEBHOOK_SECRET_IS_BLANK),
            (
                "cannot be used: member 3 of the list: it is an API key, which belongs in STRIPE_SECRET_KEY",
                WebhookTrouble.WEBHOOK_SECRET_IS_AN_API_KEY,
            ),
            (
                "cannot be used: member 4 of the list: it has another form",
                WebhookTrouble.WEBHOOK_SECRET_IS_MALFORMED,
            ),
        ]

    def test_a_misspelled_variable_is_reported(self) -> None:
        """It is harmless, so it is a warning; its value is not repeated."""
        assert load(BILLING_PROT="secret", STRIPE_PUBLISHABLE="x", PATH="/bin").warnings == (
            "BILLING_PROT is not a setting; did you mean BILLING_PORT?",
            "STRIPE_PUBLISHABLE is not a setting",
        )

    def test_variables_of_the_stripe_cli_are_no_misspelled_ones(self) -> None:
        """Both are often set in one shell."""
        assert load(STRIPE_DEVICE_NAME="laptop", STRIPE_API_KEY="sk_test_1").warnings == ()


class TestValues:
    def test_text_is_parsed_to_values_with_units(self) -> None:
        """Durations are timedeltas, lists are tuples, surrounding spaces are ignored."""
        settings = load(
            **COMPLETE
            | {
                "STRIPE_WEBHOOK_SECRET": f" {WEBHOOK_SECRET} , whsec_second\n",
                "BILLING_STREAM_RETRY_MILLISECONDS": "250",
                "BILLING_DISPATCH_LEASE_SECONDS": "0.5",
                "BILLING_PAST_DUE_GRACE_DAYS": "3",
                "BILLING_LOG_LEVEL": "WARNING",
            }
        )
        assert [secret.reveal() for secret in settings.stripe.webhook_secrets] == [WEBHOOK_SECRET, "whsec_second"]
        assert settings.stream.retry == timedelta(milliseconds=250)
        assert settings.dispatch.lease == timedelta(seconds=0.5)
        assert settings.access.past_due_grace == timedelta(days=3)
        assert settings.logs.level == "warning"

    @pytest.mark.parametrize(
        ("key", "livemode"),
        [
            ("sk_live_1", True),
            ("rk_live_1", True),
            ("sk_org_live_1", True),
            ("sk_test_1_live_", False),
            ("sk_org_test_1", False),
            ("", None),
        ],
    )
    def test_the_mode_comes_from_the_api_key(self, key: str, livemode: bool | None) -> None:
        """No second setting can contradict it."""
        assert load(STRIPE_SECRET_KEY=key, STRIPE_ACCOUNT_ID="acct_1").stripe.livemode is livemode

    def test_the_key_of_an_organization_needs_an_account(self) -> None:
        """Its calls name the account, which other keys imply."""
        with pytest.raises(SettingsError, match="STRIPE_ACCOUNT_ID is required when STRIPE_SECRET_KEY"):
            load(STRIPE_SECRET_KEY="sk_org_live_1")
        assert load(STRIPE_SECRET_KEY="sk_org_live_1", STRIPE_ACCOUNT_ID="acct_1").stripe.context == "acct_1"
        assert load(STRIPE_SECRET_KEY="sk_live_1", STRIPE_ACCOUNT_ID="acct_1").stripe.context is None


class TestSecrets:
    def test_no_representation_of_the_settings_holds_a_secret(self) -> None:
        """Settings end up in tracebacks and debug logs."""
        settings = load(
            **COMPLETE,
            DATABASE_URL="postgresql://user:hunter22@host:5432/billing?password=hunter22",
            REDIS_URL="redis://:hunter22@host:6379/0",
            BILLING_METRICS_TOKEN="metrics-token-hunter22-metrics-token",
        )
        shown = f"{settings!r} {settings} {attrs.asdict(settings)}"
        for secret in (API_KEY, WEBHOOK_SECRET, JWT_SECRET, "hunter22"):
            assert secret not in shown
        assert "whsec_…WXYZ" in shown
        assert "postgresql://user:…@host:5432/billing?…" in shown

    @pytest.mark.parametrize("variable", [each.env for each in DECLARED if each.secret])
    @given(secret=st.text(alphabet="abcXYZ019#@/?:&% ", min_size=8, max_size=60))
    def test_a_fault_never_repeats_a_secret(self, variable: str, secret: str) -> None:
        """The message shows at most the last four characters of a value."""
        refused = error_message(**{variable: "wrong"})
        assert refused
        for value in (f"wrong{secret}kind", f"postgresql://user:{secret}", f"redis://:{secret}@[broken"):
            assert secret[:8] not in error_message(**{variable: value})

    def test_a_short_secret_is_masked_entirely(self) -> None:
        """The last four of six characters would be most of it."""
        assert str(Secret("abcdef")) == "…"
        assert f"{Secret('whsec_abcdef')}" == "whsec_…"


class TestPriceMap:
    def test_both_forms_can_express_the_same(self) -> None:
        """Pairs are for simple cases; JSON can also contain seats and metered features."""
        expected = (
            Plan.of_prices("starter", base=["price_1"]),
            Plan.of_prices("pro", base=["price_2", "price_3"]),
        )
        assert parse_price_map("starter=price_1, pro=price_2,pro=price_3") == expected
        assert parse_price_map('{"starter": "price_1", "pro": ["price_2", "price_3"]}') == expected
        assert parse_price_map('{"pro": {"base": "price_1", "seat": ["price_2"], "metered": {"api": "price_3"}}}') == (
            Plan.of_prices("pro", base=["price_1"], seat=["price_2"], metered={"api": ["price_3"]}),
        )

    def test_a_metered_feature_may_have_several_prices(self) -> None:
        """A monthly and a yearly plan bill the same calls by two prices."""
        expected = (Plan.of_prices("pro", metered={"api": ["price_1", "price_2"]}),)
        assert parse_price_map('{"pro": {"metered": {"api": ["price_1", "price_2"]}}}') == expected

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("starter", "'starter' is not of the form plan=price"),
            ("starter=price_1,", "'' is not of the form plan=price"),
            ("starter=price_1,pro=price_1", r"price_1 is used more than once \(starter, pro\)"),
            ("starter=price_1,starter=price_1", r"price_1 is used more than once \(starter\)"),
            ("starter=prod_1", "it is the id of a product"),
            ('{"starter": ', "not valid JSON"),
            ('{"starter": "price_1", "starter": "price_2"}', "'starter' is named twice"),
            ('{"starter": 1}', "must be a price id or a list"),
            ('{"starter": {}}', "has no price"),
            ('{"starter": {"seats": "price_1"}}', "unknown part 'seats'"),
            ('{"starter": {"metered": ["price_1"]}}', "must map feature keys to price ids"),
            ('{"starter": {"metered": {"api": 1}}}', "api of plan 'starter' must be a price id or a list"),
            ('{"starter": "price 1"}', "has spaces"),
            ('{" starter": "price_1"}', "spaces around it"),
        ],
    )
    def test_a_map_that_is_ambiguous_or_malformed_is_refused(self, text: str, reason: str) -> None:
        """The fault of the variable contains the reason."""
        with pytest.raises(SettingsError, match=reason):
            load(STRIPE_PRODUCT_PRICE_MAP=text)


class TestReference:
    @pytest.mark.parametrize(
        ("file", "expected"),
        [
            (settings_reference.EXAMPLE_FILE, settings_reference.render_example()),
            (DOCUMENTATION, settings_reference.render_document()),
        ],
        ids=["example", "document"],
    )
    def test_the_files_in_the_repository_are_up_to_date(self, file: str, expected: str) -> None:
        """When this fails, run `python -m billing_app.settings_reference`."""
        assert (REPOSITORY / file).read_text(encoding="utf-8") == expected

    def test_the_example_file_changes_nothing(self, tmp_path: Path) -> None:
        """A copy of it, as the file itself suggests, is valid and leaves every default unchanged."""
        copy = write(tmp_path / ".env.local", settings_reference.render_example())
        assert Settings.load({}, copy) == Settings()
