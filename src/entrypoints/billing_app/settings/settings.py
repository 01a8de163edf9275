"""The settings of a process, and how they are loaded from the environment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from billing_app.secret import mask_unparsed
from billing_app.settings.access import AccessSettings
from billing_app.settings.catalog import CatalogSettings
from billing_app.settings.declaration import Setting, settings_of
from billing_app.settings.demo import DemoSettings
from billing_app.settings.entitlements import EntitlementSettings
from billing_app.settings.env_file import EnvFile, read_env_file
from billing_app.settings.faults import ENV_FILE, RULES_FILE, SettingsError, SettingsFault
from billing_app.settings.for_tests import RunningStripe, variables_for_tests
from billing_app.settings.gateway import GatewaySettings
from billing_app.settings.inbox import InboxSettings
from billing_app.settings.logs import LogSettings
from billing_app.settings.outgoing import OutgoingSettings
from billing_app.settings.parsers import UnusablePartsError, UnusableValueError
from billing_app.settings.processing import DispatchSettings, PublishSettings, RetentionSettings
from billing_app.settings.rules import Given, Rules, read_rules
from billing_app.settings.rules_file import RulesFileSettings
from billing_app.settings.secret_files import file_variable, read_secret_files
from billing_app.settings.server import ServerSettings
from billing_app.settings.stores import DatabaseSettings, EmbeddedSettings, RedisSettings
from billing_app.settings.stream import QuotaSettings, StreamSettings
from billing_app.settings.stripe import StripeSettings
from billing_app.settings.switches import Switches
from billing_app.settings.tokens import TokenSettings
from billing_app.settings.tracing import TracingSettings
from billing_app.settings.webhooks import WebhookSettings
from billing_app.troubleshooting import CatalogTrouble, KeyTrouble, SettingTrouble, WebhookTrouble
from billing_core.model import ProductScope, TenantRules

T = TypeVar("T")

_METADATA_KEY: Final = "section"
_OUR_PREFIXES: Final = ("BILLING_", "STRIPE_", "ENABLE_BILLING")
_OF_THE_STRIPE_CLI: Final = frozenset(
    {"STRIPE_API_KEY", "STRIPE_CLI_TELEMETRY_OPTOUT", "STRIPE_DEVICE_NAME", "STRIPE_PROJECT_NAME"}
)
"""Variables that start like ours. Source: https://docs.stripe.com/stripe-cli"""


@attrs.frozen(kw_only=True)
class Section:
    """One section of the settings: its field, its heading in the reference and its variables by field."""

    name: str
    title: str
    kind: type[Any]
    settings: Mapping[str, Setting]


def _section(title: str, kind: type[T]) -> T:
    field: T = attrs.field(factory=kind, metadata={_METADATA_KEY: (title, kind)})
    return field


@attrs.frozen(kw_only=True)
class Settings:
    """The configuration of one process. Its defaults are a working development setup.

    `load` reads and checks the environment. Tests construct the sections they need:
    `Settings(database=DatabaseSettings(pool_size=2))`.
    """

    switches: Switches = _section("Switches", Switches)
    stripe: StripeSettings = _section("Stripe", StripeSettings)
    gateway: GatewaySettings = _section("Calls to Stripe", GatewaySettings)
    rules_file: RulesFileSettings = _section("Rules", RulesFileSettings)
    catalog: CatalogSettings = _section("Plans", CatalogSettings)
    scope: ProductScope = _section("Scope", ProductScope)
    database: DatabaseSettings = _section("Postgres", DatabaseSettings)
    redis: RedisSettings = _section("Redis", RedisSettings)
    embedded: EmbeddedSettings = _section("Local servers", EmbeddedSettings)
    server: ServerSettings = _section("HTTP server", ServerSettings)
    tokens: TokenSettings = _section("Tokens", TokenSettings)
    tenants: TenantRules = _section("Tenants", TenantRules)
    access: AccessSettings = _section("Access", AccessSettings)
    webhooks: WebhookSettings = _section("Webhooks", WebhookSettings)
    inbox: InboxSettings = _section("Storing webhooks", InboxSettings)
    dispatch: DispatchSettings = _section("Dispatch and retries", DispatchSettings)
    publishing: PublishSettings = _section("Publishing", PublishSettings)
    stream: StreamSettings = _section("Stream", StreamSettings)
    quota: QuotaSettings = _section("Stream quota", QuotaSettings)
    entitlements: EntitlementSettings = _section("Entitlements", EntitlementSettings)
    outgoing: OutgoingSettings = _section("Outgoing webhooks", OutgoingSettings)
    retention: RetentionSettings = _section("Retention", RetentionSettings)
    logs: LogSettings = _section("Logs", LogSettings)
    tracing: TracingSettings = _section("Traces", TracingSettings)
    demo: DemoSettings = _section("Demo", DemoSettings)

    rules: Rules = attrs.field(default=Rules(), eq=False, repr=False)
    """The contents of billing.toml, from which sections above take their values."""
    in_memory: bool = False
    """Whether a process keeps everything in memory, and so loses it at its end. See `for_tests`."""
    processes: int = 1
    """Processes with this configuration that one command runs: --processes."""
    warnings: tuple[str, ...] = ()
    """Suspicious but harmless findings, such as a misspelled variable, for the caller to show."""

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, env_file: Path = ENV_FILE) -> Settings:
        """Read `env_file`, then `environ`, which wins, and billing.toml: the one that they name, or the one beside.

        A variable that is set but empty counts as not set. What billing.toml says, a variable may only repeat.

        Raises: SettingsError with every fault that was found.
        """
        return cls._require(cls.examine(environ, env_file))

    @classmethod
    def for_command(cls, environ: Mapping[str, str] = os.environ, env_file: Path = ENV_FILE) -> Settings:
        """Read as `load` does, for a command that runs beside the servers and shares their settings.

        The secrets that ENABLE_BILLING requires of servers and workers may be missing: a migration and the upkeep of
        the database need none of them. A command that calls Stripe or signs a token checks what it needs itself.

        Raises: SettingsError with every other fault that was found.
        """
        rules_beside = env_file.parent / RULES_FILE
        return cls._require(cls._examine(read_env_file(env_file), environ, rules_beside=rules_beside, serves=False))

    @classmethod
    def examine(
        cls, environ: Mapping[str, str] = os.environ, env_file: Path = ENV_FILE
    ) -> tuple[Settings, Sequence[SettingsFault]]:
        """Read as `load` does, and return the faults beside the settings, which have defaults for faulty values."""
        return cls._examine(read_env_file(env_file), environ, rules_beside=env_file.parent / RULES_FILE)

    @classmethod
    def for_tests(cls, variables: Mapping[str, str] | None = None, *, stripe: RunningStripe | None = None) -> Settings:
        """Return settings of a process that needs no server and no environment: it keeps everything in memory.

        Billing is on, for test mode; webhooks are signed with TEST_WEBHOOK_SECRET. Neither the environment nor a file
        is read, unless BILLING_CONFIG is among the variables.

        Args:
            variables: settings by the names of their variables, for example {"BILLING_CONFIG": "billing.toml"}.
            stripe: a running FakeStripe to call; without one Stripe is not called.

        Raises: SettingsError with every fault that was found.
        """
        given = {**variables_for_tests(stripe), **(variables or {})}
        return attrs.evolve(cls._require(cls._examine(EnvFile(), given, rules_beside=None)), in_memory=True)

    @staticmethod
    def _require(examined: tuple[Settings, Sequence[SettingsFault]]) -> Settings:
        settings, faults = examined
        if faults:
            raise SettingsError(faults)
        return settings

    @classmethod
    def _examine(
        cls, file: EnvFile, environ: Mapping[str, str], *, rules_beside: Path | None, serves: bool = True
    ) -> tuple[Settings, Sequence[SettingsFault]]:
        from_files = read_secret_files({**file.variables, **environ}, _SECRETS)
        given = from_files.variables
        rules = _read_rules(given, rules_beside)
        faults = [*file.faults, *from_files.faults, *rules.faults]
        sections = {
            section.name: _read(section, given, rules.sections.get(section.name, {}), faults)
            for section in declared_sections()
        }
        settings = cls(**sections, rules=rules, warnings=(*file.warnings, *_unknown_variables(given)))
        faulty = {fault.variable for fault in faults}
        faults += [
            fault
            for fault in _cross_faults(settings, serves=serves)
            if not {fault.variable, file_variable(fault.variable)} & faulty
        ]
        return settings, faults


def declared_sections() -> Sequence[Section]:
    """Return every section in the order of the reference."""
    declared = ((field.name, field.metadata.get(_METADATA_KEY)) for field in attrs.fields(Settings))
    return [
        Section(name=name, title=title, kind=kind, settings=settings_of(kind))
        for name, (title, kind) in ((name, section) for name, section in declared if section is not None)
    ]


_DECLARED: Final = {setting.env: setting for section in declared_sections() for setting in section.settings.values()}
_SECRETS: Final = [name for name, setting in _DECLARED.items() if setting.secret]
_RULES_FILE: Final = next(section for section in declared_sections() if section.kind is RulesFileSettings)


def _read_rules(given: Mapping[str, str], beside: Path | None) -> Rules:
    """Read billing.toml. It may be missing, unless a variable names it."""
    named = _read(_RULES_FILE, given, {}, []).path
    path = named or beside
    return Rules() if path is None else read_rules(path, required=named is not None)


def _read(section: Section, given: Mapping[str, str], ruled: Mapping[str, Given], faults: list[SettingsFault]) -> Any:
    """Construct a section from billing.toml and from its variables; append their faults to `faults`."""
    values = {name: each.value for name, each in ruled.items()}
    for name, setting in section.settings.items():
        text = given.get(setting.env, "").strip()
        if not text:
            continue
        try:
            value = setting.parser.parse(text)
        except UnusablePartsError as exc:
            faults += [_part_fault(setting, part) for part in exc.parts]
            continue
        except ValueError as exc:
            faults.append(_parse_fault(setting, text, exc))
            continue
        if name not in ruled:
            values[name] = value
        elif (reason := setting.contradiction(value, ruled[name])) is not None:
            problem = f"is {text!r}, but {ruled[name].node.place} {reason}"
            remedy = "Remove the variable, or make it repeat the file."
            faults.append(SettingsFault(setting.env, problem, remedy, CatalogTrouble.VARIABLE_CONTRADICTS_TOML))
    return section.kind(**values)


def _parse_fault(setting: Setting, text: str, error: ValueError) -> SettingsFault:
    shown = mask_unparsed(text) if setting.secret else repr(text)
    unusable = error if isinstance(error, UnusableValueError) else UnusableValueError("")
    reason = f": {unusable}" if str(unusable) else ""
    problem = f"is {shown}, which cannot be used{reason}"
    return SettingsFault(setting.env, problem, _expected(setting), unusable.trouble or setting.trouble)


def _part_fault(setting: Setting, part: UnusableValueError) -> SettingsFault:
    return SettingsFault(setting.env, f"cannot be used: {part}", _expected(setting), part.trouble or setting.trouble)


def _expected(setting: Setting) -> str:
    example = setting.example or setting.default_text
    return f"It takes {setting.parser.expects}{f', for example {setting.env}={example}' if example else ''}."


def _unknown_variables(given: Mapping[str, str]) -> Iterable[str]:
    known = [*_DECLARED, *map(file_variable, _SECRETS)]
    for name in sorted(given):
        if name.startswith(_OUR_PREFIXES) and name not in known and name not in _OF_THE_STRIPE_CLI:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            yield f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _cross_faults(settings: Settings, *, serves: bool) -> Iterable[SettingsFault]:
    """Check requirements between variables; for a process that serves, those of its switches as well."""
    if serves and settings.switches.billing:
        yield from _missing_for_billing(settings)
    yield from _missing_for_organization(settings)
    yield from _shared_roles(settings.tokens)
    yield from _unknown_plans(settings)
    if settings.database.direct_url is not None and settings.database.url is None:
        yield SettingsFault(
            "DATABASE_DIRECT_URL",
            "is set and DATABASE_URL is not",
            "Set DATABASE_URL to the pooler, or only DATABASE_URL to Postgres itself.",
            SettingTrouble.SETTINGS_CONTRADICT,
        )
    if settings.dispatch.backoff_base > settings.dispatch.backoff_cap:
        yield SettingsFault(
            "BILLING_DISPATCH_BACKOFF_BASE_SECONDS",
            "is above BILLING_DISPATCH_BACKOFF_CAP_SECONDS",
            "Lower the base or raise the cap.",
            SettingTrouble.SETTINGS_CONTRADICT,
        )


def _unknown_plans(settings: Settings) -> Iterable[SettingsFault]:
    """Report plans that the scope names and that are not configured: it would leave out nothing, or everything."""
    known = [plan.plan_code for plan in settings.catalog.plans]
    for given in settings.rules.sections.get("scope", {}).values():
        for plan_code in given.value.plans:
            if plan_code not in known:
                remedy = f"The plans are {', '.join(known)}." if known else "No plans are configured."
                problem = f"names {plan_code!r}, which is no plan"
                place = given.node.child("plans").place
                yield SettingsFault(place, problem, remedy, CatalogTrouble.SCOPE_NAMES_NO_PLAN)


def _shared_roles(tokens: TokenSettings) -> Iterable[SettingsFault]:
    """Refuse roles of operators, who see and may do more, that tenants have as well."""
    shared = sorted({*tokens.operator_roles} & {*tokens.reader_roles, *tokens.writer_roles})
    if shared:
        problem = f"names {', '.join(shared)}, which BILLING_JWT_READER_ROLES or BILLING_JWT_WRITER_ROLES names as well"
        remedy = "Name roles that only your own staff has, for example BILLING_JWT_OPERATOR_ROLES=operator."
        yield SettingsFault("BILLING_JWT_OPERATOR_ROLES", problem, remedy, SettingTrouble.OPERATOR_ROLE_OF_TENANTS)


def _missing_for_organization(settings: Settings) -> Iterable[SettingsFault]:
    if settings.stripe.is_of_organization and settings.stripe.account_id is None:
        why = "is required when STRIPE_SECRET_KEY is the key of an organization (sk_org_…)"
        remedy = "Name the account that is meant, for example STRIPE_ACCOUNT_ID=acct_…."
        yield SettingsFault("STRIPE_ACCOUNT_ID", why, remedy, KeyTrouble.ORGANIZATION_KEY_LACKS_ACCOUNT)


def _missing_for_billing(settings: Settings) -> Iterable[SettingsFault]:
    why = "is required when ENABLE_BILLING is true"
    if settings.stripe.secret_key is None:
        remedy = "Copy a secret or restricted key from the Stripe dashboard, for example STRIPE_SECRET_KEY=rk_test_…."
        yield SettingsFault("STRIPE_SECRET_KEY", why, remedy, KeyTrouble.KEY_IS_MISSING)
    if not settings.stripe.webhook_secrets:
        remedy = "Copy the signing secret of the webhook endpoint (whsec_…) from the Stripe dashboard."
        yield SettingsFault("STRIPE_WEBHOOK_SECRET", why, remedy, WebhookTrouble.WEBHOOK_SECRET_IS_MISSING)
    if not settings.tokens.secrets and settings.tokens.jwks_url is None:
        remedy = "It guards the API and the stream; make one: openssl rand -hex 32. Or set BILLING_JWT_JWKS_URL."
        yield SettingsFault("BILLING_JWT_SECRET", why, remedy, SettingTrouble.TOKEN_KEY_IS_MISSING)
